//! Outages and throttling of Entra during a refresh. A user keeps the session.

use behalf_entra::NextStep;
use behalf_simulators::entra::{Effect, Fault, RequestKind};

use crate::tenant::{ANA, Tenant};

#[tokio::test]
async fn an_outage_of_one_request_is_retried() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: Some(0),
        },
        Effect::Html { status: 502 },
        Effect::Reset,
    ] {
        let fault = Fault::once([RequestKind::RefreshToken], effect.clone());
        tenant.control.add_fault(&fault).await.unwrap();
        tenant
            .refresh(&tokens)
            .await
            .unwrap_or_else(|error| panic!("{effect:?}: {error}"));
    }
}

#[tokio::test]
async fn a_lasting_outage_ends_no_session() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: None,
        },
        Effect::Html { status: 200 },
        Effect::Truncated,
        Effect::Reset,
    ] {
        tenant
            .control
            .add_fault(&Fault::always([RequestKind::RefreshToken], effect.clone()))
            .await
            .unwrap();
        let error = tenant.refresh(&tokens).await.unwrap_err();
        assert_eq!(
            error.next_step(),
            NextStep::RetryLater { after: None },
            "{effect:?}"
        );
        tenant.control.clear_faults().await.unwrap();
    }
    tenant.refresh(&tokens).await.unwrap();
}

#[tokio::test]
async fn lasting_throttling_ends_no_session_and_stops_the_requests() {
    let tenant = Tenant::start().await;
    let tokens = tenant.sign_in(ANA).await;
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(60),
    };
    tenant
        .control
        .add_fault(&Fault::always([RequestKind::RefreshToken], throttled))
        .await
        .unwrap();
    for _ in 0..3 {
        let error = tenant.refresh(&tokens).await.unwrap_err();
        assert!(
            matches!(error.next_step(), NextStep::RetryLater { after: Some(_) }),
            "{error:?}"
        );
    }
    let asked = tenant
        .control
        .requests_of(RequestKind::RefreshToken)
        .await
        .unwrap();
    assert_eq!(asked.len(), 1);
}
