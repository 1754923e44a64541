//! Login and tools with rmcp's own client, which gets a URL and a person at a browser.

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_demo::mcp_client::{Era, PendingSignIn, REDIRECT_URI};
use behalf_demo::{Call, Outcome};
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::{ANA, BEN, CAROL};
use behalf_simulators::sign_in::{Answer, Browser, SignInError, Visit};
use reqwest::StatusCode;
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
    a_made_up_code_is_not_redeemed,
    a_denied_consent_reaches_the_client_as_access_denied,
    the_reserved_argument_is_in_no_tool_schema,
    a_refreshed_session_goes_on_working,
    the_transcript_of_the_demo_agrees_with_the_records_of_both_simulators,
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
            behalf_demo::text(&result)
        );
        ensure!(!behalf_demo::text(&result).is_empty(), "{tool} answered nothing");
    }
    connection.close().await;

    // Every request carried Ana's token, and each tool made at least one. A sidecar asks for the organization's tenant without a
    // user.
    let mut seen = world.azure_devops.record().await?;
    seen.retain(|call| call.method != "HEAD");
    let foreign: Vec<_> = seen
        .iter()
        .filter(|call| call.object_id.as_deref() != Some(ANA.object_id))
        .collect();
    ensure!(
        foreign.is_empty(),
        "Azure DevOps received calls of another user: {foreign:?}"
    );
    ensure!(
        seen.len() >= calls().len(),
        "Azure DevOps saw {} requests for {} tools",
        seen.len(),
        calls().len()
    );
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
        // The calls alternate, so that a token cached under the wrong key gives one user the other's data.
        for _ in 0..3 {
            let hers = behalf_demo::text(&ana.call("list_pipeline_runs", arguments.clone()).await?);
            let his = behalf_demo::text(&ben.call("list_pipeline_runs", arguments.clone()).await?);
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
            behalf_demo::text(&hers)
        );
        if server == Server::Quickstart {
            let his = ben.call("list_pipeline_runs", hidden).await?;
            ensure!(
                his.is_error != Some(true),
                "Ben was refused his project: {}",
                behalf_demo::text(&his)
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
        let text = behalf_demo::text(&result);
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

    // Without the approval the sidecar sends no browser to Entra, and a callback without its cookie gives no code.
    let authorized = world.entra.requests().await?.into_iter().skip(before);
    let authorized = authorized
        .filter(|request| request.kind == RequestKind::Authorize)
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
        answer.status() == StatusCode::BAD_REQUEST,
        "a callback without a flow answered {}",
        answer.status()
    );
    Ok(())
}

/// The test sends the requests itself: a correct client detects the foreign `state` and sends nothing.
async fn a_made_up_code_is_not_redeemed(world: &World) -> TestResult {
    for server in Server::ALL {
        let client_id = register(world, server, REDIRECT_URI).await?;
        let resource = world.layout.mcp_url(server);
        let form = [
            ("grant_type", "authorization_code"),
            ("code", "made-up"),
            ("redirect_uri", REDIRECT_URI),
            ("client_id", &client_id),
            ("code_verifier", "a-verifier-of-43-characters-or-more-000000000"),
            ("resource", resource.as_str()),
        ];
        let address = world.layout.public_url(server).join("token")?;
        let answer = reqwest::Client::builder()
            .build()?
            .post(address)
            .form(&form)
            .send()
            .await?;
        let (status, answer) = (answer.status(), answer.json::<Value>().await?);
        ensure!(
            status == StatusCode::BAD_REQUEST && answer["error"] == "invalid_grant",
            "{}: a made-up code was answered with {status}: {answer}",
            server.name()
        );
    }
    Ok(())
}

/// Registers a client with this redirect URI and returns its id.
pub(crate) async fn register(world: &World, server: Server, redirect_uri: &str) -> TestResult<String> {
    let metadata = json!({
        "client_name": "Registered by hand", "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"], "token_endpoint_auth_method": "none",
    });
    let address = world.layout.public_url(server).join("register")?;
    let answer = reqwest::Client::builder()
        .build()?
        .post(address)
        .json(&metadata)
        .send()
        .await?;
    let (status, answer) = (answer.status(), answer.json::<Value>().await?);
    let id = answer["client_id"].as_str().map(str::to_owned);
    id.ok_or_else(|| format!("the registration answered {status}: {answer}").into())
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
        behalf_demo::text(&result)
    );
    connection.close().await;
    Ok(())
}

