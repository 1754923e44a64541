//! Tests login and tools with the official MCP SDKs. `tests/suites/clients` pins their versions.

use behalf_demo::environment::Server;
use behalf_simulators::people::{ANA, BEN, Person};
use behalf_tests::inspector::Protocol;
use behalf_tests::sdk_client::{Sdk, SdkClient, Session, Work};
use serde_json::{Value, json};

use crate::credentials::pod_of;
use crate::ensure;
use crate::restarts::restarts;
use crate::sign_in::calls;
use crate::world::{TestResult, World};

crate::tests![
    Traffic: [
        the_python_sdk_signs_in_and_calls_all_four_tools,
        the_typescript_sdk_signs_in_and_calls_all_four_tools,
        fifty_logins_of_the_python_sdk_by_two_users_at_once_all_work,
        fifty_logins_of_the_typescript_sdk_by_two_users_at_once_all_work,
        fifty_logins_of_the_first_typescript_sdk_by_two_users_at_once_all_work,
        clients_step_up_when_a_tool_needs_the_scope_that_the_user_left_out,
    ],
];

/// Sign-ins of each of the two users.
const LOGINS: usize = 25;

async fn all_four_tools(world: &World, sdk: Sdk, pairs: &[(Server, Protocol)]) -> TestResult {
    let client = SdkClient::install(sdk)?;
    for (server, protocol) in pairs {
        let work = Work {
            server: &world.layout.mcp_url(*server),
            protocol: *protocol,
            sign_ins: 1,
            calls: &calls(),
            cleared: None,
            authority: None,
        };
        let sessions = client.run(&work, &ANA).await?;
        let [session] = sessions.as_slice() else {
            return Err(format!("{}: {} sessions", server.name(), sessions.len()).into());
        };
        ensure!(
            session.sign_ins == 1,
            "{sdk:?} asked for the browser {} times: it could not step up, or had to",
            session.sign_ins
        );
        for ((tool, _), result) in calls().iter().zip(&session.results) {
            ensure!(
                session.tools.iter().any(|listed| listed == tool),
                "{tool} is not listed"
            );
            ensure!(!result.is_error, "{tool} refused: {}", result.text);
            ensure!(!result.text.is_empty(), "{tool} answered nothing");
        }
        ensure!(
            session.results.len() == calls().len(),
            "{sdk:?} called {} tools",
            session.results.len()
        );
    }
    Ok(())
}

async fn the_python_sdk_signs_in_and_calls_all_four_tools(world: &World) -> TestResult {
    let pairs = [
        (Server::Quickstart, Protocol::Legacy),
        (Server::Quickstart, Protocol::Modern),
        (Server::Article, Protocol::Modern),
    ];
    all_four_tools(world, Sdk::Python, &pairs).await
}

async fn the_typescript_sdk_signs_in_and_calls_all_four_tools(world: &World) -> TestResult {
    let pairs = [
        (Server::Quickstart, Protocol::Legacy),
        (Server::Article, Protocol::Modern),
    ];
    all_four_tools(world, Sdk::TypeScript, &pairs).await?;
    all_four_tools(world, Sdk::TypeScript1, &[(Server::Article, Protocol::Legacy)]).await
}

