//! Tests the scopes and resources of requests.

use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};

use crate::stage::{Stage, azure_devops_scope, changed, claims};

#[tokio::test]
async fn one_request_has_one_resource() {
    let stage = Stage::new().await;
    let login = stage.tokens("ana", &[]).await;
    let both = format!("{} {CLIENT_ID}/.default", azure_devops_scope());
    let form = changed(stage.obo(&login.string("access_token")), &[("scope", &both)]);
    stage.post(&form).await.refused(400, "invalid_scope", 700_022);
    let mixed = format!("{AZURE_DEVOPS_APPLICATION_ID}/.default {AZURE_DEVOPS_APPLICATION_ID}/vso.build");
    let form = changed(stage.obo(&login.string("access_token")), &[("scope", &mixed)]);
    stage.post(&form).await.refused(400, "invalid_scope", 70_011);
}

#[tokio::test]
async fn granular_scopes_are_what_the_token_says() {
    let stage = Stage::new().await;
    let login = stage.tokens("ana", &[]).await;
    let scope = format!("{AZURE_DEVOPS_APPLICATION_ID}/vso.build");
    let form = changed(stage.obo(&login.string("access_token")), &[("scope", &scope)]);
    let answer = stage.post(&form).await;
    assert_eq!(
        claims(&answer.granted().string("access_token"))["scp"],
        "vso.build"
    );
    assert_eq!(answer.string("scope"), scope);
}

#[tokio::test]
async fn an_application_names_itself_by_its_guid() {
    let stage = Stage::new().await;
    let scope = format!("openid api://{CLIENT_ID}/access_as_user");
    let failed = stage.login("ana", &[("scope", &scope)]).await.unwrap();
    assert!(failed.error_description.unwrap().starts_with("AADSTS90009: "));
    let token = stage.tokens("ana", &[]).await.string("refresh_token");
    let form = changed(stage.refresh(&token), &[("scope", &scope)]);
    stage.post(&form).await.refused(400, "invalid_request", 90_009);
    let by_guid = changed(
        stage.refresh(&token),
        &[("scope", &format!("{CLIENT_ID}/access_as_user"))],
    );
    stage.post(&by_guid).await.granted();
}

#[tokio::test]
async fn a_foreign_resource_parameter_is_refused_everywhere() {
    let stage = Stage::new().await;
    let resource = "https://mcp.contoso.example/mcp";
    let failed = stage.login("ana", &[("resource", resource)]).await.unwrap();
    assert_eq!(failed.error.as_deref(), Some("invalid_target"));
    assert!(failed.error_description.unwrap().starts_with("AADSTS9010010: "));
    let login = stage.tokens("ana", &[]).await;
    for form in [
        stage.probe(),
        stage.refresh(&login.string("refresh_token")),
        stage.obo(&login.string("access_token")),
    ] {
        let form = changed(form, &[("resource", resource)]);
        stage.post(&form).await.refused(400, "invalid_target", 9_010_010);
    }
    let own = format!("api://{CLIENT_ID}");
    stage.tokens("ana", &[("resource", &own)]).await;
}

#[tokio::test]
async fn the_probe_needs_default_and_another_resource_than_itself() {
    let stage = Stage::new().await;
    let own = changed(stage.probe(), &[("scope", &format!("{CLIENT_ID}/.default"))]);
    stage.post(&own).await.refused(400, "invalid_grant", 501_051);
    stage
        .control
        .update_application(CLIENT_ID, |one| one.assignment_required = false)
        .await
        .unwrap();
    stage.post(&own).await.granted();
    let named = format!("{AZURE_DEVOPS_APPLICATION_ID}/user_impersonation");
    let form = changed(stage.probe(), &[("scope", &named)]);
    stage.post(&form).await.refused(400, "invalid_scope", 1_002_012);
}

#[tokio::test]
async fn missing_principal_permission_and_unknown_scopes_have_their_codes() {
    let stage = Stage::new().await;
    let unknown = changed(
        stage.probe(),
        &[("scope", "11111111-2222-4333-8444-555555555555/.default")],
    );
    stage
        .post(&unknown)
        .await
        .refused(400, "invalid_resource", 500_011);
    let login = stage.tokens("ana", &[]).await;
    let bare = changed(
        stage.refresh(&login.string("refresh_token")),
        &[("scope", "access_as_user")],
    );
    stage.post(&bare).await.refused(400, "invalid_scope", 650_053);

    stage
        .control
        .update_application(CLIENT_ID, |one| one.azure_devops_permission = false)
        .await
        .unwrap();
    let form = stage.obo(&login.string("access_token"));
    stage.post(&form).await.refused(400, "invalid_resource", 650_057);
    stage.post(&stage.probe()).await.granted();

    let mut directory = stage.control.directory().await.unwrap();
    directory.azure_devops_principal = false;
    stage.control.put_directory(&directory).await.unwrap();
    stage
        .post(&stage.probe())
        .await
        .refused(400, "invalid_resource", 500_011);
}
