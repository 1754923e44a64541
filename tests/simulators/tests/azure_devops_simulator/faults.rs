//! Throttling and faults.

use base64::Engine;
use behalf_simulators::{
    azure_devops::{Action, Calls, Fault, RateLimit},
    people::{ANA, BEN},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Bench, send};

const PROJECTS: &str = "/_apis/projects";

#[tokio::test]
async fn throttles_on_command_and_says_for_how_long() {
    let bench = Bench::start().await;
    bench
        .fault(
            Fault::once(Action::Throttle {
                retry_after_seconds: Some(7),
            })
            .times(2),
        )
        .await;
    for _ in 0..2 {
        let answer = bench.get(ANA, PROJECTS).await;
        assert_eq!(answer.header("retry-after"), "7");
        assert_eq!(answer.header("x-ratelimit-remaining"), "0");
        assert!(
            !answer.header("x-ratelimit-resource").is_empty()
                && !answer.header("x-ratelimit-reset").is_empty()
        );
        assert!(
            answer
                .error(429, "RequestBlockedException")
                .starts_with("TF400733")
        );
        assert_eq!(bench.last_call().await.fault.as_deref(), Some("throttle"));
    }
    bench.get(ANA, PROJECTS).await.ok();
    bench
        .fault(Fault::once(Action::Throttle {
            retry_after_seconds: None,
        }))
        .await;
    assert!(
        bench
            .get(ANA, PROJECTS)
            .await
            .expect(429)
            .headers
            .get("retry-after")
            .is_none()
    );
}

#[tokio::test]
async fn every_user_has_a_budget_of_their_own() {
    let bench = Bench::start().await;
    let limit = RateLimit {
        limit_milli_tstu: 4_000,
        cost_milli_tstu: 1_000,
    };
    bench.settings(|settings| settings.rate_limit = limit).await;
    let first = bench.get(ANA, PROJECTS).await.ok();
    assert!(
        first.headers.get("x-ratelimit-limit").is_none(),
        "far from the limit"
    );
    bench.get(ANA, PROJECTS).await.ok();
    let near = bench.get(ANA, PROJECTS).await.ok();
    assert_eq!(
        (
            near.header("x-ratelimit-limit"),
            near.header("x-ratelimit-remaining")
        ),
        ("4", "1")
    );
    assert!(
        near.headers.get("x-ratelimit-delay").is_none(),
        "all but Delay come before delays begin"
    );
    bench.get(ANA, PROJECTS).await.ok();
    bench.pass(100);
    let blocked = bench.get(ANA, PROJECTS).await.expect(429);
    assert_eq!(blocked.header("retry-after"), "200");
    bench.get(BEN, PROJECTS).await.ok();
    bench.pass(200);
    bench.get(ANA, PROJECTS).await.ok();
}

#[tokio::test]
async fn a_delayed_call_is_still_200_and_asks_for_patience() {
    let bench = Bench::start().await;
    bench
        .fault(Fault::once(Action::Delay {
            milliseconds: 30,
            retry_after_seconds: Some(3),
        }))
        .await;
    let answer = bench.get(ANA, PROJECTS).await.ok();
    assert_eq!(
        (answer.header("x-ratelimit-delay"), answer.header("retry-after")),
        ("0.030", "3")
    );
    assert_eq!(answer.items().len(), 1);
}

