//! No secret is in an answer to another party, nor in a log at any level.

use behalf_auth_sidecar::sessions::SessionError;
use behalf_entra::Secret;
use behalf_simulators::entra::{RequestKind, SecretKind};
use behalf_simulators::people::ANA;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::captured_log::CapturedLog;
use crate::fixture::World;

/// Regression: `gateway sample (tokens in the log)`.
#[tokio::test]
async fn no_secret_is_in_a_log_or_in_an_answer_to_another_party() {
    let log = CapturedLog::default();
    let filter = EnvFilter::new("behalf_auth_sidecar=trace,behalf_entra=trace");
    tracing_subscriber::registry()
        .with(filter)
        .with(fmt::layer().with_writer(log.clone()).with_ansi(false))
        .try_init()
        .unwrap();
    tracing::trace!(target: "behalf_auth_sidecar", "planted-value");

    let world = World::start_with(|config| config.sessions.access_token_lifetime_seconds = 24 * 3600).await;
    let (login, tokens) = world.session(ANA).await;
    let renewed = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    world.advance(2 * 3600);
    world.sessions.user_token(&session).await.unwrap();
    // Failures log and answer, too.
    let reused = world.redeem(&login, &[]).await;
    let dead = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    world.store.set_broken(true);
    let outage = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    assert!(matches!(
        world.sessions.open(&Secret::new(&*tokens.access)).await,
        Err(SessionError::Unavailable { .. })
    ));

    let secrets = world.entra.control().secrets().await.unwrap();
    for kind in SecretKind::EXPECTED {
        assert!(
            secrets.iter().any(|secret| secret.kind == kind),
            "{kind:?} was never seen"
        );
    }
    assert!(
        !world
            .entra
            .control()
            .requests_of(RequestKind::RefreshToken)
            .await
            .unwrap()
            .is_empty()
    );

    let text = log.text();
    assert!(text.contains("planted-value"), "the search finds what is there");
    assert!(text.contains("TRACE") || text.contains("DEBUG"));
    let renewed = renewed.tokens();
    let own = [
        &login.code,
        &tokens.access,
        &tokens.refresh,
        &renewed.access,
        &renewed.refresh,
    ];
    for value in own.into_iter().chain(secrets.iter().map(|secret| &secret.value)) {
        assert!(
            !text.contains(value.as_str()),
            "a secret of {} bytes is in the log",
            value.len()
        );
        let body = value.rsplit('.').next().unwrap();
        assert!(!text.contains(body), "a part of a secret is in the log");
        for answer in [&reused, &dead, &outage] {
            assert!(!answer.body.contains(value.as_str()), "{}", answer.body);
        }
        assert!(!format!("{session:?} {:?}", world.sessions).contains(value.as_str()));
    }
    for secret in &secrets {
        let for_client = [&login.code, &tokens.access, &tokens.refresh];
        assert!(for_client.iter().all(|value| !value.contains(&secret.value)));
    }
    assert!(
        !text.contains(ANA.user_name) && !text.contains(ANA.display_name),
        "a person is in the log"
    );
}
