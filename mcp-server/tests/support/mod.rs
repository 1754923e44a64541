//! A Pod's server in process: both simulators, a projected token, a host key, and the router.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use behalf_contract::{
    AzureDevOpsConfig, AzureDevOpsEndpoints, EntraConfig, ExchangePlace, Injection, Reauthenticate,
    ServerConfig, ServerListen, TokenExchange, headers, mcp,
};
use behalf_entra::{AZURE_DEVOPS_SCOPE, Clock, SystemClock};
use behalf_mcp_server::app::App;
use behalf_mcp_server::serve::pod_app;
use behalf_simulators::azure_devops::{self, AzureDevOpsOptions, AzureDevOpsSimulator};
use behalf_simulators::entra::{
    self, Directory, EntraSimulator, EntraSimulatorOptions, IssuerFixture, MintRequest,
};
use behalf_simulators::people::{AZURE_DEVOPS_APPLICATION_ID, CLIENT_ID};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

pub(crate) const HOST_KEY: &str = "t3st-host-key-0123456789abcdef-0123456789abcdef";

/// Everything around the server.
pub(crate) struct World {
    _issuer: IssuerFixture,
    entra: EntraSimulator,
    azure: AzureDevOpsSimulator,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(EntraSimulatorOptions::default()).await
    }

    /// Entra is known by this origin, and listens on loopback without TLS.
    pub(crate) async fn start_at(authority: &str) -> Self {
        let options = EntraSimulatorOptions {
            public_base: Some(authority.parse().unwrap()),
            ..EntraSimulatorOptions::default()
        };
        Self::start_with(options).await
    }

    async fn start_with(options: EntraSimulatorOptions) -> Self {
        let issuer = IssuerFixture::start().await.unwrap();
        let mut directory = Directory::contoso();
        directory
            .application_mut(CLIENT_ID)
            .unwrap()
            .federated_credentials
            .push(issuer.credential());
        let options = EntraSimulatorOptions { directory, ..options };
        let entra = EntraSimulator::start(options).await.unwrap();
        let azure = AzureDevOpsSimulator::start(AzureDevOpsOptions::new(entra.authority()))
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        issuer
            .write_token(&folder.path().join("token"), &issuer.token().unwrap())
            .unwrap();
        std::fs::write(folder.path().join("host-key"), HOST_KEY).unwrap();
        Self {
            _issuer: issuer,
            entra,
            azure,
            folder,
        }
    }

    pub(crate) fn entra(&self) -> entra::Control {
        self.entra.control()
    }

    pub(crate) fn azure(&self) -> azure_devops::Control {
        self.azure.control()
    }

    /// The address on which Entra listens.
    pub(crate) fn entra_address(&self) -> SocketAddr {
        self.entra.address()
    }

    /// The address on which the pipelines of Azure DevOps listen.
    pub(crate) fn azure_address(&self) -> SocketAddr {
        self.azure.core_url().socket_addrs(|| None).unwrap()[0]
    }

    pub(crate) fn host_key_file(&self) -> PathBuf {
        self.folder.path().join("host-key")
    }

    pub(crate) fn federated_token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    pub(crate) fn config(&self, at: ExchangePlace, injection: Injection) -> ServerConfig {
        ServerConfig {
            azure_dev_ops: AzureDevOpsConfig {
                organization: azure_devops::ORGANIZATION.to_owned(),
                projects: vec!["shop".to_owned()],
                read_only: false,
                toolsets: Vec::new(),
                endpoints: AzureDevOpsEndpoints {
                    core: self.azure.core_url(),
                    release: self.azure.release_url(),
                    identity: self.azure.identity_url(),
                },
            },
            entra: (at == ExchangePlace::Server).then(|| EntraConfig {
                tenant_id: self.entra.tenant_id().to_owned(),
                client_id: CLIENT_ID.to_owned(),
                authority: self.entra.authority(),
                scope: format!("{CLIENT_ID}/.default"),
                federation_audience: "api://AzureADTokenExchange".to_owned(),
                certificate_authority_file: None,
            }),
            token_exchange: TokenExchange {
                at,
                scope: Some(AZURE_DEVOPS_SCOPE.to_owned()),
                injection,
            },
            certificate_authority_file: None,
            host_key_file: self.host_key_file(),
            tracing: None,
            egress_proxy: None,
            listen: ServerListen {
                mcp: "127.0.0.1:3000".parse().unwrap(),
                probes: "127.0.0.1:3001".parse().unwrap(),
            },
        }
    }

    pub(crate) fn pod(&self, at: ExchangePlace, injection: Injection) -> Pod {
        self.pod_with(at, injection, |_| {})
    }

    pub(crate) fn pod_with(
        &self,
        at: ExchangePlace,
        injection: Injection,
        change: impl FnOnce(&mut ServerConfig),
    ) -> Pod {
        let mut config = self.config(at, injection);
        change(&mut config);
        self.pod_of(&config, Arc::new(SystemClock))
    }

    /// A Pod whose clock the test moves.
    pub(crate) fn pod_at(&self, at: ExchangePlace, injection: Injection, clock: Arc<dyn Clock>) -> Pod {
        self.pod_of(&self.config(at, injection), clock)
    }

    fn pod_of(&self, config: &ServerConfig, clock: Arc<dyn Clock>) -> Pod {
        behalf_mcp_server::config::check(config).unwrap();
        let app = pod_app(config, Some(self.federated_token_file()), false, clock).unwrap();
        let TokenExchange { at, injection, .. } = config.token_exchange;
        Pod {
            router: app.router(),
            app,
            shape: Some((at, injection)),
        }
    }

    /// A Pod in the default shape that asks Azure DevOps for 401, or not.
    pub(crate) fn pod_suppressing(&self, suppress_sign_in_page: bool) -> Pod {
        let shape = SHAPES[0];
        let config = self.config(shape.0, shape.1);
        let app = pod_app(&config, None, suppress_sign_in_page, Arc::new(SystemClock)).unwrap();
        Pod {
            router: app.router(),
            app,
            shape: Some(shape),
        }
    }

    /// A user's token for this application.
    pub(crate) async fn user_token(&self, name: &str) -> String {
        self.entra().mint(&MintRequest::for_user(name)).await.unwrap()
    }

    /// A user's token for Azure DevOps, as the sidecar would have exchanged it.
    pub(crate) async fn azure_token(&self, name: &str) -> String {
        let wanted = MintRequest::for_user(name).resource(AZURE_DEVOPS_APPLICATION_ID);
        self.entra().mint(&wanted).await.unwrap()
    }
}