#[tokio::test]
async fn answers_instead_of_an_answer() {
    let bench = Bench::start().await;
    bench
        .fault(Fault::once(Action::Unavailable {
            retry_after_seconds: Some(2),
        }))
        .await;
    let answer = bench.get(ANA, PROJECTS).await.expect(503);
    assert_eq!(answer.header("retry-after"), "2");
    assert!(answer.header("content-type").starts_with("text/html"));

    bench.fault(Fault::once(Action::SignInPage)).await;
    assert!(
        bench
            .get(ANA, PROJECTS)
            .await
            .expect(203)
            .header("content-type")
            .starts_with("text/html")
    );
    bench.fault(Fault::once(Action::SignInRedirect)).await;
    assert!(
        !bench
            .get(ANA, PROJECTS)
            .await
            .expect(302)
            .header("location")
            .is_empty()
    );
    bench.fault(Fault::once(Action::Unauthorized)).await;
    bench
        .get(ANA, PROJECTS)
        .await
        .error(401, "UnauthorizedRequestException");

    bench.fault(Fault::once(Action::EmptyList)).await;
    assert_eq!(
        bench.get(ANA, PROJECTS).await.ok().json(),
        json!({"count": 0, "value": []})
    );
    bench.fault(Fault::once(Action::EmptyBody)).await;
    assert_eq!(bench.get(ANA, PROJECTS).await.ok().body, b"");
    bench.fault(Fault::once(Action::BrokenJson)).await;
    assert!(serde_json::from_slice::<Value>(&bench.get(ANA, PROJECTS).await.ok().body).is_err());

    let error = |type_key: &str| Action::Error {
        status: 400,
        type_key: type_key.to_owned(),
        message: "no".to_owned(),
    };
    bench.fault(Fault::once(error("SomeException"))).await;
    assert_eq!(bench.get(ANA, PROJECTS).await.error(400, "SomeException"), "no");
    bench.fault(Fault::once(error(""))).await;
    assert_eq!(bench.get(ANA, PROJECTS).await.wrapped_error(), "no");
    let text = Action::Text {
        status: 500,
        content_type: "text/plain".to_owned(),
        body: "oops".to_owned(),
    };
    bench.fault(Fault::once(text)).await;
    assert_eq!(bench.get(ANA, PROJECTS).await.expect(500).text(), "oops");
    assert!(bench.control.faults().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_claims_challenge_carries_the_claims_in_base64() {
    let bench = Bench::start().await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1775044800"}}}"#;
    bench
        .fault(Fault::once(Action::ClaimsChallenge {
            claims: claims.to_owned(),
        }))
        .await;
    let answer = bench.get(ANA, PROJECTS).await.expect(401);
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_claims\""), "{challenge}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(claims);
    assert!(challenge.contains(&format!("claims=\"{encoded}\"")));
}

#[tokio::test]
async fn a_fault_is_for_its_calls_alone_until_it_is_taken_away() {
    let bench = Bench::start().await;
    let calls = Calls {
        object_id: Some(ANA.object_id.to_owned()),
        ..Calls::to("/timeline").with_method("GET")
    };
    bench.fault(Fault::always(Action::SignInPage).on(calls)).await;
    let timeline = "/shop/_apis/build/builds/638/timeline";
    bench.get(ANA, PROJECTS).await.ok();
    bench.get(BEN, timeline).await.ok();
    bench.get(ANA, timeline).await.expect(203);
    bench.get(ANA, timeline).await.expect(203);
    bench.control.clear_faults().await.unwrap();
    bench.get(ANA, timeline).await.ok();
}

#[tokio::test]
async fn a_reset_ends_the_connection_and_nothing_was_done() {
    let bench = Bench::start().await;
    bench.fault(Fault::once(Action::Reset)).await;
    let request = bench.request(Method::POST, "/shop/_apis/pipelines/178/runs?api-version=7.1");
    request
        .bearer_auth(bench.token(ANA))
        .json(&json!({}))
        .send()
        .await
        .unwrap_err();
    let call = bench.last_call().await;
    assert_eq!((call.status, call.fault.as_deref()), (None, Some("reset")));
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640]
    );
}

#[tokio::test]
async fn a_reset_after_the_work_leaves_a_run_without_an_answer() {
    let bench = Bench::start().await;
    bench
        .fault(Fault::once(Action::ResetAfterwards).on(Calls::to("/runs")))
        .await;
    let request = bench.request(Method::POST, "/shop/_apis/pipelines/178/runs?api-version=7.1");
    request
        .bearer_auth(bench.token(ANA))
        .json(&json!({}))
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [641]
    );
}

#[tokio::test]
async fn a_body_can_trickle_or_break_off() {
    let bench = Bench::start().await;
    let whole = bench.get(ANA, PROJECTS).await.ok().body;
    bench
        .fault(Fault::once(Action::SlowBody {
            chunk_bytes: 100,
            pause_milliseconds: 1,
        }))
        .await;
    let mut response = bench
        .request(Method::GET, PROJECTS)
        .bearer_auth(bench.token(ANA))
        .send()
        .await
        .unwrap();
    let (mut pieces, mut body) = (0, Vec::new());
    while let Some(piece) = response.chunk().await.unwrap() {
        pieces += 1;
        body.extend_from_slice(&piece);
    }
    assert_eq!(body, whole);
    assert!(pieces > 1, "{pieces}");

    bench
        .fault(Fault::once(Action::CutBody { after_bytes: 20 }))
        .await;
    let response = bench
        .request(Method::GET, PROJECTS)
        .bearer_auth(bench.token(ANA))
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    response.bytes().await.unwrap_err();
    assert_eq!(
        send(bench.request(Method::GET, PROJECTS).bearer_auth(bench.token(ANA)))
            .await
            .ok()
            .body,
        whole
    );
}

#[tokio::test]
async fn a_call_is_recorded_although_its_client_gave_up() {
    let bench = Bench::start().await;
    let delay = Action::Delay {
        milliseconds: 60_000,
        retry_after_seconds: None,
    };
    bench.fault(Fault::once(delay).on(Calls::to("/runs"))).await;
    let request = bench.request(Method::POST, "/shop/_apis/pipelines/178/runs?api-version=7.1");
    let request = request.bearer_auth(bench.token(ANA)).json(&json!({}));
    let waiting = tokio::spawn(request.send());
    // The test waits for the run to end.
    while bench
        .build_ids(ANA, "definitions=178&statusFilter=notStarted")
        .await
        != [641, 640]
    {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    let record = bench.control.record().await.unwrap();
    let run = record.iter().find(|call| call.method == "POST").unwrap();
    assert_eq!((run.status, run.fault.as_deref()), (Some(200), Some("delay")));
}
