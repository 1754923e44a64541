//! Tests the faults that a test may order: throttling, outages, resets, delays.

use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::CLIENT_ID;

use crate::stage::Stage;

const PROBE: [RequestKind; 1] = [RequestKind::ClientCredentials];

#[tokio::test]
async fn throttling_carries_retry_after_and_ends() {
    let stage = Stage::new().await;
    let effect = Effect::Throttled {
        retry_after_seconds: Some(7),
    };
    stage
        .control
        .add_fault(&Fault::times(2, PROBE, effect))
        .await
        .unwrap();
    for _ in 0..2 {
        let answer = stage.post(&stage.probe()).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.headers["retry-after"], "7");
        assert_eq!(answer.string("error"), "temporarily_unavailable");
    }
    stage.post(&stage.probe()).await.granted();
    let record = stage
        .control
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert!(record[0].fault.as_ref().unwrap().contains("Throttled"));
    assert!(record[2].fault.is_none());
}

#[tokio::test]
async fn outages_html_truncation_and_commanded_codes() {
    let stage = Stage::new().await;
    let refusal = Effect::Refusal {
        status: 400,
        error: "invalid_grant".to_owned(),
        code: 50_196,
        suberror: Some("bad_token".to_owned()),
        claims: None,
    };
    for effect in [
        Effect::Status {
            status: 503,
            retry_after_seconds: Some(1),
        },
        Effect::Html { status: 502 },
        Effect::Truncated,
        refusal,
    ] {
        stage
            .control
            .add_fault(&Fault::once(PROBE, effect))
            .await
            .unwrap();
    }
    let outage = stage.post(&stage.probe()).await;
    assert_eq!(
        (outage.status, outage.headers["retry-after"].to_str().unwrap()),
        (503, "1")
    );
    let html = stage.post(&stage.probe()).await;
    assert_eq!(html.status, 502);
    assert!(html.text.starts_with("<!DOCTYPE html>"));
    let truncated = stage.post(&stage.probe()).await;
    assert_eq!((truncated.status, truncated.body.is_null()), (200, true));
    let refused = stage.post(&stage.probe()).await;
    refused.refused(400, "invalid_grant", 50_196);
    assert_eq!(refused.string("suberror"), "bad_token");
    stage.post(&stage.probe()).await.granted();
}

#[tokio::test]
async fn a_reset_gives_no_answer() {
    let stage = Stage::new().await;
    stage
        .control
        .add_fault(&Fault::always(PROBE, Effect::Reset))
        .await
        .unwrap();
    let request = stage
        .http
        .post(stage.address("oauth2/v2.0/token"))
        .form(&stage.probe());
    assert!(request.send().await.unwrap_err().is_request());
    stage.control.clear_faults().await.unwrap();
    stage.post(&stage.probe()).await.granted();
    let record = stage
        .control
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert_eq!(record[0].outcome.as_ref().unwrap().status, 0);
}

#[tokio::test]
async fn held_requests_wait_for_the_command() {
    let stage = std::sync::Arc::new(Stage::new().await);
    stage
        .control
        .add_fault(&Fault::always(PROBE, Effect::Hold))
        .await
        .unwrap();
    let asking = std::sync::Arc::clone(&stage);
    let waiting = tokio::spawn(async move { asking.post(&asking.probe()).await.status });
    while stage.count(RequestKind::ClientCredentials).await == 0 {
        tokio::task::yield_now().await;
    }
    let record = stage
        .control
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert!(record[0].outcome.is_none() && !waiting.is_finished());
    stage.control.clear_faults().await.unwrap();
    assert_eq!(waiting.await.unwrap(), 200);
}

#[tokio::test]
async fn a_slow_answer_is_still_right() {
    let stage = Stage::new().await;
    stage
        .control
        .add_fault(&Fault::once(PROBE, Effect::Slow { milliseconds: 5 }))
        .await
        .unwrap();
    stage.post(&stage.probe()).await.granted();
}

#[tokio::test]
async fn faults_hit_only_what_they_name() {
    let stage = Stage::new().await;
    let effect = || Effect::Status {
        status: 503,
        retry_after_seconds: None,
    };
    let mut foreign = Fault::always(PROBE, effect());
    foreign.client_id = Some("another".to_owned());
    stage.control.add_fault(&foreign).await.unwrap();
    stage
        .control
        .add_fault(&Fault::always([RequestKind::Keys], effect()))
        .await
        .unwrap();
    stage.post(&stage.probe()).await.granted();
    assert_eq!(stage.get(stage.address("discovery/v2.0/keys")).await.status, 503);
    assert_eq!(
        stage
            .get(stage.address("v2.0/.well-known/openid-configuration"))
            .await
            .status,
        200
    );
    let mut mine = Fault::always(PROBE, effect());
    mine.client_id = Some(CLIENT_ID.to_owned());
    stage.control.add_fault(&mine).await.unwrap();
    assert_eq!(stage.post(&stage.probe()).await.status, 503);
}
