//! What Azure DevOps does when it does not answer as asked.

use std::time::{Duration, Instant};

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::azure_devops::{Action, Calls, Fault, Permissions};
use behalf_simulators::entra::MintRequest;
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, FOREIGN_TENANT_ID};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use http::StatusCode;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::support::{Answer, Ask, Pod, World};

struct Session {
    world: World,
    pod: Pod,
    token: String,
}

impl Session {
    async fn of_ana() -> Self {
        let world = World::start().await;
        let pod = world.pod(ExchangePlace::Sidecar, Injection::Header);
        let token = world.azure_token("ana").await;
        Self { world, pod, token }
    }

    async fn list(&self) -> Answer {
        self.pod
            .call(&self.token, "list_pipeline_runs", json!({"top": 1}))
            .await
    }

    async fn run(&self) -> Answer {
        self.pod
            .call(&self.token, "trigger_pipeline_run", json!({"pipeline_id": 178}))
            .await
    }

    async fn failures_of(&self, run: u32) -> Answer {
        self.pod
            .call(&self.token, "get_run_failure_logs", json!({"run_id": run}))
            .await
    }

    async fn fault(&self, fault: Fault) {
        self.world.azure().fault(&fault).await.unwrap();
    }

    async fn calls(&self) -> usize {
        self.world.azure().record().await.unwrap().len()
    }
}

/// Requests that change something.
fn writes() -> Calls {
    Calls::default().with_method("POST")
}

#[tokio::test]
async fn a_short_throttling_is_waited_out_and_a_write_is_sent_again() {
    let session = Session::of_ana().await;
    session
        .fault(Fault::once(Action::Throttle {
            retry_after_seconds: Some(1),
        }))
        .await;
    let start = Instant::now();
    session.list().await.structured();
    assert!(start.elapsed() >= Duration::from_secs(1), "did not wait");
    session
        .fault(
            Fault::once(Action::Throttle {
                retry_after_seconds: None,
            })
            .on(writes()),
        )
        .await;
    session.run().await.structured();
    assert_eq!(session.calls().await, 5, "with the question whose pipeline it is");
}

#[tokio::test]
async fn a_long_throttling_is_told_and_respected_by_the_next_call() {
    let session = Session::of_ana().await;
    session
        .fault(Fault::once(Action::Throttle {
            retry_after_seconds: Some(120),
        }))
        .await;
    let text = session.list().await.tool_error();
    assert!(text.contains("try again in 1"), "{text}");
    let text = session.list().await.tool_error();
    assert!(text.contains("limiting this user's requests"), "{text}");
    assert_eq!(
        session.calls().await,
        1,
        "the second call went out before its time"
    );

    // Another user has another budget.
    let ben = session.world.azure_token("ben").await;
    session
        .pod
        .call(&ben, "list_pipeline_runs", json!({}))
        .await
        .structured();
}

#[tokio::test]
async fn a_wish_to_slow_down_on_a_good_answer_is_respected() {
    let session = Session::of_ana().await;
    session
        .fault(Fault::once(Action::Delay {
            milliseconds: 0,
            retry_after_seconds: Some(120),
        }))
        .await;
    session.list().await.structured();
    let text = session.list().await.tool_error();
    assert!(text.contains("limiting"), "{text}");
    assert_eq!(session.calls().await, 1);
}

#[tokio::test]
async fn an_outage_is_tried_again_for_reads_and_never_for_writes() {
    let session = Session::of_ana().await;
    session
        .fault(
            Fault::once(Action::Unavailable {
                retry_after_seconds: None,
            })
            .times(2),
        )
        .await;
    session.list().await.structured();
    assert_eq!(session.calls().await, 3);

    session.world.azure().clear_record().await.unwrap();
    session
        .fault(
            Fault::once(Action::Unavailable {
                retry_after_seconds: None,
            })
            .on(writes()),
        )
        .await;
    let text = session.run().await.tool_error();
    assert!(
        text.contains("not known whether Azure DevOps queued the run") && text.contains("list_pipeline_runs"),
        "{text}"
    );
    let record = session.world.azure().record().await.unwrap();
    let sent = record.iter().filter(|call| call.method == "POST").count();
    assert_eq!(sent, 1, "a write was sent again");
}

