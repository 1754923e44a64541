//! Tests the control port: reset, applications, issuers, the directory file.

use behalf_simulators::control::ControlError;
use behalf_simulators::entra::{Application, Directory, Effect, Fault, IssuerAccess, RequestKind, Settings};
use behalf_simulators::people::CLIENT_ID;
use url::Url;

use crate::stage::Stage;

#[tokio::test]
async fn reset_brings_the_start_back() {
    let stage = Stage::new().await;
    let start = stage.control.directory().await.unwrap();
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    stage
        .control
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    stage.control.delete_user("ben").await.unwrap();
    let outage = Effect::Status {
        status: 503,
        retry_after_seconds: None,
    };
    stage.control.add_fault(&Fault::always([], outage)).await.unwrap();
    let numbers = stage.control.requests().await.unwrap().last().unwrap().number;
    stage.control.reset().await.unwrap();
    assert_eq!(stage.control.directory().await.unwrap(), start);
    assert!(stage.control.requests().await.unwrap().is_empty());
    assert!(stage.control.secrets().await.unwrap().is_empty());
    stage
        .post(&stage.refresh(&token))
        .await
        .refused(400, "invalid_grant", 70_000);
    assert_eq!(
        stage.control.requests_after(numbers).await.unwrap().len(),
        1,
        "numbers go on"
    );
}

#[tokio::test]
async fn mistakes_are_refused_with_words() {
    let stage = Stage::new().await;
    let error = stage.control.application("nobody").await.unwrap_err();
    assert!(matches!(error, ControlError::Refused { ref message, .. } if message.contains("application")));
    assert!(stage.control.revoke("nobody").await.is_err());
    let mut other = stage.control.application(CLIENT_ID).await.unwrap();
    other.federated_credentials = vec![stage.issuer.credential(), stage.issuer.credential()];
    assert!(stage.control.put_application(&other).await.is_err());
}

#[tokio::test]
async fn applications_come_and_go() {
    let stage = Stage::new().await;
    let second = Application::new("be4a1f00-c11e-4000-8000-00000000c001", "Second", "sp-2");
    stage.control.put_application(&second).await.unwrap();
    assert_eq!(
        stage.control.application(&second.client_id).await.unwrap(),
        second
    );
    stage
        .control
        .add_redirect_uri(&second.client_id, "http://localhost:1/cb")
        .await
        .unwrap();
    stage
        .control
        .add_redirect_uri(&second.client_id, "http://localhost:1/cb")
        .await
        .unwrap();
    assert_eq!(
        stage
            .control
            .application(&second.client_id)
            .await
            .unwrap()
            .redirect_uris
            .len(),
        1
    );
    stage.control.delete_application(&second.client_id).await.unwrap();
    assert!(stage.control.application(&second.client_id).await.is_err());
}

#[tokio::test]
async fn an_issuer_can_be_reached_under_another_address() {
    let name = "https://kubernetes.default.svc.cluster.local";
    let stage = Stage::new().await;
    let credential = behalf_simulators::entra::FederatedCredential::new(name, "system:serviceaccount:a:b");
    stage
        .control
        .add_federated_credential(CLIENT_ID, &credential)
        .await
        .unwrap();
    let fixture = behalf_simulators::entra::IssuerFixture::start().await.unwrap();
    let access = IssuerAccess {
        issuer: name.to_owned(),
        base: Some(Url::parse(fixture.issuer()).unwrap()),
        certificate_authority_file: None,
        bearer_token_file: None,
    };
    stage.control.put_issuers(&[access]).await.unwrap();
    // The document at that address names another issuer, so the simulator must refuse it.
    let token = behalf_simulators::entra::ServiceAccountToken::of("system:serviceaccount:a:b").issuer(name);
    let assertion = fixture.mint(&token).unwrap();
    let form = crate::stage::changed(stage.probe(), &[("client_assertion", &assertion)]);
    stage.post(&form).await.refused(400, "invalid_request", 90_061);
    assert_eq!(stage.count(RequestKind::ClientCredentials).await, 1);
}

#[test]
fn a_directory_file_may_name_only_what_differs() {
    let directory: Directory = serde_yaml::from_str("settings: {singleSignOn: true}\n").unwrap();
    assert!(directory.settings.single_sign_on);
    assert_eq!(
        directory.settings.authorization_code_seconds,
        Settings::default().authorization_code_seconds
    );
    assert_eq!(directory.users, Directory::contoso().users);
    assert!(serde_yaml::from_str::<Directory>("setings: {}\n").is_err());
}
