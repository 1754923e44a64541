//! Tests codes, and the claims and lifetimes of the tokens of a login.

use behalf_simulators::entra::{MintRequest, RequestKind, SecretKind};
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, BEN, CLIENT_ID, TENANT_ID};

use crate::stage::{Stage, changed, claims, own_scope};

#[tokio::test]
async fn login_refresh_and_exchange_work_end_to_end() {
    let stage = Stage::new().await;
    let login = stage.tokens("ana", &[]).await;
    assert!((3600..=5400).contains(&login.body["expires_in"].as_u64().unwrap()));
    let own = claims(&login.string("access_token"));
    assert_eq!(own["aud"], CLIENT_ID);
    assert_eq!(own["iss"], stage.simulator.issuer());
    assert_eq!(own["tid"], TENANT_ID);
    assert_eq!(own["oid"], ANA.object_id);
    assert_eq!(own["scp"], "access_as_user");
    assert_eq!(own["ver"], "2.0");
    assert_eq!((&own["azp"], &own["azpacr"]), (&CLIENT_ID.into(), &"2".into()));
    let id = claims(&login.string("id_token"));
    assert_eq!((&id["nonce"], &id["oid"]), (&"n-1".into(), &ANA.object_id.into()));

    let refreshed = stage.post(&stage.refresh(&login.string("refresh_token"))).await;
    refreshed.granted();
    assert_ne!(refreshed.string("refresh_token"), login.string("refresh_token"));

    let exchanged = stage.post(&stage.obo(&refreshed.string("access_token"))).await;
    exchanged.granted();
    assert!(exchanged.body.get("refresh_token").is_none());
    let downstream = claims(&exchanged.string("access_token"));
    assert_eq!(downstream["aud"], AZURE_DEVOPS_APPLICATION_ID);
    assert_eq!(downstream["oid"], ANA.object_id);
    assert_eq!(downstream["scp"], "user_impersonation");
    assert_eq!(downstream["sim_grant"], "onBehalfOf");
    assert_ne!(downstream["sub"], own["sub"], "sub is pairwise");

    let secrets = stage.control.secrets().await.unwrap();
    for kind in SecretKind::EXPECTED {
        assert!(
            secrets.iter().any(|secret| secret.kind == kind),
            "{kind:?} is missing"
        );
    }
    let record = serde_json::to_string(&stage.control.requests().await.unwrap()).unwrap();
    for secret in &secrets {
        assert!(
            !record.contains(&secret.value),
            "the record holds a {:?}",
            secret.kind
        );
        assert!(!format!("{secret:?}").contains(&secret.value));
    }
}

#[tokio::test]
async fn users_keep_their_object_id_and_differ() {
    let stage = Stage::new().await;
    let first = claims(&stage.tokens("ana", &[]).await.string("access_token"));
    let again = claims(
        &stage
            .tokens("ana@contoso.example", &[])
            .await
            .string("access_token"),
    );
    let ben = claims(&stage.tokens("Ben", &[]).await.string("access_token"));
    assert_eq!((&first["oid"], &first["sub"]), (&again["oid"], &again["sub"]));
    assert_eq!(ben["oid"], BEN.object_id);
    assert_ne!(ben["sub"], first["sub"]);
}

#[tokio::test]
async fn a_code_works_once() {
    let stage = Stage::new().await;
    let code = stage.login("ana", &[]).await.unwrap().code.unwrap();
    stage.post(&stage.code(&code)).await.granted();
    stage
        .post(&stage.code(&code))
        .await
        .refused(400, "invalid_grant", 54_005);
}

#[tokio::test]
async fn a_code_dies_after_ten_minutes() {
    let stage = Stage::new().await;
    let code = stage.login("ana", &[]).await.unwrap().code.unwrap();
    stage.control.set_clock_offset(600).await.unwrap();
    stage
        .post(&stage.code(&code))
        .await
        .refused(400, "invalid_grant", 70_008);
}

#[tokio::test]
async fn a_code_is_bound_to_verifier_redirect_and_client() {
    let stage = Stage::with(|directory| {
        let mut other = directory.applications[0].clone();
        other.client_id = "be4a1f00-c11e-4000-8000-00000000b001".to_owned();
        directory.applications.push(other);
    })
    .await;
    let code = stage.login("ana", &[]).await.unwrap().code.unwrap();
    let form = stage.code(&code);
    for verifier in ["wrong-verifier", ""] {
        let wrong = changed(form.clone(), &[("code_verifier", verifier)]);
        stage.post(&wrong).await.refused(400, "invalid_grant", 501_481);
    }
    let elsewhere = changed(form.clone(), &[("redirect_uri", "http://localhost:18080/other")]);
    stage.post(&elsewhere).await.refused(400, "invalid_grant", 70_000);
    let other = changed(
        form.clone(),
        &[("client_id", "be4a1f00-c11e-4000-8000-00000000b001")],
    );
    stage.post(&other).await.refused(400, "invalid_grant", 70_000);
    stage
        .post(&changed(form.clone(), &[("code", "nonsense")]))
        .await
        .refused(400, "invalid_grant", 70_000);
    for missing in ["code", "redirect_uri"] {
        stage
            .post(&changed(form.clone(), &[(missing, "")]))
            .await
            .refused(400, "invalid_request", 900_144);
    }
    stage.post(&form).await.granted();
}

