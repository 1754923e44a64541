//! A user is known from a verified token and from nothing else.

use behalf_simulators::{
    azure_devops::SignInAnswer,
    people::{ANA, AZURE_DEVOPS_APPLICATION_URI, BEN, CLIENT_ID, FOREIGN_TENANT_ID, Person, TENANT_ID},
};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::fixture::{Bench, forged_key, rotated_key, send, tenants_key};

#[tokio::test]
async fn a_good_token_is_answered_and_recorded_with_its_user() {
    let bench = Bench::start().await;
    bench.get(ANA, "/_apis/projects?api-version=7.1").await.ok();
    let call = bench.last_call().await;
    assert_eq!(call.object_id.as_deref(), Some(ANA.object_id));
    assert_eq!((call.refusal, call.status), (None, Some(200)));
    assert_eq!(call.route.as_deref(), Some("/{organization}/_apis/projects"));
}

#[rstest]
#[case::application_itself("aud", json!(CLIENT_ID), "audience")]
#[case::graph("aud", json!("https://graph.microsoft.com"), "audience")]
#[case::other_issuer("iss", json!("https://issuer.attacker.example/v2.0"), "issuer")]
#[case::expired("exp", json!(1_000), "expired")]
#[case::not_yet_valid("nbf", json!(9_999_999_999_i64), "notYetValid")]
#[case::without_scope("scp", Value::Null, "appOnly")]
#[case::other_scope("scp", json!("vso.build access_as_user"), "appOnly")]
#[case::app_only("idtyp", json!("app"), "appOnly")]
#[case::of_a_login("sim_grant", json!("authorizationCode"), "grant")]
#[case::of_a_refresh("sim_grant", json!("refreshToken"), "grant")]
#[case::of_no_grant("sim_grant", Value::Null, "grant")]
#[case::without_user("oid", Value::Null, "malformed")]
#[case::without_end("exp", Value::Null, "malformed")]
#[case::tenant_that_is_not_the_issuers("tid", json!(FOREIGN_TENANT_ID), "issuer")]
#[tokio::test]
async fn refuses_a_token_with_a_wrong_claim(
    #[case] claim: &str,
    #[case] value: Value,
    #[case] refusal: &str,
) {
    let bench = Bench::start().await;
    let mut claims = bench.claims(ANA);
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(claim)),
        value => claims[claim] = value,
    }
    bench.try_token(&tenants_key().sign(&claims)).await.expect(203);
    let call = bench.last_call().await;
    assert_eq!(call.refusal.as_deref(), Some(refusal));
    assert_eq!(call.object_id, None, "an unverified token names no user");
}

#[tokio::test]
async fn refuses_a_token_signed_by_a_key_the_tenant_does_not_publish() {
    let bench = Bench::start().await;
    bench
        .try_token(&forged_key().sign(&bench.claims(ANA)))
        .await
        .expect(203);
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("signature"));
    bench
        .try_token(&rotated_key().sign(&bench.claims(ANA)))
        .await
        .expect(203);
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("signature"));
}

#[tokio::test]
async fn refuses_other_algorithms_and_what_is_no_token() {
    let bench = Bench::start().await;
    let claims = bench.claims(ANA);
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("one".to_owned());
    let key = jsonwebtoken::EncodingKey::from_secret(b"secret");
    let symmetric = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    for (token, refusal) in [
        (symmetric.as_str(), "algorithm"),
        ("abc", "malformed"),
        ("a.b.c", "malformed"),
    ] {
        bench.try_token(token).await.expect(203);
        assert_eq!(bench.last_call().await.refusal.as_deref(), Some(refusal));
    }
    send(bench.request(Method::GET, "/_apis/projects"))
        .await
        .expect(203);
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("missing"));
    send(
        bench
            .request(Method::GET, "/_apis/projects")
            .basic_auth("", Some("pat")),
    )
    .await
    .expect(203);
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("missing"));
}

#[tokio::test]
async fn accepts_the_audience_as_uri_and_the_older_issuer() {
    let bench = Bench::start().await;
    let mut claims = bench.claims(ANA);
    claims["aud"] = json!(AZURE_DEVOPS_APPLICATION_URI);
    bench.try_token(&tenants_key().sign(&claims)).await.ok();
    claims["iss"] = json!(format!("https://sts.windows.net/{TENANT_ID}/"));
    bench.try_token(&tenants_key().sign(&claims)).await.ok();
}

