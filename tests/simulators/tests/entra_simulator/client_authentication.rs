//! Tests the checks of the client assertion and of the federated credentials.

use behalf_simulators::entra::{
    FederatedCredential, IssuerFixture, MintRequest, RequestKind, ServiceAccountToken,
};
use behalf_simulators::people::CLIENT_ID;

use crate::stage::{Answer, Stage, changed};

fn right() -> ServiceAccountToken {
    ServiceAccountToken::of(IssuerFixture::SUBJECT)
}

async fn probe_with(stage: &Stage, token: &ServiceAccountToken) -> Answer {
    let assertion = stage.issuer.mint(token).unwrap();
    stage
        .post(&changed(stage.probe(), &[("client_assertion", &assertion)]))
        .await
}

#[tokio::test]
async fn a_right_assertion_gets_an_app_only_token() {
    let stage = Stage::new().await;
    let answer = stage.post(&stage.probe()).await;
    answer.granted();
    assert!(answer.body.get("refresh_token").is_none() && answer.body.get("scope").is_none());
    let claims = crate::stage::claims(&answer.string("access_token"));
    assert_eq!(claims["idtyp"], "app");
    assert!(claims.get("scp").is_none());
    let record = stage
        .control
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    let assertion = record[0].assertion.as_ref().unwrap();
    assert_eq!(assertion.subject, IssuerFixture::SUBJECT);
    assert!(record[0].succeeded());
}

#[tokio::test]
async fn shape_comes_first() {
    let stage = Stage::new().await;
    for missing in ["grant_type", "client_id", "scope"] {
        let answer = stage.post(&changed(stage.probe(), &[(missing, "")])).await;
        answer.refused(400, "invalid_request", 900_144);
        assert!(
            answer
                .string("error_description")
                .contains(&format!("'{missing}'"))
        );
    }
    let typeless = changed(stage.probe(), &[("client_assertion_type", "")]);
    stage
        .post(&typeless)
        .await
        .refused(400, "invalid_request", 900_144);
    let unknown = changed(stage.probe(), &[("grant_type", "password")]);
    stage
        .post(&unknown)
        .await
        .refused(400, "unsupported_grant_type", 70_003);
}

#[tokio::test]
async fn only_form_bodies_are_read() {
    let stage = Stage::new().await;
    let body: serde_json::Map<_, _> = stage
        .probe()
        .into_iter()
        .map(|(name, value)| (name, value.into()))
        .collect();
    let request = stage.http.post(stage.address("oauth2/v2.0/token")).json(&body);
    let answer = Answer::of(request.send().await.unwrap()).await;
    answer.refused(400, "invalid_request", 900_144);
    assert!(answer.string("error_description").contains("'grant_type'"));
}

#[tokio::test]
async fn secrets_and_basic_are_refused() {
    let stage = Stage::new().await;
    let with_secret = changed(stage.probe(), &[("client_secret", "hunter2-hunter2")]);
    stage
        .post(&with_secret)
        .await
        .refused(401, "invalid_client", 7_000_215);
    let request = stage
        .http
        .post(stage.address("oauth2/v2.0/token"))
        .basic_auth("a", Some("b"))
        .form(&stage.probe());
    Answer::of(request.send().await.unwrap())
        .await
        .refused(401, "invalid_client", 7_000_215);
    let bare = changed(stage.probe(), &[("client_assertion", "")]);
    stage.post(&bare).await.refused(401, "invalid_client", 7_000_218);
    let record = stage.control.requests().await.unwrap();
    assert!(record[0].has("client_secret"));
    assert_eq!(record[1].authorization_scheme.as_deref(), Some("Basic"));
}

#[tokio::test]
async fn issuer_audience_and_subject_have_their_own_codes() {
    let stage = Stage::new().await;
    let cases = [
        (right().issuer(&format!("{}/", stage.issuer.issuer())), 700_211),
        (right().audience("api://other"), 700_212),
        (
            ServiceAccountToken::of("system:serviceaccount:mcp:other"),
            700_213,
        ),
        (
            ServiceAccountToken::of("system:serviceaccount:MCP:azure-devops"),
            7_002_138,
        ),
    ];
    for (token, code) in cases {
        probe_with(&stage, &token)
            .await
            .refused(401, "invalid_client", code);
    }
}

#[tokio::test]
async fn signature_and_time_are_checked_for_real() {
    let stage = Stage::new().await;
    probe_with(&stage, &right().foreign_key())
        .await
        .refused(401, "invalid_client", 700_027);
    probe_with(&stage, &right().expired(1))
        .await
        .refused(401, "invalid_client", 700_024);
    let early = ServiceAccountToken {
        issued_seconds: 3600,
        expires_seconds: 7200,
        ..right()
    };
    probe_with(&stage, &early)
        .await
        .refused(401, "invalid_client", 700_024);
    let eternal = right().claim("exp", serde_json::Value::Null);
    probe_with(&stage, &eternal)
        .await
        .refused(401, "invalid_client", 700_024);
    let garbage = changed(stage.probe(), &[("client_assertion", "not.a.jwt")]);
    stage.post(&garbage).await.refused(400, "invalid_request", 50_027);
}

#[tokio::test]
async fn a_key_rotated_away_no_longer_signs() {
    let stage = Stage::new().await;
    let old = stage.issuer.token().unwrap();
    stage.issuer.rotate_keys(false).unwrap();
    stage
        .post(&changed(stage.probe(), &[("client_assertion", &old)]))
        .await
        .granted();
    stage.post(&stage.probe()).await.granted();
    stage.issuer.rotate_keys(true).unwrap();
    let outdated = changed(stage.probe(), &[("client_assertion", &old)]);
    stage
        .post(&outdated)
        .await
        .refused(401, "invalid_client", 700_027);
}

