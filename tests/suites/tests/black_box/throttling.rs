//! Tests calls during throttling by Azure DevOps and by Entra, and calls with tokens that Azure DevOps
//! refuses.

use std::time::Duration;

use behalf_demo::environment::Server;
use behalf_demo::mcp_client::Era;
use behalf_simulators::azure_devops::{Action, Fault as AzureDevOpsFault, RecordedCall};
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring;
use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::Instant;

use crate::ensure;
use crate::faults::{call, lifetime};
use crate::restarts::restarting_nothing;
use crate::world::{TestResult, World};

crate::tests![
    azure_devops_throttling_is_waited_for,
    lasting_throttling_is_a_tool_error_and_stops_the_requests,
    parallel_calls_go_on_with_the_living_token_while_entra_throttles,
    a_token_that_azure_devops_refuses_once_is_replaced_without_a_login,
    a_token_that_azure_devops_refuses_after_a_fresh_sign_in_is_a_tool_error,
];

/// `Retry-After` of Entra's throttling. Every user of the Pod waits for its end, and so does this test.
const ENTRA_PAUSE: Duration = Duration::from_secs(16);

/// Returns the calls that Azure DevOps received after the call with this number.
async fn calls_after(world: &World, sequence: u64) -> TestResult<Vec<RecordedCall>> {
    let mut calls = world.azure_devops.record().await?;
    // A sidecar asks for the organization's tenant without a user.
    calls.retain(|call| call.sequence > sequence && call.method != "HEAD");
    Ok(calls)
}

async fn clear_azure_devops(world: &World) -> TestResult {
    Ok(world.azure_devops.clear_faults().await?)
}

async fn last_call(world: &World) -> TestResult<u64> {
    let calls = world.azure_devops.record().await?;
    Ok(calls.last().map_or(0, |call| call.sequence))
}

async fn azure_devops_throttling_is_waited_for(world: &World) -> TestResult {
    let connection = world.connect(Server::Quickstart, &ANA, Era::Modern).await?;
    let before = last_call(world).await?;
    let fault = AzureDevOpsFault::once(Action::Throttle {
        retry_after_seconds: Some(3),
    });
    world.azure_devops.fault(&fault).await?;
    let result = connection
        .call("list_pipeline_runs", json!({"project": "shop"}))
        .await?;
    connection.close().await;
    ensure!(
        result.is_error != Some(true),
        "one 429 became an error: {}",
        behalf_demo::text(&result)
    );
    let calls = calls_after(world, before).await?;
    let throttled = calls.iter().position(|call| call.status == Some(429));
    let at = throttled.ok_or("Azure DevOps throttled no call: the test proved nothing")?;
    let [throttled, next, ..] = calls.get(at..).unwrap_or_default() else {
        return Err("nothing was asked after the 429, yet the call succeeded".into());
    };
    let (throttled, next): (Timestamp, Timestamp) = (throttled.time.parse()?, next.time.parse()?);
    let waited = next.duration_since(throttled);
    ensure!(
        waited >= SignedDuration::from_secs(3),
        "Azure DevOps asked for 3 s and was asked again after {waited:?}"
    );
    Ok(())
}