#[tokio::test]
async fn a_token_ends_when_its_time_is_over() {
    let bench = Bench::start().await;
    let token = bench.token(ANA);
    bench.pass(3_999);
    bench.try_token(&token).await.ok();
    bench.pass(1);
    bench.try_token(&token).await.expect(203);
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("expired"));
}

#[tokio::test]
async fn sees_a_key_rotation_at_the_first_token() {
    let bench = Bench::start().await;
    bench.warm_up().await;
    bench.publish_rotated_key();
    bench
        .try_token(&rotated_key().sign(&bench.claims(ANA)))
        .await
        .ok();
    bench.try_token(&bench.token(ANA)).await.expect(203);
}

#[tokio::test]
async fn says_that_it_cannot_judge_when_the_keys_are_out_of_reach() {
    let bench = Bench::start_with(|mut options| {
        options.issuer.authority.set_port(Some(9)).unwrap();
        options
    })
    .await;
    bench.try_token(&bench.token(ANA)).await.expect(503);
    assert_eq!(
        bench.last_call().await.refusal.as_deref(),
        Some("keysUnreachable")
    );
}

#[tokio::test]
async fn a_refused_get_or_post_is_203_with_the_sign_in_page() {
    let bench = Bench::start().await;
    for method in [Method::GET, Method::POST] {
        let path = "/shop/_apis/pipelines/178/runs?api-version=7.1";
        let answer = send(bench.request(method, path).bearer_auth("bad").body("{}"))
            .await
            .expect(203);
        assert!(answer.header("content-type").starts_with("text/html"));
        assert!(answer.text().contains("Sign In"));
        assert!(answer.headers.get("x-vss-userdata").is_none());
    }
    assert_eq!(
        bench
            .build_ids(ANA, "queryOrder=queueTimeDescending&$top=1")
            .await,
        [640],
        "nothing was run"
    );
}

#[tokio::test]
async fn a_refused_patch_or_a_suppressed_redirect_is_401_json_with_a_challenge() {
    let bench = Bench::start().await;
    let patch = bench.request(Method::PATCH, "/shop/_apis/build/builds/639?api-version=7.1");
    let suppressed = bench
        .request(Method::GET, "/_apis/projects")
        .header("X-TFS-FedAuthRedirect", "Suppress");
    for request in [patch, suppressed] {
        let answer = send(request.bearer_auth("bad").body("{}")).await;
        let challenge = answer.header("www-authenticate").to_owned();
        assert!(
            answer
                .error(401, "UnauthorizedRequestException")
                .starts_with("TF400813")
        );
        let authority = bench.authority.as_str().trim_end_matches('/');
        assert_eq!(
            challenge,
            format!("Bearer authorization_uri={authority}/{TENANT_ID}")
        );
    }
    assert!(bench.last_call().await.suppresses_redirect);
}

#[tokio::test]
async fn a_refused_get_is_302_in_redirect_mode() {
    let bench = Bench::start().await;
    bench
        .settings(|settings| settings.sign_in_answer = SignInAnswer::Redirect)
        .await;
    let answer = bench.try_token("bad").await.expect(302);
    assert!(answer.header("location").contains("_signin"));
}

#[tokio::test]
async fn a_token_of_another_tenant_is_vs30063() {
    let bench = Bench::start().await;
    let mut claims = bench.claims(ANA);
    claims["tid"] = json!(FOREIGN_TENANT_ID);
    claims["iss"] = json!(bench.issuer.replace(TENANT_ID, FOREIGN_TENANT_ID));
    let answer = bench.try_token(&tenants_key().sign(&claims)).await;
    assert!(
        answer
            .error(401, "UnauthorizedRequestException")
            .starts_with("VS30063: You are not authorized to access")
    );
    assert_eq!(bench.last_call().await.refusal.as_deref(), Some("foreignTenant"));
}

#[tokio::test]
async fn a_user_who_never_opened_the_organization_is_refused_with_tf401444() {
    let bench = Bench::start().await;
    let stranger = Person {
        object_id: "99999999-dddd-4000-8000-000000000009",
        ..ANA
    };
    let message = bench
        .get(stranger, "/_apis/projects")
        .await
        .error(401, "UnauthorizedRequestException");
    assert!(message.starts_with("TF401444") && message.contains(stranger.object_id));
    bench.control.forget_user(BEN.object_id).await.unwrap();
    bench
        .get(BEN, "/_apis/projects")
        .await
        .error(401, "UnauthorizedRequestException");
}