#[tokio::test]
async fn tokens_that_were_not_requested_are_not_issued() {
    let stage = Stage::new().await;
    let scope = format!("{CLIENT_ID}/.default");
    let code = stage
        .login("ana", &[("scope", &scope)])
        .await
        .unwrap()
        .code
        .unwrap();
    let answer = stage
        .post(&changed(stage.code(&code), &[("scope", &scope)]))
        .await;
    answer.granted();
    assert!(
        answer.body.get("refresh_token").is_none(),
        "offline_access was not asked for"
    );
    assert!(answer.body.get("id_token").is_none(), "openid was not asked for");
    let claims = claims(&answer.string("access_token"));
    assert!(claims.get("oid").is_none(), "oid needs profile");
}

#[tokio::test]
async fn version_one_is_a_switch() {
    let stage = Stage::new().await;
    stage
        .control
        .update_application(CLIENT_ID, |one| one.access_token_version = 1)
        .await
        .unwrap();
    let login = stage.tokens("ana", &[]).await;
    let own = claims(&login.string("access_token"));
    assert_eq!(own["iss"], format!("https://sts.windows.net/{TENANT_ID}/"));
    assert_eq!(own["aud"], format!("api://{CLIENT_ID}"));
    assert_eq!((&own["ver"], &own["appid"]), (&"1.0".into(), &CLIENT_ID.into()));
    stage
        .post(&stage.obo(&login.string("access_token")))
        .await
        .granted();
}

#[tokio::test]
async fn lifetimes_follow_commands_and_cp1() {
    let stage = Stage::new().await;
    let claims_request = r#"{"access_token":{"xms_cc":{"values":["cp1"]}}}"#;
    let long = stage.tokens("ana", &[("claims", claims_request)]).await;
    assert_eq!(long.body["expires_in"], 86_400);
    assert_eq!(claims(&long.string("access_token"))["xms_cc"][0], "cp1");
    let change = |one: &mut behalf_simulators::entra::Settings| {
        one.application_token_seconds = Some(30);
        one.azure_devops_token_seconds = Some(20);
    };
    stage.control.update_settings(change).await.unwrap();
    let short = stage.tokens("ana", &[]).await;
    assert_eq!(short.body["expires_in"], 30);
    let exchanged = stage.post(&stage.obo(&short.string("access_token"))).await;
    assert_eq!(exchanged.body["expires_in"], 20);
}

#[tokio::test]
async fn roles_reach_the_token() {
    let stage = Stage::new().await;
    let role = |user: &mut behalf_simulators::entra::User| {
        user.roles
            .insert(CLIENT_ID.to_owned(), vec!["Operator".to_owned()]);
    };
    stage
        .control
        .update_user("ana@contoso.example", role)
        .await
        .unwrap();
    let own = claims(&stage.tokens("ana", &[]).await.string("access_token"));
    assert_eq!(own["roles"], serde_json::json!(["Operator"]));
}

#[tokio::test]
async fn minted_tokens_can_be_wrong_in_one_thing() {
    let stage = Stage::new().await;
    let wanted = MintRequest::for_user("ana")
        .claim("aud", "someone-else")
        .expires_in(-5);
    let minted = claims(&stage.control.mint(&wanted).await.unwrap());
    assert_eq!(minted["aud"], "someone-else");
    assert!(minted["exp"].as_i64() > minted["iat"].as_i64());
    assert!(
        stage
            .control
            .mint(&MintRequest::for_user("nobody"))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn the_record_contains_user_client_and_scope() {
    let stage = Stage::new().await;
    stage.tokens("ana", &[]).await;
    let [request] = stage
        .control
        .requests_of(RequestKind::AuthorizationCode)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    assert_eq!(request.user.as_deref(), Some(ANA.user_name));
    assert_eq!(request.client_id.as_deref(), Some(CLIENT_ID));
    assert_eq!(request.scope, Some(own_scope()));
    assert!(request.has("code_verifier") && !request.has("client_secret") && !request.has("resource"));
    assert!(request.succeeded());
}
