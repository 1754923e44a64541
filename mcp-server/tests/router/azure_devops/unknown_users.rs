//! Tests users that the organization does not know, and its sign-in page.

use behalf_contract::{ExchangePlace, Injection};
use behalf_simulators::entra::MintRequest;
use behalf_simulators::people::{ANA, AZURE_DEVOPS_APPLICATION_ID, FOREIGN_TENANT_ID};
use serde_json::json;

use crate::support::World;
use crate::user::User;

#[tokio::test]
async fn asks_a_user_who_never_opened_azure_devops_to_open_it() {
    let user = User::sign_in("ana").await;
    user.world.azure().forget_user(ANA.object_id).await.unwrap();
    let text = user.list().await.tool_error();
    assert!(text.contains("https://dev.azure.com/contoso"), "{text}");
}

#[tokio::test]
async fn names_the_tenant_of_the_organization_to_a_user_of_another() {
    let user = User::sign_in("ana").await;
    let authority = user
        .world
        .config(ExchangePlace::Server, Injection::Header)
        .entra
        .unwrap()
        .authority;
    let foreign = MintRequest::for_user("ana")
        .resource(AZURE_DEVOPS_APPLICATION_ID)
        .claim("tid", FOREIGN_TENANT_ID)
        .claim(
            "iss",
            format!(
                "{}/{FOREIGN_TENANT_ID}/v2.0",
                authority.as_str().trim_end_matches('/')
            ),
        );
    let token = user.world.entra().mint(&foreign).await.unwrap();
    let text = user
        .pod
        .call(&token, "list_pipeline_runs", json!({}))
        .await
        .tool_error();
    assert!(text.contains("is not known in the tenant"), "{text}");
    assert!(text.contains(behalf_simulators::people::TENANT_ID), "{text}");
}

#[tokio::test]
async fn the_sign_in_page_is_suppressed_only_on_request() {
    let world = World::start().await;
    let token = world.azure_token("ana").await;
    for suppress in [false, true] {
        let pod = world.pod_suppressing(suppress);
        pod.call(&token, "list_pipeline_runs", json!({}))
            .await
            .structured();
        let record = world.azure().record().await.unwrap();
        assert_eq!(record.last().unwrap().suppresses_redirect, suppress);
        // 401 in place of the page means the same.
        pod.call(&world.user_token("ana").await, "list_pipeline_runs", json!({}))
            .await
            .reauthenticate();
    }
}
