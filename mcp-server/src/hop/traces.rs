//! The traces of the server: its tracer, and the span of an exchange at Entra. `docs/tracing.md` has the rules.

use std::sync::Arc;
use std::time::Duration;

use behalf_contract::TracingConfig;
use behalf_entra::{Clock, EntraError, HttpClient, NotShared, OnBehalfOf, Secret, TokenSet};
use behalf_runtime::trace::{Collector, Sources, Tracer, current};
use tokio::time::Instant;

/// Makes the server's tracer. Nothing is sent before its export runs.
pub(crate) fn tracer(config: &TracingConfig, http: HttpClient, clock: Arc<dyn Clock>) -> Tracer {
    let sources = Sources {
        clock: Box::new(move || Duration::try_from(clock.now().as_duration()).unwrap_or_default()),
        // Without randomness the ids are invalid, and the collector drops the spans. No call fails for that.
        random: Box::new(|bytes| {
            let _ = getrandom::fill(bytes);
        }),
        dropped: Box::new(|reason, count| {
            tracing::debug!(
                trace.dropped_spans = count,
                trace.reason = reason.as_str(),
                "Dropped spans"
            );
        }),
    };
    Tracer::new(
        sources,
        Collector::new(config, "behalf-mcp-server", move || http.client()),
    )
}

/// Exchanges a user's token. Records a span if Entra was asked.
pub(super) async fn exchange(
    exchange: &OnBehalfOf,
    user_token: &Secret,
    claims: Option<&str>,
) -> Result<Arc<TokenSet>, EntraError> {
    let began = Instant::now();
    let result = exchange.exchange(user_token, claims, || NotShared).await;
    let was_asked = match &result {
        Ok(exchanged) => exchanged.fresh,
        Err(error) => !matches!(error, EntraError::Paused { .. }),
    };
    if was_asked && let Some(trace) = current() {
        let mut span = trace.child("entra on_behalf_of").began(began);
        if let Err(error) = &result {
            span.fail(&error.kind());
        }
    }
    result.map(|exchanged| exchanged.token)
}