/// Lists of two projects.
fn lists() -> [(&'static str, Value); 2] {
    [
        ("list_pipeline_runs", json!({"project": "shop", "top": 50})),
        ("list_pipeline_runs", json!({"project": "payments", "top": 50})),
    ]
}

/// Two users sign in concurrently, each `LOGINS` times. Each sees only their own data every time.
async fn fifty_logins(world: &World, sdk: Sdk, protocol: Protocol) -> TestResult {
    let server = Server::Quickstart;
    let client = SdkClient::install(sdk)?;
    let before = pod_of(world, server).await?;
    world.azure_devops.clear_record().await?;
    let url = world.layout.mcp_url(server);
    let calls = lists();
    let work = Work {
        server: &url,
        protocol,
        sign_ins: LOGINS,
        calls: &calls,
        cleared: None,
        authority: None,
    };
    let (ana, ben) = tokio::join!(client.run(&work, &ANA), client.run(&work, &BEN));
    // Both users see the runs of the first project. Ana has no access to the second one.
    each_session_saw(&ANA, &ana?, [false, true])?;
    each_session_saw(&BEN, &ben?, [false, false])?;

    // Azure DevOps received requests of these two users only, one for each of their calls.
    let record = world.azure_devops.record().await?;
    let asked = |project: &str, person: Option<&Person>| {
        let path = format!("/contoso/{project}/_apis/build/builds");
        let calls = record.iter().filter(|call| call.path == path);
        calls
            .filter(|call| person.is_none_or(|person| call.object_id.as_deref() == Some(person.object_id)))
            .count()
    };
    for project in ["shop", "payments"] {
        let counts = (
            asked(project, Some(&ANA)),
            asked(project, Some(&BEN)),
            asked(project, None),
        );
        ensure!(
            counts == (LOGINS, LOGINS, 2 * LOGINS),
            "{project}: Azure DevOps was asked {counts:?} times: by Ana, by Ben, by anybody"
        );
    }
    let after = pod_of(world, server).await?;
    ensure!(
        after.metadata.uid == before.metadata.uid && restarts(&after) == restarts(&before),
        "the Pod was restarted in between"
    );
    Ok(())
}

/// Checks that each sign-in took one visit to the browser, and that the calls were refused as expected.
fn each_session_saw(person: &Person, sessions: &[Session], refused: [bool; 2]) -> TestResult {
    let name = person.display_name;
    ensure!(
        sessions.len() == LOGINS,
        "{name} signed in {} times",
        sessions.len()
    );
    for session in sessions {
        ensure!(
            session.sign_ins == 1,
            "{name} was sent to the browser {} times in one session",
            session.sign_ins
        );
        let seen: Vec<_> = session.results.iter().map(|result| result.is_error).collect();
        ensure!(seen == refused, "{name} saw {:?}", session.results);
    }
    Ok(())
}

async fn fifty_logins_of_the_python_sdk_by_two_users_at_once_all_work(world: &World) -> TestResult {
    fifty_logins(world, Sdk::Python, Protocol::Modern).await
}

async fn fifty_logins_of_the_typescript_sdk_by_two_users_at_once_all_work(world: &World) -> TestResult {
    fifty_logins(world, Sdk::TypeScript, Protocol::Modern).await
}

async fn fifty_logins_of_the_first_typescript_sdk_by_two_users_at_once_all_work(world: &World) -> TestResult {
    fifty_logins(world, Sdk::TypeScript1, Protocol::Legacy).await
}

async fn clients_step_up_when_a_tool_needs_the_scope_that_the_user_left_out(world: &World) -> TestResult {
    let server = Server::Quickstart;
    for (sdk, protocol) in [
        (Sdk::Python, Protocol::Legacy),
        (Sdk::Python, Protocol::Modern),
        (Sdk::TypeScript, Protocol::Modern),
        (Sdk::TypeScript1, Protocol::Legacy),
    ] {
        let client = SdkClient::install(sdk)?;
        let work = Work {
            server: &world.layout.mcp_url(server),
            protocol,
            sign_ins: 1,
            calls: &calls(),
            cleared: Some("run"),
            authority: None,
        };
        let sessions = client.run(&work, &ANA).await?;
        let [session] = sessions.as_slice() else {
            return Err(format!("{sdk:?}: {} sessions", sessions.len()).into());
        };
        ensure!(
            session.sign_ins == 2,
            "{sdk:?} asked for the browser {} times: once to sign in and once to step up is right",
            session.sign_ins
        );
        ensure!(
            session.scope.split_whitespace().any(|scope| scope == "mcp:run"),
            "{sdk:?} holds {:?} after the step-up",
            session.scope
        );
        let refused = session.results.iter().filter(|result| result.is_error).count();
        ensure!(
            refused == 0 && session.results.len() == calls().len(),
            "{sdk:?} was refused {refused} of {} calls: {:?}",
            calls().len(),
            session.results
        );
    }
    Ok(())
}
