//! The requests, to the last parameter.

use behalf_entra::{AuthorizeRequest, CodeGrant, sign_in_scope};

use crate::entra::{ASSERTION, CLIENT, Entra, TENANT, secret, tokens};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Sorted, so that a parameter too many, too few or twice shows.
fn sorted(form: &[(impl AsRef<str>, impl AsRef<str>)]) -> Vec<(String, String)> {
    let mut form: Vec<_> = form
        .iter()
        .map(|(name, value)| (name.as_ref().to_owned(), value.as_ref().to_owned()))
        .collect();
    form.sort();
    form
}

async fn assert_one_form(entra: &Entra, own: &[(&str, &str)]) {
    let mut expected = vec![
        ("client_id", CLIENT),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", ASSERTION),
    ];
    expected.extend(own);
    let forms = entra.forms().await;
    assert_eq!(forms.len(), 1);
    assert_eq!(sorted(&forms[0]), sorted(&expected));

    let requests = entra.server.received_requests().await.unwrap();
    let request = requests.iter().find(|request| request.method == "POST").unwrap();
    assert_eq!(
        request.headers["content-type"],
        "application/x-www-form-urlencoded"
    );
    assert!(!request.headers.contains_key("authorization"));
}

#[tokio::test]
async fn redeems_a_code() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let grant = CodeGrant {
        code: &secret("0.AXo+code/="),
        redirect_uri: "https://mcp.contoso.example/callback",
        code_verifier: &secret("verifier"),
        scope: "openid profile offline_access",
    };
    let tokens = entra.client.redeem_code(grant).await.unwrap();
    assert_eq!(tokens.access_token.expose(), "at");
    assert_eq!(tokens.expires_at, "2026-11-02T10:10:10Z".parse().unwrap());
    assert_one_form(
        &entra,
        &[
            ("grant_type", "authorization_code"),
            ("code", "0.AXo+code/="),
            ("redirect_uri", "https://mcp.contoso.example/callback"),
            ("code_verifier", "verifier"),
            ("scope", "openid profile offline_access"),
        ],
    )
    .await;
}

#[tokio::test]
async fn refreshes() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    entra
        .client
        .refresh(&secret("1.AXo"), "a/.default")
        .await
        .unwrap();
    assert_one_form(
        &entra,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", "1.AXo"),
            ("scope", "a/.default"),
        ],
    )
    .await;
}

#[tokio::test]
async fn exchanges_on_behalf_of_the_user() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    let scope = behalf_entra::AZURE_DEVOPS_SCOPE;
    entra
        .client
        .on_behalf_of(&secret("e30.user.x"), scope, Some("{}"))
        .await
        .unwrap();
    assert_one_form(
        &entra,
        &[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", "e30.user.x"),
            ("requested_token_use", "on_behalf_of"),
            ("scope", "499b84ac-1321-427f-aa17-267ca6975798/.default"),
            ("claims", "{}"),
        ],
    )
    .await;
}

#[tokio::test]
async fn probes_with_client_credentials() {
    let entra = Entra::start().await;
    entra.answer(tokens("at")).await;
    entra.probe().await.unwrap();
    assert_one_form(
        &entra,
        &[
            ("grant_type", "client_credentials"),
            ("scope", "499b84ac-1321-427f-aa17-267ca6975798/.default"),
        ],
    )
    .await;
}

fn request(scope: &str) -> AuthorizeRequest<'_> {
    AuthorizeRequest {
        redirect_uri: "https://mcp.contoso.example/callback",
        scope,
        state: "handle",
        code_challenge: "challenge",
        nonce: "n1",
        consent: false,
        claims: None,
    }
}

#[tokio::test]
async fn sends_the_browser_to_the_authorize_endpoint_of_discovery() {
    let entra = Entra::start().await;
    let scope = sign_in_scope(&format!("{CLIENT}/.default"));
    let url = entra.client.authorize_url(&request(&scope)).await.unwrap();
    assert_eq!(url.path(), format!("/{TENANT}/oauth2/v2.0/authorize"));
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    assert_eq!(
        sorted(&query),
        sorted(&[
            ("client_id", CLIENT),
            ("response_type", "code"),
            ("redirect_uri", "https://mcp.contoso.example/callback"),
            ("response_mode", "query"),
            (
                "scope",
                &format!("openid profile offline_access {CLIENT}/.default")
            ),
            ("state", "handle"),
            ("code_challenge", "challenge"),
            ("code_challenge_method", "S256"),
            ("nonce", "n1"),
        ])
    );
}

#[tokio::test]
async fn relays_a_claims_challenge_to_the_browser() {
    let entra = Entra::start().await;
    let claims = r#"{"access_token":{"polids":{"essential":true,"values":["9ab0"]}}}"#;
    let request = AuthorizeRequest {
        consent: true,
        claims: Some(claims),
        ..request("openid")
    };
    let url = entra.client.authorize_url(&request).await.unwrap();
    let query: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    for (name, value) in [("prompt", "consent"), ("claims", claims)] {
        assert!(
            query.contains(&(name.to_owned(), value.to_owned())),
            "{name} in {query:?}"
        );
    }
}

#[tokio::test]
async fn keeps_a_query_that_discovery_gave_the_endpoint() {
    let entra = Entra::without_discovery().await;
    let mut document = entra.document();
    document["authorization_endpoint"] = "https://login.contoso.example/authorize?slice=1".into();
    entra.publish(&document).await;
    let url = entra.client.authorize_url(&request("openid")).await.unwrap();
    assert!(
        url.as_str()
            .starts_with("https://login.contoso.example/authorize?slice=1&client_id=")
    );
}
