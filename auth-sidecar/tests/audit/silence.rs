//! No line of the audit log contains a secret, a mail address or an argument.

use behalf_entra::Clock as _;
use behalf_simulators::people::ANA;
use jiff::SignedDuration;
use serde_json::json;

use crate::calls::{call, list, post, server, world};
use crate::lines::{listen, text};

#[tokio::test]
async fn no_line_of_a_whole_login_with_calls_and_refusals_shows_a_secret() {
    listen();
    let server = server().await;
    let world = world(&server).await;
    let (login, tokens) = world.session(ANA).await;
    let page = world.approved(&login.client_id).await;
    post(&world, &tokens.access, &call("run")).await;
    // A client that mixes up its values.
    post(&world, &tokens.access, &call(&tokens.access)).await;
    post(&world, &tokens.access, &call(&login.client_id)).await;
    post(&world, &tokens.access, &list()).await;
    post(&world, &tokens.access, &json!([ANA.user_name])).await;
    post(&world, "made-up", &call("run")).await;
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.redeem(&login, &[]).await;
    let (other, others) = world.session(ANA).await;
    let fields = [("client_id", &*other.client_id), ("token", &others.access)];
    world.post_form("/revoke", &fields, &[]).await;
    let before = world.clock.now() + SignedDuration::from_secs(1);
    world.write_revocations(&json!({"users": [{"id": ANA.object_id, "before": before}]}));

    let log = text();
    for action in [
        "client_registration",
        "consent",
        "login",
        "session_start",
        "tool_call",
        "request_refusal",
        "token_refresh",
        "session_end",
    ] {
        assert!(
            log.contains(&format!(r#""event.action":"{action}""#)),
            "{action} is missing: {log}"
        );
    }
    let entra = world.entra.control().secrets().await.unwrap();
    let own = [
        &tokens.access,
        &tokens.refresh,
        &renewed.access,
        &renewed.refresh,
        &others.access,
        &login.code,
        &other.code,
        &login.client_id,
    ];
    let cookies = page.cookies().into_iter().map(|(_, value)| value);
    let secrets = own.into_iter().cloned().chain(cookies);
    let secrets = secrets.chain(entra.into_iter().map(|secret| secret.value));
    let mut searched = 0;
    for secret in secrets.filter(|secret| !secret.is_empty()) {
        // Only the second half of a token is unique. The beginnings of JWTs are alike.
        let part = secret.get(secret.len() / 2..).unwrap();
        assert!(!log.contains(part), "a secret is in the log: ..{part}");
        searched += 1;
    }
    assert!(searched > 15, "the search looks for something: {searched}");
    for text in [ANA.user_name, ANA.display_name, "planted-argument"] {
        assert!(!log.contains(text), "{text} is in the log");
    }
}
