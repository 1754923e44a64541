//! The known MCP clients, each with its own registration, redirect URI and parameters: a whole login and a refresh through
//! a gateway with TLS and HTTP/2.

use behalf_contract::StaticClient;
use behalf_simulators::people::ANA;
use behalf_simulators::sign_in::{Browser, Visit};
use reqwest::{RequestBuilder, Version};
use rstest::rstest;
use serde_json::{Value, json};
use url::Url;

use crate::answer::Answer;
use crate::client_examples;
use crate::document_host::DocumentHost;
use crate::fixture::{VERIFIER, World, challenge, encode};

/// The client as it appears at `/register`, in its document or in the configuration of the server, and what it sends later.
struct KnownClient {
    /// The body of its registration; or its metadata document, whose `client_id` is an address; or, with another `client_id`, its
    /// entry in `spec.clients.static`.
    metadata: Value,

    /// The redirect URI of its login.
    redirect_uri: &'static str,

    /// The scopes that it requests; none if it leaves them out.
    scope: Option<&'static str>,

    /// False for clients that send no `resource` (RFC 8707).
    sends_resource: bool,
}

fn client(metadata: Value, redirect_uri: &'static str) -> KnownClient {
    KnownClient {
        metadata,
        redirect_uri,
        scope: Some("mcp:read mcp:run"),
        sends_resource: true,
    }
}

fn document(client_id: &str, name: &str, redirect_uris: &[&str]) -> Value {
    json!({
        "client_id": client_id, "client_name": name, "redirect_uris": redirect_uris,
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    })
}

fn registration(name: &str, redirect_uris: &[&str]) -> Value {
    json!({
        "client_name": name, "redirect_uris": redirect_uris, "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
    })
}

/// A client that the administrator lists, with an id that the user writes into its configuration.
fn listed(client_id: &str, name: &str, redirect_uris: &[&str]) -> Value {
    json!({"client_id": client_id, "client_name": name, "redirect_uris": redirect_uris})
}

