//! Discovery: checked, cached, and asked for again.

use behalf_entra::{DiscoveryError, EntraError, FederationReason, NextStep};
use jiff::SignedDuration;
use wiremock::ResponseTemplate;

use crate::entra::{Entra, discovery, refused, tokens};

#[tokio::test]
async fn is_read_once_a_day() {
    let entra = Entra::start().await;
    for _ in 0..3 {
        entra.client.discovery().await.unwrap();
    }
    assert_eq!(entra.count("/openid-configuration").await, 1);
    entra.clock.advance(SignedDuration::from_hours(24));
    entra.client.discovery().await.unwrap();
    assert_eq!(entra.count("/openid-configuration").await, 2);
}

#[tokio::test]
async fn a_foreign_issuer_prevents_every_request() {
    let entra = Entra::without_discovery().await;
    let mut document = entra.document();
    document["issuer"] = "https://login.microsoftonline.com/common/v2.0".into();
    entra.publish(&document).await;
    let error = entra.probe().await.unwrap_err();
    assert!(
        matches!(error, EntraError::Discovery(DiscoveryError::Issuer { .. })),
        "{error:?}"
    );
    assert_eq!(error.next_step(), NextStep::ClientAuthentication);
    assert_eq!(entra.forms().await.len(), 0);
}

#[tokio::test]
async fn a_token_endpoint_without_tls_gets_no_assertion() {
    let entra = Entra::without_discovery().await;
    let mut document = entra.document();
    document["token_endpoint"] = "http://login.contoso.example/token".into();
    entra.publish(&document).await;
    let error = entra.probe().await.unwrap_err();
    assert!(matches!(
        error,
        EntraError::Discovery(DiscoveryError::Endpoint {
            name: "token_endpoint"
        })
    ));
}

#[tokio::test]
async fn an_unknown_tenant_has_its_reason() {
    let entra = Entra::without_discovery().await;
    discovery()
        .respond_with(refused(400, "invalid_tenant", 90_002))
        .mount(&entra.server)
        .await;
    let error = entra.client.discovery().await.unwrap_err();
    assert_eq!(error.reason(), Some(FederationReason::TenantNotFound));
    assert_eq!(error.next_step(), NextStep::ClientAuthentication);
}

#[tokio::test]
async fn an_html_page_is_not_a_discovery_document() {
    let entra = Entra::without_discovery().await;
    let page = ResponseTemplate::new(200).set_body_string("<html>Sign in to the proxy</html>");
    discovery().respond_with(page).mount(&entra.server).await;
    assert!(matches!(
        entra.client.discovery().await,
        Err(EntraError::Malformed { status: 200, .. })
    ));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let entra = Entra::without_discovery().await;
    let elsewhere = format!("{}/elsewhere", entra.server.uri());
    let redirect = ResponseTemplate::new(302).insert_header("location", elsewhere.as_str());
    discovery().respond_with(redirect).mount(&entra.server).await;
    assert!(matches!(
        entra.client.discovery().await,
        Err(EntraError::Malformed { status: 302, .. })
    ));
    assert_eq!(entra.count("/elsewhere").await, 0);
}

#[tokio::test]
async fn an_outage_is_tried_three_times_and_not_remembered() {
    let entra = Entra::without_discovery().await;
    let down = discovery()
        .respond_with(ResponseTemplate::new(503))
        .up_to_n_times(3)
        .with_priority(1);
    down.mount(&entra.server).await;
    entra.publish(&entra.document()).await;
    assert!(matches!(
        entra.client.discovery().await,
        Err(EntraError::Unavailable { status: 503, .. })
    ));
    assert_eq!(entra.count("/openid-configuration").await, 3);
    assert!(entra.client.discovery().await.is_ok());
}

#[tokio::test]
async fn a_malformed_answer_causes_the_document_to_be_read_again() {
    let entra = Entra::start().await;
    entra
        .answer_once(ResponseTemplate::new(404).set_body_string("gone"))
        .await;
    entra.answer(tokens("at")).await;
    entra.client.discovery().await.unwrap();
    entra.clock.advance(SignedDuration::from_mins(6));
    assert!(matches!(
        entra.probe().await,
        Err(EntraError::Malformed { status: 404, .. })
    ));
    entra.probe().await.unwrap();
    assert_eq!(entra.count("/openid-configuration").await, 2);
}
