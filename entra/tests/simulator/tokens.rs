//! Validation of tokens that the tenant issued.

use behalf_entra::TokenRejection;
use behalf_simulators::entra::MintRequest;
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use serde_json::Value;

use crate::tenant::Tenant;

fn ana() -> MintRequest {
    MintRequest::for_user(ANA.user_name)
}

async fn rejection(wanted: &MintRequest) -> TokenRejection {
    let tenant = Tenant::start().await;
    tenant
        .validator()
        .validate(&tenant.mint(wanted).await)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn takes_a_users_token_for_this_application() {
    let tenant = Tenant::start().await;
    let user = tenant
        .validator()
        .validate(&tenant.mint(&ana()).await)
        .await
        .unwrap();
    assert_eq!(
        (user.tid.as_str(), user.oid.as_str()),
        (tenant.entra.tenant_id(), ANA.object_id)
    );
    assert_eq!(user.azp.as_deref(), Some(CLIENT_ID));
}

#[tokio::test]
async fn follows_a_key_rotation_of_the_tenant() {
    let tenant = Tenant::start().await;
    let validator = tenant.validator();
    let before = tenant.mint(&ana()).await;
    validator.validate(&before).await.unwrap();
    tenant.control.rotate_keys(true).await.unwrap();
    validator.validate(&tenant.mint(&ana()).await).await.unwrap();
    let rejection = validator.validate(&before).await.unwrap_err();
    assert!(matches!(rejection, TokenRejection::UnknownKey), "{rejection:?}");
}

#[tokio::test]
async fn refuses_right_claims_signed_by_another_key() {
    let rejection = rejection(&MintRequest {
        foreign_key: true,
        ..ana()
    })
    .await;
    assert!(matches!(rejection, TokenRejection::Signature), "{rejection:?}");
}

#[tokio::test]
async fn refuses_a_token_for_azure_devops() {
    let rejection = rejection(&ana().resource(AZURE_DEVOPS_APPLICATION_ID)).await;
    assert!(matches!(rejection, TokenRejection::Audience), "{rejection:?}");
}

#[tokio::test]
async fn refuses_an_app_only_token() {
    let rejection = rejection(&MintRequest::app_only()).await;
    assert!(matches!(rejection, TokenRejection::AppOnly), "{rejection:?}");
}

#[tokio::test]
async fn refuses_an_expired_token() {
    let rejection = rejection(&ana().expires_in(-301)).await;
    assert!(matches!(rejection, TokenRejection::Expired), "{rejection:?}");
}

#[tokio::test]
async fn refuses_a_token_without_a_user() {
    let rejection = rejection(&ana().claim("oid", Value::Null)).await;
    assert!(matches!(rejection, TokenRejection::User), "{rejection:?}");
}

#[tokio::test]
async fn names_the_cure_of_version_1() {
    let tenant = Tenant::start().await;
    let old = tenant
        .control
        .update_application(CLIENT_ID, |application| application.access_token_version = 1);
    old.await.unwrap();
    let rejection = tenant
        .validator()
        .validate(&tenant.mint(&ana()).await)
        .await
        .unwrap_err();
    assert!(matches!(rejection, TokenRejection::Version), "{rejection:?}");
    assert!(rejection.to_string().contains("requestedAccessTokenVersion"));
}