fn vs_code_document() -> KnownClient {
    let id = "https://vscode.dev/oauth/client-metadata.json";
    let mut document = document(
        id,
        "Visual Studio Code",
        &["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
    );
    document["application_type"] = json!("native");
    document["grant_types"] = json!([
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code"
    ]);
    client(document, "http://127.0.0.1:51002/")
}

fn vs_code_registration() -> KnownClient {
    let mut body = registration(
        "Visual Studio Code",
        &[
            "https://insiders.vscode.dev/redirect",
            "https://vscode.dev/redirect",
            "http://127.0.0.1/",
            "http://127.0.0.1:33418/",
        ],
    );
    body["application_type"] = json!("native");
    client(body, "https://vscode.dev/redirect")
}

/// VS Code asks for a client id if it can get none, and reads `oauth.clientId`.
fn vs_code_listed() -> KnownClient {
    let uris = ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"];
    client(listed("vs-code", "Visual Studio Code", &uris), uris[0])
}

fn claude_code_document() -> KnownClient {
    let id = "https://claude.ai/oauth/claude-code-client-metadata";
    let uris = ["http://localhost/callback", "http://127.0.0.1/callback"];
    client(
        document(id, "Claude Code", &uris),
        "http://localhost:3118/callback",
    )
}

fn claude_code_registration() -> KnownClient {
    let uris = ["http://localhost:54545/callback"];
    client(
        registration("Claude Code", &uris),
        "http://localhost:54545/callback",
    )
}

/// `claude mcp add --client-id … --callback-port 8123`
fn claude_code_listed() -> KnownClient {
    let uri = "http://localhost:8123/callback";
    client(listed("claude-code", "Claude Code", &[uri]), uri)
}

fn claude_document() -> KnownClient {
    let id = "https://claude.ai/oauth/mcp-oauth-client-metadata";
    let uris = [
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
    ];
    let claude = client(
        document(id, "Claude", &uris),
        "https://claude.com/api/mcp/auth_callback",
    );
    KnownClient {
        scope: Some("mcp:read mcp:run offline_access"),
        ..claude
    }
}

fn claude_registration() -> KnownClient {
    let uri = "https://claude.ai/api/mcp/auth_callback";
    client(registration("Claude", &[uri]), uri)
}

/// The client id in the advanced settings of a connector.
fn claude_listed() -> KnownClient {
    let uris = [
        "https://claude.ai/api/mcp/auth_callback",
        "https://claude.com/api/mcp/auth_callback",
    ];
    client(listed("claude-connector", "Claude", &uris), uris[0])
}

fn chatgpt_document() -> KnownClient {
    let uri = "https://chatgpt.com/connector_platform_oauth_redirect";
    let mut document = document("https://chatgpt.com/oauth/client.json", "ChatGPT", &[uri]);
    document["token_endpoint_auth_method"] = json!("private_key_jwt");
    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt", "none"]);
    document["jwks_uri"] = json!("https://chatgpt.com/oauth/jwks.json");
    client(document, uri)
}

fn chatgpt_registration() -> KnownClient {
    let uri = "https://chatgpt.com/connector/oauth/AbC-123_x";
    client(registration("ChatGPT", &[uri]), uri)
}

/// The document for servers that send `iss` (RFC 9207), which all share.
fn codex_document() -> KnownClient {
    let uris = ["http://127.0.0.1/callback", "http://localhost/callback"];
    let document = document("https://chatgpt.com/oauth/codex/client.json", "Codex", &uris);
    client(document, "http://127.0.0.1:1455/callback")
}

/// The document with the id that Codex derives from the address of the server (openai/codex#30460).
fn codex_document_of_one_server() -> KnownClient {
    let id = "https://chatgpt.com/oauth/codex/0f3a9c/client.json";
    let uris = [
        "http://127.0.0.1/callback/0f3a9c",
        "http://localhost/callback/0f3a9c",
    ];
    client(
        document(id, "Codex", &uris),
        "http://127.0.0.1:1455/callback/0f3a9c",
    )
}

fn codex_registration() -> KnownClient {
    let uri = "http://127.0.0.1:51763/callback/0f3a9c";
    client(registration("Codex", &[uri]), uri)
}

const CURSOR: [&str; 3] = [
    "cursor://anysphere.cursor-mcp/oauth/callback",
    "https://www.cursor.com/agents/mcp/oauth/callback",
    "http://localhost:8787/callback",
];

fn cursor_document() -> KnownClient {
    client(
        document("https://cursor.com/oauth/mcp-client.json", "Cursor", &CURSOR),
        CURSOR[1],
    )
}

fn cursor_registration() -> KnownClient {
    client(registration("Cursor", &CURSOR), CURSOR[0])
}

/// `auth.CLIENT_ID` and `auth.scopes` in the configuration of a server.
fn cursor_listed() -> KnownClient {
    client(listed("cursor", "Cursor", &CURSOR), CURSOR[0])
}

fn older_cursor() -> KnownClient {
    let uri = "cursor://anysphere.cursor-retrieval/oauth/user-azure-devops/callback";
    client(registration("Cursor", &[uri]), uri)
}

fn copilot_cli_document() -> KnownClient {
    let id = "https://github.com/copilot/cli/client-metadata.json";
    client(
        document(id, "GitHub Copilot CLI", &["http://127.0.0.1:33418/"]),
        "http://127.0.0.1:40123/",
    )
}

fn copilot_cli_registration() -> KnownClient {
    let uri = "http://127.0.0.1:40124/";
    client(registration("GitHub Copilot CLI", &[uri]), uri)
}

fn copilot_studio() -> KnownClient {
    let uri = "https://global.consent.azure-apim.net/redirect/cr938-5fazure-20devops-5f43bcb8573bc3e84";
    client(registration("Copilot Studio", &[uri]), uri)
}

fn gemini_cli() -> KnownClient {
    let uri = "http://localhost:7777/oauth/callback";
    client(registration("Gemini CLI MCP Client", &[uri]), uri)
}

fn inspector_cli() -> KnownClient {
    let uri = "http://127.0.0.1:6276/oauth/callback";
    client(registration("MCP Inspector", &[uri]), uri)
}

fn inspector_web() -> KnownClient {
    let uri = "http://localhost:6274/oauth/callback";
    client(registration("MCP Inspector", &[uri]), uri)
}

fn inspector_listed() -> KnownClient {
    let uri = "http://127.0.0.1:6276/oauth/callback";
    client(listed("inspector", "MCP Inspector", &[uri]), uri)
}

fn opencode_document() -> KnownClient {
    let uris = ["http://127.0.0.1/callback", "http://localhost/callback"];
    let document = document(
        "https://opencode.ai/oauth/opencode/client.json",
        "opencode",
        &uris,
    );
    client(document, "http://127.0.0.1:19876/callback")
}

fn opencode_registration() -> KnownClient {
    let uri = "http://127.0.0.1:19876/mcp/oauth/callback";
    client(registration("OpenCode", &[uri]), uri)
}

fn mcp_remote() -> KnownClient {
    let uri = "http://localhost:3334/oauth/callback";
    let remote = client(registration("MCP CLI Proxy", &[uri]), uri);
    KnownClient {
        scope: None,
        sends_resource: false,
        ..remote
    }
}

/// `--static-oauth-client-info`
fn mcp_remote_listed() -> KnownClient {
    let uri = "http://localhost:3334/oauth/callback";
    KnownClient {
        metadata: listed("mcp-remote", "MCP CLI Proxy", &[uri]),
        ..mcp_remote()
    }
}

fn postman() -> KnownClient {
    let uri = "https://oauth.pstmn.io/v1/browser-callback";
    client(registration("Postman", &[uri]), uri)
}

fn warp() -> KnownClient {
    let uri = "warp://mcp/oauth2callback";
    KnownClient {
        sends_resource: false,
        ..client(registration("Warp", &[uri]), uri)
    }
}

/// Its redirect URI is not published. A loopback address is what a program on the user's machine can have.
fn windsurf() -> KnownClient {
    let uri = "http://127.0.0.1:49813/oauth/callback";
    client(registration("Windsurf", &[uri]), uri)
}

/// Regression: Entra registers no clients: `azure-devops-mcp#1077`, `azure-devops-mcp#1272`, `azure-devops-mcp#1417`,
/// `copilot-cli#4582` (AADSTS900144).
#[rstest]
#[case::vs_code_document(vs_code_document())]
#[case::vs_code_registration(vs_code_registration())]
#[case::vs_code_listed(vs_code_listed())]
#[case::claude_code_document(claude_code_document())]
#[case::claude_code_registration(claude_code_registration())]
#[case::claude_code_listed(claude_code_listed())]
#[case::claude_document(claude_document())]
#[case::claude_registration(claude_registration())]
#[case::claude_listed(claude_listed())]
#[case::chatgpt_document(chatgpt_document())]
#[case::chatgpt_registration(chatgpt_registration())]
#[case::codex_document(codex_document())]
#[case::codex_document_of_one_server(codex_document_of_one_server())]
#[case::codex_registration(codex_registration())]
#[case::cursor_document(cursor_document())]
#[case::cursor_registration(cursor_registration())]
#[case::cursor_listed(cursor_listed())]
#[case::older_cursor(older_cursor())]
#[case::copilot_cli_document(copilot_cli_document())]
#[case::copilot_cli_registration(copilot_cli_registration())]
#[case::copilot_studio(copilot_studio())]
#[case::gemini_cli(gemini_cli())]
#[case::inspector_cli(inspector_cli())]
#[case::inspector_web(inspector_web())]
#[case::inspector_listed(inspector_listed())]
#[case::opencode_document(opencode_document())]
#[case::opencode_registration(opencode_registration())]
#[case::mcp_remote(mcp_remote())]
#[case::mcp_remote_listed(mcp_remote_listed())]
#[case::postman(postman())]
#[case::warp(warp())]
#[case::windsurf(windsurf())]
#[tokio::test]
async fn a_known_client_signs_in_and_refreshes_through_a_gateway(#[case] client: KnownClient) {
    let name = &client.metadata["client_name"];
    assert!(
        client_examples::lists(client.redirect_uri),
        "examples/clients does not list {} of {name}",
        client.redirect_uri
    );
    let host = DocumentHost::start().await;
    let listed = listed_client(&client.metadata);
    let world = host
        .world_behind_a_gateway(|config| config.clients.r#static = listed.into_iter().collect())
        .await;
    let client_id = introduce(&host, &world, &client.metadata).await;
    let code = sign_in(&world, &client, &client_id).await;
    let resource = world.resource();
    let resource = client.sends_resource.then_some(("resource", resource.as_str()));
    let mut redemption = vec![
        ("grant_type", "authorization_code"),
        ("client_id", &client_id),
        ("code", &code),
        ("code_verifier", VERIFIER),
        ("redirect_uri", client.redirect_uri),
    ];
    redemption.extend(resource);
    let tokens = token(&world, &redemption).await.tokens();
    let mut refresh = vec![
        ("grant_type", "refresh_token"),
        ("client_id", &client_id),
        ("refresh_token", &tokens.refresh),
    ];
    refresh.extend(resource);
    token(&world, &refresh).await.tokens();
}

/// Returns the entry in `spec.clients.static` of a client that neither registers itself nor has a document.
fn listed_client(metadata: &Value) -> Option<StaticClient> {
    let client_id = metadata["client_id"]
        .as_str()
        .filter(|id| !id.starts_with("https://"))?;
    Some(StaticClient {
        client_id: client_id.to_owned(),
        display_name: metadata["client_name"].as_str().unwrap().to_owned(),
        redirect_uris: serde_json::from_value(metadata["redirect_uris"].clone()).unwrap(),
    })
}

/// Publishes the client's document, or registers the client unless the configuration lists it. Returns its id.
async fn introduce(host: &DocumentHost, world: &World, metadata: &Value) -> String {
    if let Some(id) = metadata["client_id"].as_str() {
        host.publish(metadata);
        return id.to_owned();
    }
    let url = world.base.join("/register").unwrap();
    let answer = send(world.gateway().http().post(url).json(metadata)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let registered = answer.json();
    assert_eq!(
        registered["grant_types"],
        json!(["authorization_code", "refresh_token"])
    );
    registered["client_id"].as_str().unwrap().to_owned()
}

async fn sign_in(world: &World, client: &KnownClient, client_id: &str) -> String {
    let challenge = challenge(VERIFIER);
    let resource = world.resource();
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", client.redirect_uri),
        ("state", "a-state"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    parameters.extend(client.scope.map(|scope| ("scope", scope)));
    parameters.extend(client.sends_resource.then_some(("resource", resource.as_str())));
    let url: Url = world
        .base
        .join(&format!("/authorize?{}", encode(&parameters)))
        .unwrap();
    let signed_in = Browser::trusting(&[&world.gateway().authority_pem])
        .unwrap()
        .sign_in(&Visit::new(url, ANA.user_name))
        .await
        .unwrap();
    assert_eq!(signed_in.state.as_deref(), Some("a-state"));
    assert_eq!(signed_in.issuer, Some(world.issuer_url()));
    signed_in.code.unwrap()
}

async fn token(world: &World, fields: &[(&str, &str)]) -> Answer {
    let url = world.base.join("/token").unwrap();
    send(world.gateway().http().post(url).form(fields)).await
}

async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    Answer {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.text().await.unwrap(),
    }
}
