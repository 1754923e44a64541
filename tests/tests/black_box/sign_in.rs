//! Login and tools with rmcp's own client, which gets a URL and a person at a browser.

use behalf_tests::client::{ClientError, Era, PendingSignIn};
use behalf_tests::demo;
use behalf_tests::environment::Server;
use behalf_tests::people::{ANA, BEN, CAROL};
use behalf_tests::sign_in::{Answer, Browser, SignInError, Visit};
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    quickstart_signs_in_and_calls_all_four_tools_in_the_legacy_era,
    quickstart_signs_in_and_calls_all_four_tools_in_the_modern_era,
    article_signs_in_and_calls_all_four_tools_in_the_legacy_era,
    article_signs_in_and_calls_all_four_tools_in_the_modern_era,
    users_get_their_own_results,
    a_user_without_permission_gets_the_refusal,
    login_fails_when_the_consent_post_is_skipped,
    a_denied_consent_reaches_the_client_as_access_denied,
    the_reserved_argument_is_in_no_tool_schema,
    a_refreshed_session_goes_on_working,
    the_transcript_of_the_demo_agrees_with_the_record_of_azure_devops,
];

/// The four tools, in the order in which they are listed, with arguments that work for Ana.
pub(crate) fn calls() -> [(&'static str, Value); 4] {
    [
        ("get_run_failure_logs", json!({"project": "shop", "run_id": 638})),
        ("list_deployments", json!({"project": "shop"})),
        ("list_pipeline_runs", json!({"project": "shop", "top": 5})),
        (
            "trigger_pipeline_run",
            json!({"project": "shop", "pipeline_id": 178, "branch": "main"}),
        ),
    ]
}

async fn all_four_tools(world: &World, server: Server, era: Era) -> TestResult {
    world.azure_devops.clear_record().await?;
    let connection = world.connect(server, &ANA, era).await?;
    let listed: Vec<_> = connection
        .tools()
        .await?
        .into_iter()
        .map(|tool| tool.name.into_owned())
        .collect();
    for (tool, arguments) in calls() {
        ensure!(
            listed.iter().any(|name| name == tool),
            "{tool} is not listed: {listed:?}"
        );
        let result = connection.call(tool, arguments).await?;
        ensure!(
            result.is_error != Some(true),
            "{tool} refused: {}",
            demo::text(&result)
        );
        ensure!(!demo::text(&result).is_empty(), "{tool} answered nothing");
    }
    connection.close().await;

    let seen = world.azure_devops.record().await?;
    let foreign: Vec<_> = seen
        .iter()
        .filter(|call| call.object_id.as_deref().is_some_and(|oid| oid != ANA.object_id))
        .collect();
    ensure!(foreign.is_empty(), "Azure DevOps saw somebody else: {foreign:?}");
    world.azure_devops.clear_record().await?;
    Ok(())
}

async fn quickstart_signs_in_and_calls_all_four_tools_in_the_legacy_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Quickstart, Era::Legacy).await
}

async fn quickstart_signs_in_and_calls_all_four_tools_in_the_modern_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Quickstart, Era::Modern).await
}

async fn article_signs_in_and_calls_all_four_tools_in_the_legacy_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Article, Era::Legacy).await
}

async fn article_signs_in_and_calls_all_four_tools_in_the_modern_era(world: &World) -> TestResult {
    all_four_tools(world, Server::Article, Era::Modern).await
}

async fn users_get_their_own_results(world: &World) -> TestResult {
    for server in Server::ALL {
        let arguments = json!({"project": "shop", "top": 50});
        let ana = world.connect(server, &ANA, Era::Legacy).await?;
        let ben = world.connect(server, &BEN, Era::Legacy).await?;
        let mut answers = Vec::new();
        // In turns on purpose: a token kept under the wrong key would show here.
        for _ in 0..3 {
            let hers = demo::text(&ana.call("list_pipeline_runs", arguments.clone()).await?);
            let his = demo::text(&ben.call("list_pipeline_runs", arguments.clone()).await?);
            ensure!(hers != his, "{}: Ana and Ben see the same", server.name());
            answers.push((hers, his));
        }
        answers.dedup();
        ensure!(
            answers.len() == 1,
            "{}: the answers changed between two calls",
            server.name()
        );

        let hidden = json!({"project": "payments"});
        let hers = ana.call("list_pipeline_runs", hidden.clone()).await?;
        ensure!(
            hers.is_error == Some(true),
            "Ana saw a project that is hidden from her: {}",
            demo::text(&hers)
        );
        if server == Server::Quickstart {
            let his = ben.call("list_pipeline_runs", hidden).await?;
            ensure!(
                his.is_error != Some(true),
                "Ben was refused his project: {}",
                demo::text(&his)
            );
        }
        ana.close().await;
        ben.close().await;
    }
    Ok(())
}

