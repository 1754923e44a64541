//! Logs: JSON, one event a line.

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Starts logging.
pub fn init(level: Level) -> Result<(), TryInitError> {
    let targets = Targets::new()
        .with_default(level.min(Level::INFO))
        .with_target("behalf_operator", level)
        // It prints bodies that it cannot decode, and one may be a Secret. What fails is told by us.
        .with_target("kube_client", LevelFilter::OFF);
    tracing_subscriber::registry()
        .with(targets)
        .with(
            tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false),
        )
        .try_init()
}
