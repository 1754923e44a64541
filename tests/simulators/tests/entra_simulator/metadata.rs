//! Tests the discovery document and the published keys.

use behalf_simulators::entra::MintRequest;
use behalf_simulators::people::{FOREIGN_TENANT_ID, TENANT_ID};

use crate::stage::Stage;

#[tokio::test]
async fn discovery_is_entras_without_registration_and_pkce_methods() {
    let stage = Stage::new().await;
    let document = stage
        .get(stage.address("v2.0/.well-known/openid-configuration"))
        .await;
    let body = &document.granted().body;
    assert_eq!(body["issuer"], stage.simulator.issuer());
    assert!(
        body["issuer"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/{TENANT_ID}/v2.0"))
    );
    assert!(body.get("registration_endpoint").is_none());
    assert!(body.get("code_challenge_methods_supported").is_none());
    assert_eq!(
        body["token_endpoint"],
        stage.address("oauth2/v2.0/token").as_str()
    );
    assert_eq!(
        body["token_endpoint_auth_methods_supported"],
        serde_json::json!(["client_secret_post", "private_key_jwt", "client_secret_basic"])
    );
}

#[tokio::test]
async fn keys_have_no_alg_and_rotate_on_command() {
    let stage = Stage::new().await;
    let keys = async || stage.get(stage.address("discovery/v2.0/keys")).await.body["keys"].clone();
    let before = keys().await;
    assert_eq!(before.as_array().unwrap().len(), 1);
    assert!(before[0].get("alg").is_none());
    stage.control.rotate_keys(false).await.unwrap();
    let both = keys().await;
    assert_eq!(both.as_array().unwrap().len(), 2);
    assert_eq!(both[0], before[0]);
    stage.control.rotate_keys(true).await.unwrap();
    let after = keys().await;
    assert_eq!(after.as_array().unwrap().len(), 1);
    assert_ne!(after[0]["kid"], before[0]["kid"]);
}

#[tokio::test]
async fn a_token_of_a_withdrawn_key_is_no_assertion() {
    let stage = Stage::new().await;
    let token = stage.control.mint(&MintRequest::for_user("ana")).await.unwrap();
    stage.post(&stage.obo(&token)).await.granted();
    stage.control.rotate_keys(true).await.unwrap();
    stage
        .post(&stage.obo(&token))
        .await
        .refused(400, "invalid_grant", 50_013);
}

#[tokio::test]
async fn other_tenants_do_not_exist() {
    let stage = Stage::new().await;
    for (tenant, code) in [(FOREIGN_TENANT_ID, 90_002), ("common", 50_194)] {
        let path = |rest: &str| {
            stage
                .simulator
                .authority()
                .join(&format!("{tenant}/{rest}"))
                .unwrap()
        };
        let document = stage.get(path("v2.0/.well-known/openid-configuration")).await;
        document.refused(400, "invalid_request", code);
        let request = stage.http.post(path("oauth2/v2.0/token")).form(&stage.probe());
        let answer = crate::stage::Answer::of(request.send().await.unwrap()).await;
        answer.refused(400, "invalid_request", code);
    }
}
