//! Tests outages of Azure DevOps and answers that cannot be read.

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::azure_devops::{Action, Calls, Fault};
use rstest::rstest;
use serde_json::json;

use crate::support::World;
use crate::user::{User, writes};

#[tokio::test]
async fn repeats_reads_and_never_writes_after_an_outage() {
    let user = User::sign_in("ana").await;
    user.fault(
        Fault::once(Action::Unavailable {
            retry_after_seconds: None,
        })
        .times(2),
    )
    .await;
    user.list().await.structured();
    assert_eq!(user.requests().await, 3);

    user.world.azure().clear_record().await.unwrap();
    user.fault(
        Fault::once(Action::Unavailable {
            retry_after_seconds: None,
        })
        .on(writes()),
    )
    .await;
    let text = user.trigger().await.tool_error();
    assert!(
        text.contains("not known whether Azure DevOps queued the run") && text.contains("list_pipeline_runs"),
        "{text}"
    );
    let record = user.world.azure().record().await.unwrap();
    let sent = record.iter().filter(|call| call.method == "POST").count();
    assert_eq!(sent, 1, "a write was sent again");
}

#[rstest]
#[case::exchange_in_the_sidecar(ExchangePlace::Sidecar, 200, "text/html")]
#[case::exchange_in_the_server(ExchangePlace::Server, 200, "text/html")]
#[case::text(ExchangePlace::Server, 200, "text/plain")]
#[case::no_sign_in_page(ExchangePlace::Server, 203, "application/json")]
#[tokio::test]
async fn does_not_repeat_a_write_that_is_answered_with_a_page(
    #[case] at: ExchangePlace,
    #[case] status: u16,
    #[case] content_type: &str,
) {
    let world = World::start().await;
    let pod = world.pod(at, Injection::Header);
    let token = match at {
        ExchangePlace::Sidecar => world.azure_token("ana").await,
        ExchangePlace::Server => world.user_token("ana").await,
    };
    let page = Action::Text {
        status,
        content_type: content_type.to_owned(),
        body: "<html>".to_owned(),
    };
    let fault = Fault::always(page).on(writes());
    world.azure().fault(&fault).await.unwrap();
    let text = pod
        .call(&token, "trigger_pipeline_run", json!({"pipeline_id": 178}))
        .await
        .tool_error();
    assert!(
        text.contains("not known whether Azure DevOps queued the run"),
        "{text}"
    );
    let record = world.azure().record().await.unwrap();
    let sent = record.iter().filter(|call| call.method == "POST").count();
    assert_eq!(sent, 1, "a write was sent again");
}

#[tokio::test]
async fn returns_the_wait_of_a_lasting_outage() {
    let user = User::sign_in("ana").await;
    user.fault(Fault::always(Action::Unavailable {
        retry_after_seconds: Some(90),
    }))
    .await;
    let text = user.list().await.tool_error();
    assert!(text.contains("HTTP 503") && text.contains("90 seconds"), "{text}");
}

#[tokio::test]
async fn an_unreadable_answer_is_a_tool_error() {
    let user = User::sign_in("ana").await;
    for action in [Action::BrokenJson, Action::EmptyBody] {
        user.fault(Fault::once(action.clone())).await;
        let text = user.list().await.tool_error();
        assert!(text.contains("could not be read"), "{action:?}: {text}");
    }
    let broken = Fault::once(Action::BrokenJson).on(Calls::to("/timeline"));
    user.fault(broken).await;
    let text = user.failures_of(638).await.tool_error();
    assert!(text.contains("could not be read"), "{text}");
    // The run may exist although the answer to the write cannot be read.
    user.fault(Fault::once(Action::BrokenJson).on(writes())).await;
    assert!(user.trigger().await.tool_error().contains("not known whether"));
}

#[tokio::test]
async fn reads_an_absent_list_as_an_empty_list() {
    let user = User::sign_in("ana").await;
    user.fault(Fault::once(Action::EmptyList)).await;
    let answer = user.list().await.structured();
    assert_eq!(answer["runs"], json!([]));

    // A run without a stored timeline is valid.
    for action in [Action::EmptyList, Action::EmptyBody] {
        user.world.azure().clear_record().await.unwrap();
        user.fault(Fault::once(action.clone()).on(Calls::to("/timeline")))
            .await;
        let answer = user.failures_of(638).await.structured();
        assert_eq!(answer["failures"], json!([]), "{action:?}");
        assert_eq!(answer["run"]["run_id"], 638, "{action:?}");
        let record = user.world.azure().record().await.unwrap();
        let spoiled = record.iter().filter(|call| call.fault.is_some());
        assert_eq!(spoiled.count(), 1, "{action:?} was not applied");
    }
}

#[tokio::test]
async fn a_client_that_disconnects_cancels_its_call() {
    let user = User::sign_in("ana").await;
    let slow = |milliseconds| Action::Delay {
        milliseconds,
        retry_after_seconds: None,
    };
    user.fault(Fault::once(slow(300)).on(Calls::to("/builds/638")))
        .await;
    let arguments = json!({"run_id": 638});
    let call = user.call("get_run_failure_logs", arguments);
    let heard = async {
        while user.requests().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = call => panic!("answered before the client went: {answer:?}"),
        () = heard => {}
    }
    // A call that takes longer than the first would have taken to go on.
    user.fault(Fault::once(slow(1_000)).on(Calls::to("/deployments")))
        .await;
    user.call("list_deployments", json!({})).await.structured();
    let record = user.world.azure().record().await.unwrap();
    let after: Vec<_> = record
        .iter()
        .filter(|call| call.path.to_lowercase().contains("/timeline"))
        .collect();
    assert!(after.is_empty(), "{after:?}");
}
