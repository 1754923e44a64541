//! Compares the simulator's refusals with recorded ones of Entra (`entra/tests/recorded/README.md`).

use behalf_simulators::entra::{IssuerFixture, MintRequest, Policy, ServiceAccountToken};
use behalf_simulators::people::{ANA, CLIENT_ID};
use serde_json::Value;

use crate::stage::{Answer, Stage, changed};

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Checks that both have the same members with values of the same kind, the same error and number, and the
/// same lines in the description.
fn alike(answer: &Answer, recorded: &Value) {
    for (name, value) in recorded.as_object().unwrap() {
        let simulated = &answer.body[name];
        assert_eq!(
            std::mem::discriminant(simulated),
            std::mem::discriminant(value),
            "{name} of {}",
            answer.body
        );
    }
    for name in ["error", "error_codes", "suberror"] {
        assert_eq!(answer.body[name], recorded[name], "{name}");
    }
    let known = ["error_uri", "claims"];
    for name in answer.body.as_object().unwrap().keys() {
        let is_known = recorded.get(name).is_some() || known.contains(&name.as_str());
        assert!(is_known, "Entra does not send {name}");
    }
    let shape = |body: &Value| -> Vec<String> {
        let text = body["error_description"].as_str().unwrap();
        let heads = text
            .split("\r\n")
            .map(|line| line.split(": ").next().unwrap().to_owned());
        heads.collect()
    };
    assert_eq!(shape(&answer.body), shape(recorded));
    let timestamp = |body: &Value| body["timestamp"].as_str().unwrap().len();
    assert_eq!(timestamp(&answer.body), timestamp(recorded));
}

async fn probe_with(stage: &Stage, token: &ServiceAccountToken) -> Answer {
    let assertion = stage.issuer.mint(token).unwrap();
    stage
        .post(&changed(stage.probe(), &[("client_assertion", &assertion)]))
        .await
}

#[tokio::test]
async fn refusals_of_the_application_look_like_entras() {
    let stage = Stage::new().await;
    let right = ServiceAccountToken::of(IssuerFixture::SUBJECT);
    let issuer = right.clone().issuer(&format!("{}/", stage.issuer.issuer()));
    let record = recorded(include_str!(
        "../../../../entra/tests/recorded/700211-issuer.json"
    ));
    alike(&probe_with(&stage, &issuer).await, &record);
    let record = recorded(include_str!(
        "../../../../entra/tests/recorded/700024-expired-assertion.json"
    ));
    alike(&probe_with(&stage, &right.clone().expired(1)).await, &record);
    let control = &stage.control;
    control.put_federated_credentials(CLIENT_ID, &[]).await.unwrap();
    let record = recorded(include_str!(
        "../../../../entra/tests/recorded/70025-no-credential.json"
    ));
    let answer = probe_with(&stage, &right).await;
    answer.refused(401, "invalid_client", 70_025);
    alike(&answer, &record);
    let public = control.update_application(CLIENT_ID, |application| application.public_client = true);
    public.await.unwrap();
    let record = recorded(include_str!(
        "../../../../entra/tests/recorded/700025-public-client.json"
    ));
    alike(&probe_with(&stage, &right).await, &record);
}

#[tokio::test]
async fn refusals_of_a_user_look_like_entras() {
    let stage = Stage::new().await;
    let token = stage.control.mint(&MintRequest::for_user("ana")).await.unwrap();
    let exchange = async || stage.post(&stage.obo(&token)).await;
    for (policy, text) in [
        (
            Policy::multi_factor(),
            include_str!("../../../../entra/tests/recorded/50076-multi-factor.json"),
        ),
        (
            Policy::blocked(),
            include_str!("../../../../entra/tests/recorded/53003-blocked.json"),
        ),
        (
            Policy::token_protection(),
            include_str!("../../../../entra/tests/recorded/530084-token-protection.json"),
        ),
    ] {
        stage
            .control
            .put_policies(ANA.user_name, &[policy])
            .await
            .unwrap();
        alike(&exchange().await, &recorded(text));
    }
    stage.control.put_policies(ANA.user_name, &[]).await.unwrap();
    stage.control.put_consents(&[]).await.unwrap();
    let record = recorded(include_str!(
        "../../../../entra/tests/recorded/65001-consent.json"
    ));
    alike(&exchange().await, &record);
}