/// A server, and how its tokens travel.
pub(crate) struct Pod {
    router: Router,
    shape: Option<(ExchangePlace, Injection)>,
    pub(crate) app: App,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// `structuredContent` of a good tool result.
    pub(crate) fn structured(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let result = &self.json()["result"];
        assert_ne!(result["isError"], true, "{self:?}");
        let structured = result["structuredContent"].clone();
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(text).unwrap(),
            structured,
            "text and structure differ"
        );
        structured
    }

    /// The text of a tool result that is an error.
    pub(crate) fn tool_error(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        let result = &self.json()["result"];
        assert_eq!(result["isError"], true, "{self:?}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    pub(crate) fn reauthenticate(&self) -> Reauthenticate {
        assert_eq!(self.status, StatusCode::UNAUTHORIZED, "{self:?}");
        let value = self
            .headers
            .get(headers::REAUTHENTICATE)
            .unwrap_or_else(|| panic!("no header: {self:?}"));
        Reauthenticate::decode(value.as_bytes()).unwrap()
    }
}

/// A request that is right in everything that is not changed.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Ask {
    /// A message of the legacy era, with the host key alone.
    pub(crate) fn message(body: &Value) -> Self {
        Self::raw(body.to_string())
    }

    pub(crate) fn raw(body: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "127.0.0.1:3000"),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            (headers::HOST_KEY, HOST_KEY),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        Self {
            method: Method::POST,
            path: "/mcp",
            headers,
            body: body.into(),
        }
    }

    pub(crate) fn request(method: &str) -> Self {
        Self::message(&json!({"jsonrpc": "2.0", "id": 1, "method": method}))
    }

    /// A tool call without a token.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "so that tests can write `json!` in place"
    )]
    pub(crate) fn tool(name: &str, arguments: Value) -> Self {
        Self::message(&json!({
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        }))
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &'static str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// Puts a token where the sidecar would with [`Injection::Argument`].
    pub(crate) fn argument(mut self, token: impl Into<Value>) -> Self {
        let mut body: Value = serde_json::from_str(&self.body).unwrap();
        body["params"]["arguments"][mcp::BEARER_ARGUMENT] = token.into();
        self.body = body.to_string();
        self
    }

    /// Puts a token wherever the shape wants it.
    pub(crate) fn token(self, shape: (ExchangePlace, Injection), token: &str) -> Self {
        match shape {
            (_, Injection::Header) => self.bearer(token),
            (ExchangePlace::Sidecar, _) => self.argument(token),
            (ExchangePlace::Server, _) => self.bearer(token).argument(token),
        }
    }
}

impl Pod {
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .body(Body::from(ask.body))
            .unwrap();
        *request.headers_mut() = ask.headers;
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 16 * 1024 * 1024).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Calls a tool with a token of the right kind in the right place.
    pub(crate) async fn call(&self, token: &str, name: &str, arguments: Value) -> Answer {
        self.send(Ask::tool(name, arguments).token(self.shape.unwrap(), token))
            .await
    }
}

pub(crate) const SHAPES: [(ExchangePlace, Injection); 4] = [
    (ExchangePlace::Sidecar, Injection::Header),
    (ExchangePlace::Sidecar, Injection::Argument),
    (ExchangePlace::Server, Injection::Header),
    (ExchangePlace::Server, Injection::Argument),
];