#[rstest]
#[case::exchange_in_the_sidecar(ExchangePlace::Sidecar, 200, "text/html")]
#[case::exchange_in_the_server(ExchangePlace::Server, 200, "text/html")]
#[case::text(ExchangePlace::Server, 200, "text/plain")]
#[case::no_sign_in_page(ExchangePlace::Server, 203, "application/json")]
#[tokio::test]
async fn a_write_that_is_answered_with_a_page_is_not_sent_again(
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
async fn a_lasting_outage_says_when_to_try_again() {
    let session = Session::of_ana().await;
    session
        .fault(Fault::always(Action::Unavailable {
            retry_after_seconds: Some(90),
        }))
        .await;
    let text = session.list().await.tool_error();
    assert!(text.contains("HTTP 503") && text.contains("90 seconds"), "{text}");
}

#[tokio::test]
async fn nonsense_is_a_tool_error() {
    let session = Session::of_ana().await;
    for action in [Action::BrokenJson, Action::EmptyBody] {
        session.fault(Fault::once(action.clone())).await;
        let text = session.list().await.tool_error();
        assert!(text.contains("could not be understood"), "{action:?}: {text}");
    }
    let broken = Fault::once(Action::BrokenJson).on(Calls::to("/timeline"));
    session.fault(broken).await;
    let text = session.failures_of(638).await.tool_error();
    assert!(text.contains("could not be understood"), "{text}");
    // The run may exist although the answer to the write cannot be read.
    session.fault(Fault::once(Action::BrokenJson).on(writes())).await;
    assert!(session.run().await.tool_error().contains("not known whether"));
}

#[tokio::test]
async fn nothing_in_place_of_entries_is_an_answer_without_entries() {
    let session = Session::of_ana().await;
    session.fault(Fault::once(Action::EmptyList)).await;
    let answer = session.list().await.structured();
    assert_eq!(answer["runs"], json!([]));

    // A run without a stored timeline is valid.
    for action in [Action::EmptyList, Action::EmptyBody] {
        session.world.azure().clear_record().await.unwrap();
        session
            .fault(Fault::once(action.clone()).on(Calls::to("/timeline")))
            .await;
        let answer = session.failures_of(638).await.structured();
        assert_eq!(answer["failures"], json!([]), "{action:?}");
        assert_eq!(answer["run"]["run_id"], 638, "{action:?}");
        let record = session.world.azure().record().await.unwrap();
        let spoiled = record.iter().filter(|call| call.fault.is_some());
        assert_eq!(spoiled.count(), 1, "{action:?} was not applied");
    }
}

#[tokio::test]
async fn one_log_that_cannot_be_read_does_not_hide_the_rest() {
    let session = Session::of_ana().await;
    let gone = Action::Error {
        status: 404,
        type_key: "BuildLogNotFoundException".to_owned(),
        message: "The log is gone.".to_owned(),
    };
    session.fault(Fault::always(gone).on(Calls::to("/logs/"))).await;
    let answer = session
        .pod
        .call(&session.token, "get_run_failure_logs", json!({"run_id": 638}))
        .await
        .structured();
    let failure = &answer["failures"][0];
    assert!(
        failure["log_note"]
            .as_str()
            .unwrap()
            .contains("could not be read"),
        "{failure}"
    );
    assert!(!failure["issues"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn somebody_who_never_opened_azure_devops_is_told_to() {
    let session = Session::of_ana().await;
    session.world.azure().forget_user(ANA.object_id).await.unwrap();
    let text = session.list().await.tool_error();
    assert!(text.contains("https://dev.azure.com/contoso"), "{text}");
}

#[tokio::test]
async fn a_token_of_another_tenant_names_the_organizations() {
    let session = Session::of_ana().await;
    let authority = session
        .world
        .config(ExchangePlace::Server, Injection::Header)
        .entra
        .unwrap()
        .authority;
    let foreign = MintRequest::for_user("ana")
        .resource(AZURE_DEVOPS_APPLICATION_ID)
        .claim("tid", FOREIGN_TENANT_ID)
        .claim(
            "iss",
            format!(
                "{}/{FOREIGN_TENANT_ID}/v2.0",
                authority.as_str().trim_end_matches('/')
            ),
        );
    let token = session.world.entra().mint(&foreign).await.unwrap();
    let text = session
        .pod
        .call(&token, "list_pipeline_runs", json!({}))
        .await
        .tool_error();
    assert!(text.contains("is not known in the tenant"), "{text}");
    assert!(text.contains(behalf_simulators::people::TENANT_ID), "{text}");
}

#[tokio::test]
async fn an_empty_list_does_not_pretend_to_know_why() {
    let session = Session::of_ana().await;
    let blind = Permissions {
        projects: ["shop".to_owned()].into(),
        empty_lists: true,
        ..Permissions::default()
    };
    session
        .world
        .azure()
        .change_permissions(ANA.object_id, &blind)
        .await
        .unwrap();
    let answer: Value = session.list().await.structured();
    let note = answer["note"].as_str().unwrap();
    assert!(note.contains("none is visible to the signed-in user"), "{note}");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_call() {
    let session = Session::of_ana().await;
    let slow = |milliseconds| Action::Delay {
        milliseconds,
        retry_after_seconds: None,
    };
    session
        .fault(Fault::once(slow(300)).on(Calls::to("/builds/638")))
        .await;
    let arguments = json!({"run_id": 638});
    let call = session
        .pod
        .call(&session.token, "get_run_failure_logs", arguments);
    let heard = async {
        while session.calls().await == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = call => panic!("answered before the client went: {answer:?}"),
        () = heard => {}
    }
    // A call that takes longer than the first would have taken to go on.
    session
        .fault(Fault::once(slow(1_000)).on(Calls::to("/deployments")))
        .await;
    session
        .pod
        .call(&session.token, "list_deployments", json!({}))
        .await
        .structured();
    let record = session.world.azure().record().await.unwrap();
    let after: Vec<_> = record
        .iter()
        .filter(|call| call.path.to_lowercase().contains("/timeline"))
        .collect();
    assert!(after.is_empty(), "{after:?}");
}

#[tokio::test]
async fn the_sign_in_page_is_suppressed_only_on_request() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    for suppress in [false, true] {
        let pod = world.pod_suppressing(suppress);
        pod.call(&token, "list_pipeline_runs", json!({}))
            .await
            .structured();
        let record = world.azure().record().await.unwrap();
        assert_eq!(record.last().unwrap().suppresses_redirect, suppress);
        // 401 in place of the page means the same.
        pod.call(&world.user_token("ana").await, "list_pipeline_runs", json!({}))
            .await
            .reauthenticate();
    }
}

#[tokio::test]
async fn more_calls_at_once_than_the_server_takes_are_told_to_come_again() {
    const MOST: usize = 64;
    let world = World::start().await;
    // An Azure DevOps that takes calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let core = format!("http://{}", silent.local_addr().unwrap());
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let call = || pod.call("token", "list_pipeline_runs", json!({"top": 1}));
    let mut under_way: FuturesUnordered<_> = (0..MOST).map(|_| call()).collect();
    let mut connections = Vec::new();
    while connections.len() < MOST {
        tokio::select! {
            Some(answer) = under_way.next() => panic!("{answer:?}"),
            connection = silent.accept() => connections.push(connection.unwrap()),
        }
    }
    let answer = timeout(Duration::from_secs(10), call())
        .await
        .expect("one more is taken");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers["retry-after"], "1");
    let body = answer.json();
    assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(503)));
    // What is no tool call takes nothing from anybody.
    let listed = pod.send(Ask::request("tools/list").bearer("token")).await;
    assert_eq!(listed.status, StatusCode::OK);

    // A client that leaves makes room.
    drop(under_way);
    tokio::select! {
        answer = call() => panic!("{answer:?}"),
        connection = silent.accept() => drop(connection.unwrap()),
    }
}

#[tokio::test]
async fn large_calls_take_the_room_of_several() {
    let world = World::start().await;
    // An Azure DevOps that takes calls and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let core = format!("http://{}", silent.local_addr().unwrap());
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        config.azure_dev_ops.endpoints.core = core.parse().unwrap();
    });
    let large = || {
        let message = json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "list_pipeline_runs", "arguments": {"top": 1}, "_meta": {"x": vec![0; 1_900]}},
        });
        pod.send(Ask::message(&message).bearer("token"))
    };
    let mut under_way: FuturesUnordered<_> = (0..64).map(|_| large()).collect();
    let answer = timeout(Duration::from_secs(20), under_way.next())
        .await
        .expect("all of them are taken")
        .unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    let ping = pod.send(Ask::request("ping").bearer("token")).await;
    assert_eq!(ping.status, StatusCode::OK, "a small one has room: {ping:?}");
}