async fn lasting_throttling_is_a_tool_error_and_stops_the_requests(world: &World) -> TestResult {
    let connection = world.connect(Server::Quickstart, &ANA, Era::Modern).await?;
    let before = last_call(world).await?;
    let fault = AzureDevOpsFault::always(Action::Throttle {
        retry_after_seconds: Some(240),
    });
    let work = async {
        world.azure_devops.fault(&fault).await?;
        let list = || connection.call("list_pipeline_runs", json!({"project": "shop"}));
        Ok([list().await?, list().await?])
    };
    let results = restoring(work, clear_azure_devops(world)).await?;
    connection.close().await;
    for result in results {
        let text = behalf_demo::text(&result);
        ensure!(
            result.is_error == Some(true),
            "lasting throttling was no error: {text}"
        );
        let seconds = text
            .split_once("try again in ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse::<u64>().ok());
        ensure!(
            seconds.is_some_and(|seconds| (200..=240).contains(&seconds)),
            "it does not say when to try again: {text}"
        );
    }
    let calls = calls_after(world, before).await?;
    ensure!(
        calls.len() == 1 && calls.iter().all(|call| call.status == Some(429)),
        "Azure DevOps was asked again before its time: {calls:?}"
    );
    Ok(())
}

async fn parallel_calls_go_on_with_the_living_token_while_entra_throttles(world: &World) -> TestResult {
    let restore = async {
        world.entra.clear_faults().await?;
        lifetime(world, None).await
    };
    let work = restarting_nothing(world, Server::Quickstart, async || {
        while_entra_throttles(world).await
    });
    Box::pin(restoring(work, restore)).await
}

async fn while_entra_throttles(world: &World) -> TestResult {
    let server = Server::Quickstart;
    // Tokens with less than ten minutes left are renewed at the next call.
    lifetime(world, Some(300)).await?;
    let token = world.access_token(server, &ANA).await?;
    // This call renews the user's token and exchanges it. Later calls need only another renewal from Entra.
    let first = call(world, server, &token).await?.status();
    ensure!(first == StatusCode::OK, "the first call answered {first}");
    let before = world
        .entra
        .requests()
        .await?
        .last()
        .map_or(0, |request| request.number);
    let throttled = Effect::Throttled {
        retry_after_seconds: Some(u32::try_from(ENTRA_PAUSE.as_secs())?),
    };
    let began = Instant::now();
    world
        .entra
        .add_fault(&Fault::always([RequestKind::RefreshToken], throttled))
        .await?;
    for _ in 0..3 {
        let calls = (0..12).map(|_| call(world, server, &token));
        for answer in futures::future::join_all(calls).await {
            let status = answer?.status();
            ensure!(
                status == StatusCode::OK,
                "a call with a living token answered {status} while Entra throttles"
            );
        }
    }
    ensure!(
        began.elapsed() < ENTRA_PAUSE,
        "36 calls took {:?}: the test proved nothing",
        began.elapsed()
    );
    let mut asked = world.entra.requests_after(before).await?;
    asked.retain(|request| request.kind == RequestKind::RefreshToken);
    ensure!(
        asked.len() == 1,
        "{} renewals within Retry-After, one was due",
        asked.len()
    );

    world.entra.clear_faults().await?;
    tokio::time::sleep(ENTRA_PAUSE.saturating_sub(began.elapsed()) + Duration::from_secs(3)).await;
    let after = call(world, server, &token).await?.status();
    ensure!(after == StatusCode::OK, "after the pause a call answered {after}");
    let mut asked = world.entra.requests_after(before).await?;
    asked.retain(|request| request.kind == RequestKind::RefreshToken);
    ensure!(
        asked.len() == 2 && asked.iter().filter(|request| request.succeeded()).count() == 1,
        "the token was not renewed after the pause: {asked:?}"
    );
    Ok(())
}

async fn a_token_that_azure_devops_refuses_once_is_replaced_without_a_login(world: &World) -> TestResult {
    for server in Server::ALL {
        for action in [Action::SignInPage, Action::SignInRedirect, Action::Unauthorized] {
            let token = world.access_token(server, &ANA).await?;
            let before = last_call(world).await?;
            let what = format!("{}: after {action:?}", server.name());
            let work = async {
                let fault = AzureDevOpsFault::once(action);
                world.azure_devops.fault(&fault).await?;
                call(world, server, &token).await
            };
            let answer = restoring(work, clear_azure_devops(world)).await?;
            let status = answer.status();
            ensure!(status == StatusCode::OK, "{what} the call answered {status}");
            let text = answer.text().await?;
            ensure!(
                !text.contains("\"isError\":true"),
                "{what} the call failed: {text}"
            );
            let calls = calls_after(world, before).await?;
            let faults = calls.iter().filter(|call| call.fault.is_some()).count();
            ensure!(
                faults == 1,
                "{what} the fault hit {faults} requests: the test proved nothing"
            );
        }
    }
    Ok(())
}

async fn a_token_that_azure_devops_refuses_after_a_fresh_sign_in_is_a_tool_error(
    world: &World,
) -> TestResult {
    for server in Server::ALL {
        let token = world.access_token(server, &ANA).await?;
        let work = async {
            let fault = AzureDevOpsFault::always(Action::SignInPage);
            world.azure_devops.fault(&fault).await?;
            call(world, server, &token).await
        };
        let answer = restoring(work, clear_azure_devops(world)).await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(
            status == StatusCode::OK && text.contains("\"isError\":true") && text.contains("tenant"),
            "{}: answered {status}: {text}",
            server.name()
        );
    }
    Ok(())
}