#[tokio::test]
async fn an_unreachable_issuer_has_its_own_code() {
    let stage = Stage::new().await;
    stage.issuer.set_available(false);
    stage
        .post(&stage.probe())
        .await
        .refused(400, "invalid_request", 90_061);
    stage.issuer.set_available(true);
    stage.post(&stage.probe()).await.granted();
}

#[tokio::test]
async fn its_own_tokens_are_no_assertions() {
    let stage = Stage::new().await;
    let own = stage.control.mint(&MintRequest::app_only()).await.unwrap();
    let chained = changed(stage.probe(), &[("client_assertion", &own)]);
    stage.post(&chained).await.refused(401, "invalid_client", 700_231);
}

#[tokio::test]
async fn the_application_must_exist_be_enabled_and_confidential() {
    let stage = Stage::new().await;
    let unknown = changed(
        stage.probe(),
        &[("client_id", "00000000-0000-4000-8000-000000000000")],
    );
    stage
        .post(&unknown)
        .await
        .refused(400, "unauthorized_client", 700_016);
    stage
        .control
        .update_application(CLIENT_ID, |one| one.enabled = false)
        .await
        .unwrap();
    stage
        .post(&stage.probe())
        .await
        .refused(400, "unauthorized_client", 7_000_112);
    let public = |one: &mut behalf_simulators::entra::Application| {
        one.enabled = true;
        one.public_client = true;
    };
    stage.control.update_application(CLIENT_ID, public).await.unwrap();
    stage
        .post(&stage.probe())
        .await
        .refused(401, "invalid_client", 700_025);
}

#[tokio::test]
async fn a_new_credential_is_known_to_every_second_request_until_it_has_propagated() {
    let stage = Stage::new().await;
    stage
        .control
        .update_settings(|one| one.federation_propagation_seconds = 600)
        .await
        .unwrap();
    stage.post(&stage.probe()).await.granted();
    let subject = "system:serviceaccount:mcp:later";
    let credential = stage.issuer.credential_for(subject);
    stage
        .control
        .add_federated_credential(CLIENT_ID, &credential)
        .await
        .unwrap();
    let token = ServiceAccountToken::of(subject);
    for _ in 0..2 {
        probe_with(&stage, &token)
            .await
            .refused(401, "invalid_client", 700_213);
        stage.post(&stage.probe()).await.granted();
        probe_with(&stage, &token).await.granted();
    }
    stage.control.set_clock_offset(601).await.unwrap();
    for _ in 0..3 {
        probe_with(&stage, &token).await.granted();
    }
}

#[tokio::test]
async fn the_twenty_first_credential_and_duplicates_are_refused() {
    let stage = Stage::new().await;
    let twenty: Vec<_> = (0..20)
        .map(|n| FederatedCredential::new("https://issuer.example", format!("s{n}")))
        .collect();
    stage
        .control
        .put_federated_credentials(CLIENT_ID, &twenty)
        .await
        .unwrap();
    let one_more = FederatedCredential::new("https://issuer.example", "s20");
    assert!(
        stage
            .control
            .add_federated_credential(CLIENT_ID, &one_more)
            .await
            .is_err()
    );
    let twice = vec![
        one_more.clone(),
        FederatedCredential {
            audience: "other".to_owned(),
            ..one_more
        },
    ];
    assert!(
        stage
            .control
            .put_federated_credentials(CLIENT_ID, &twice)
            .await
            .is_err()
    );
    assert_eq!(
        stage
            .control
            .application(CLIENT_ID)
            .await
            .unwrap()
            .federated_credentials,
        twenty
    );
}

#[tokio::test]
async fn an_application_without_credentials_is_reported_and_a_new_credential_works_at_once() {
    let stage = Stage::new().await;
    stage
        .control
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    stage
        .post(&stage.probe())
        .await
        .refused(401, "invalid_client", 70_025);
    stage
        .control
        .add_federated_credential(CLIENT_ID, &stage.issuer.credential())
        .await
        .unwrap();
    stage.post(&stage.probe()).await.granted();
}

#[tokio::test]
async fn the_error_body_is_entras_to_the_letter() {
    let stage = Stage::new().await;
    let answer = probe_with(&stage, &right().audience("api://other")).await;
    let description = answer.string("error_description");
    let lines: Vec<_> = description.split("\r\n").collect();
    assert!(lines[0].starts_with("AADSTS700212: "));
    assert_eq!(lines[1], format!("Trace ID: {}", answer.string("trace_id")));
    assert_eq!(
        lines[2],
        format!("Correlation ID: {}", answer.string("correlation_id"))
    );
    assert_eq!(lines[3], format!("Timestamp: {}", answer.string("timestamp")));
    assert_eq!(lines.len(), 4);
    let timestamp = answer.string("timestamp");
    assert!(
        timestamp.len() == 20 && timestamp.ends_with('Z') && !timestamp.contains('T'),
        "{timestamp}"
    );
    assert_eq!(
        answer.headers["x-ms-request-id"].to_str().unwrap(),
        answer.string("trace_id")
    );
    assert_eq!(
        answer.string("error_uri"),
        "https://login.microsoftonline.com/error?code=700212"
    );
    assert_eq!(answer.headers["cache-control"], "no-store, no-cache");
    assert_eq!(answer.headers["x-ms-clitelem"], "1,700212,0,,");
}