async fn a_user_without_permission_gets_the_refusal(world: &World) -> TestResult {
    for server in Server::ALL {
        let carol = world.connect(server, &CAROL, Era::Modern).await?;
        let (tool, arguments) = (
            "trigger_pipeline_run",
            json!({"project": "shop", "pipeline_id": 178, "branch": "main"}),
        );
        let result = carol.call(tool, arguments).await?;
        let text = demo::text(&result);
        ensure!(result.is_error == Some(true), "Carol started a run: {text}");
        ensure!(
            text.to_lowercase().contains("queue builds"),
            "the missing permission is not named: {text}"
        );
        carol.close().await;
    }
    Ok(())
}

async fn login_fails_when_the_consent_post_is_skipped(world: &World) -> TestResult {
    let pending = PendingSignIn::begin(&world.layout.mcp_url(Server::Quickstart)).await?;
    let before = world.entra.requests().await?.len();
    let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).consent(Answer::Skip);
    let stopped = Browser::new()?.sign_in(&visit).await;
    ensure!(
        matches!(stopped, Err(SignInError::StoppedAtConsent { .. })),
        "no consent page stood in the way: {stopped:?}"
    );

    // Without the approval nobody went to Entra, and no code comes out of a callback without its cookie.
    let authorized = world.entra.requests().await?.into_iter().skip(before);
    let authorized = authorized
        .filter(|request| request.kind == behalf_tests::entra::RequestKind::Authorize)
        .count();
    ensure!(
        authorized == 0,
        "Entra was asked {authorized} times before the approval"
    );
    let callback = world
        .layout
        .public_url(Server::Quickstart)
        .join("callback?code=made-up&state=made-up")?;
    let answer = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()?
        .get(callback)
        .send()
        .await?;
    ensure!(
        answer.status().is_client_error(),
        "a callback without a flow answered {}",
        answer.status()
    );
    let made_up = "http://127.0.0.1:33419/callback?code=made-up&state=made-up".parse()?;
    let redeemed = pending.finish(&made_up).await;
    ensure!(
        matches!(redeemed, Err(ClientError::Authorization { .. })),
        "a made-up code was redeemed"
    );
    Ok(())
}

async fn a_denied_consent_reaches_the_client_as_access_denied(world: &World) -> TestResult {
    let pending = PendingSignIn::begin(&world.layout.mcp_url(Server::Article)).await?;
    let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).consent(Answer::Deny);
    let back = Browser::new()?.sign_in(&visit).await?;
    ensure!(
        back.error.as_deref() == Some("access_denied"),
        "the client got {:?}",
        back.error
    );
    ensure!(
        back.issuer.is_some() && back.state.is_some(),
        "the error came without iss or state"
    );
    Ok(())
}

async fn the_reserved_argument_is_in_no_tool_schema(world: &World) -> TestResult {
    for server in Server::ALL {
        let connection = world.connect(server, &ANA, Era::Modern).await?;
        for tool in connection.tools().await? {
            let text = serde_json::to_string(&tool)?;
            ensure!(
                !text.to_lowercase().contains("bearertoken"),
                "{} shows the reserved argument",
                tool.name
            );
        }
        connection.close().await;
    }
    Ok(())
}

async fn a_refreshed_session_goes_on_working(world: &World) -> TestResult {
    let signed_in = world.sign_in(Server::Quickstart, &BEN).await?;
    signed_in.manager().lock().await.refresh_token().await?;
    let connection = signed_in.connect(Era::Modern).await?;
    let (tool, arguments) = ("list_pipeline_runs", json!({"project": "payments"}));
    let result = connection.call(tool, arguments).await?;
    ensure!(
        result.is_error != Some(true),
        "refused after the refresh: {}",
        demo::text(&result)
    );
    connection.close().await;
    Ok(())
}

async fn the_transcript_of_the_demo_agrees_with_the_record_of_azure_devops(world: &World) -> TestResult {
    world.azure_devops.clear_record().await?;
    let transcript = demo::play(&world.layout, |_| {}).await?;
    let record = world.azure_devops.record().await?;
    for person in [ANA, BEN, CAROL] {
        let told = transcript
            .sign_ins
            .iter()
            .filter(|entry| entry.object_id == person.object_id);
        let runs: usize = told
            .flat_map(|entry| &entry.calls)
            .filter(|call| call.tool == "trigger_pipeline_run" && call.outcome == demo::Outcome::Done)
            .count();
        let seen = record
            .iter()
            .filter(|call| call.object_id.as_deref() == Some(person.object_id))
            .filter(|call| call.method == "POST" && call.status == Some(200))
            .count();
        ensure!(
            runs == seen,
            "{}: the transcript tells of {runs} runs, Azure DevOps saw {seen}",
            person.user_name
        );
        let asked = record
            .iter()
            .any(|call| call.object_id.as_deref() == Some(person.object_id));
        ensure!(
            asked,
            "{} is in the transcript, but Azure DevOps never saw that user",
            person.user_name
        );
    }
    let refused = |name: &str| {
        let mut calls = transcript
            .sign_ins
            .iter()
            .filter(|entry| entry.user == name)
            .flat_map(|entry| &entry.calls);
        calls.any(|call| call.outcome == demo::Outcome::Refused)
    };
    ensure!(
        refused(CAROL.user_name) && !refused(ANA.user_name),
        "the transcript tells the wrong refusals"
    );
    Ok(())
}