/// The request that begins a tool's work, as Azure DevOps must have recorded it: method, path and status.
/// None if the server itself refuses, because the object names the allowed projects.
fn first_request(server: &str, call: &Call) -> Option<(String, String, u16)> {
    let argument = |name: &str| match &call.arguments[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let project = format!("/contoso/{}/_apis", argument("project"));
    let (method, path) = match call.tool.as_str() {
        "list_pipeline_runs" => ("GET", format!("{project}/build/builds")),
        "get_run_failure_logs" => ("GET", format!("{project}/build/builds/{}", argument("run_id"))),
        "list_deployments" => ("GET", format!("{project}/release/deployments")),
        _ => (
            "POST",
            format!("{project}/pipelines/{}/runs", argument("pipeline_id")),
        ),
    };
    let status = match (&call.outcome, method) {
        (Outcome::Done, _) => 200,
        (Outcome::Refused, "POST") => 403,
        (Outcome::Refused, _) if server == Server::Quickstart.name() => 400,
        (Outcome::Refused, _) => return None,
    };
    Some((method.to_owned(), path, status))
}

async fn the_transcript_of_the_demo_agrees_with_the_records_of_both_simulators(world: &World) -> TestResult {
    world.azure_devops.clear_record().await?;
    let seen_before = world
        .entra
        .requests()
        .await?
        .last()
        .map_or(0, |request| request.number);
    let transcript = behalf_demo::play(&world.running, &world.layout, |_| {}).await?;

    // Azure DevOps: the same calls by the same users in the same order, and nothing else.
    let entries = || {
        let failover = transcript.failover.iter().map(|failover| &failover.sign_in);
        let administration = transcript.administration.iter();
        let administration = administration.map(|administration| &administration.sign_in);
        transcript.sign_ins.iter().chain(failover).chain(administration)
    };
    let told: Vec<_> = entries()
        .flat_map(|entry| entry.calls.iter().map(move |call| (entry, call)))
        .filter_map(|(entry, call)| Some((entry.object_id.clone(), first_request(&entry.server, call)?)))
        .collect();
    // Requests that follow a tool's first one: the timeline and the logs of a run.
    let follows = |path: &str| {
        ["/timeline", "/logs", "/build/definitions/"]
            .iter()
            .any(|part| path.contains(part))
    };
    let seen: Vec<_> = world
        .azure_devops
        .record()
        .await?
        .into_iter()
        // A sidecar asks for the organization's tenant without a user.
        .filter(|call| call.method != "HEAD" && !follows(&call.path))
        .map(|call| {
            let request = (call.method, call.path, call.status.unwrap_or_default());
            (call.object_id.unwrap_or_default(), request)
        })
        .collect();
    ensure!(
        told == seen,
        "the transcript contains {told:#?}, Azure DevOps saw {seen:#?}"
    );
    let refusals = transcript.sign_ins.iter().flat_map(|entry| &entry.calls);
    let refusals = refusals.filter(|call| call.outcome == Outcome::Refused).count();
    ensure!(
        refusals == 5,
        "the transcript contains {refusals} refusals: Carol's runs and Ana's hidden project at both servers, and the \
         project that the article's object does not name to Ben"
    );

    // Entra: one redeemed code for each sign-in, by the application of that server, and exchanges only for these users.
    let requests = world.entra.requests_after(seen_before).await?;
    let of = |kind: RequestKind| -> Vec<(String, String)> {
        let requests = requests.iter().filter(|request| request.kind == kind);
        let who = requests.map(|request| {
            let names = request.assertion.as_ref();
            let subject = names.map(|names| names.subject.clone());
            (
                request.user.clone().unwrap_or_default(),
                subject.unwrap_or_default(),
            )
        });
        who.collect()
    };
    let told: Vec<_> = entries()
        .map(|entry| {
            let subject = format!("system:serviceaccount:{NAMESPACE_SERVERS}:{}", entry.server);
            (entry.user.clone(), subject)
        })
        .collect();
    let redeemed = of(RequestKind::AuthorizationCode);
    ensure!(
        told == redeemed,
        "the transcript contains the sign-ins {told:#?}, Entra saw {redeemed:#?}"
    );
    let exchanged = of(RequestKind::OnBehalfOf);
    ensure!(
        told.iter().all(|who| exchanged.contains(who)) && exchanged.iter().all(|who| told.contains(who)),
        "the transcript contains {told:#?}, Entra exchanged for {exchanged:#?}"
    );
    Ok(())
}
