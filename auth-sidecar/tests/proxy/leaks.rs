//! No log line at any level shows a secret.

use std::cell::Cell;

use axum::http::StatusCode;
use behalf_contract::ExchangePlace::{Server, Sidecar};
use behalf_contract::Injection::{Argument, Header};
use behalf_simulators::entra::Policy;
use behalf_simulators::people::ANA;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::captured_log::CapturedLog;
use crate::world::{World, call, list, read};

thread_local! {
    static LISTENING: Cell<bool> = const { Cell::new(false) };
}

#[tokio::test]
async fn at_trace_level_no_line_of_any_library_shows_a_secret() {
    let lines = CapturedLog::default();
    // All targets log at trace, which is more than the process itself ever logs. The subscriber is global, because a
    // callsite keeps the subscriber of the thread that reached it first. The filter admits only lines of this
    // thread, which is the only one of the test's runtime.
    let written = tracing_subscriber::fmt::layer()
        .with_writer(lines.clone())
        .with_ansi(false);
    let here = dynamic_filter_fn(|_, _| LISTENING.get());
    tracing_subscriber::registry()
        .with(written.with_filter(here))
        .init();
    LISTENING.set(true);

    let world = World::start().await;
    let mut secrets = vec![read(&world.token_file())];
    for (at, injection) in [(Sidecar, Header), (Sidecar, Argument), (Server, Argument)] {
        world.control().put_policies(ANA.user_name, &[]).await.unwrap();
        let sidecar = world.sidecar(at, injection);
        let login = sidecar.sign_in(&world).await;
        assert_eq!(sidecar.post(&login, &call()).await.status(), StatusCode::OK);
        assert_eq!(sidecar.post(&login, &list()).await.status(), StatusCode::OK);
        let (answer, _) = world.probe(injection).run().await;
        answer.unwrap();
        // Failures log more than successes.
        for policy in [Policy::multi_factor(), Policy::blocked()] {
            world
                .control()
                .put_policies(ANA.user_name, &[policy])
                .await
                .unwrap();
            let other = sidecar.sign_in(&world).await;
            sidecar.post(&other, &call()).await;
            secrets.extend([other.access_token, other.at_entra]);
        }
        secrets.extend([login.access_token, login.at_entra, sidecar.host_key.clone()]);
        secrets.push(login.refresh_token.expose().to_owned());
    }
    secrets.extend(
        world
            .control()
            .secrets()
            .await
            .unwrap()
            .into_iter()
            .map(|secret| secret.value),
    );
    assert!(
        secrets.len() > 20,
        "the search looks for something: {}",
        secrets.len()
    );
    for received in world.server.received() {
        secrets.extend(received.argument());
    }

    let text = lines.text();
    assert!(
        text.contains("TRACE behalf_auth_sidecar::proxy"),
        "the log is there"
    );
    for secret in secrets {
        // Only the middle of a token is unique. The beginnings of JWTs are alike.
        let half = secret.len() / 2;
        let part = secret.get(half..).unwrap();
        assert!(!text.contains(part), "a secret is in the log: ..{part}");
    }
}
