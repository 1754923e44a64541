//! The surroundings of a sidecar: the MCP server, the simulator of Entra, the issuer of the cluster, mounted files, and
//! users who sign in.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use behalf_simulators::entra::{EntraSimulator, EntraSimulatorOptions, IssuerFixture, User};
use behalf_simulators::people::CLIENT_ID;
use behalf_simulators::sign_in::{Browser, Visit};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use url::Url;

use crate::error::{BenchError, Step as _};
use crate::stub_server::StubServer;

/// The client of every login. The sidecar's configuration lists it as a static client.
pub(crate) const CLIENT: &str = "bench";

/// Where the browser of a login returns to. Nothing listens there.
pub(crate) const REDIRECT_URI: &str = "http://127.0.0.1/callback";

/// The PKCE verifier of every login.
const VERIFIER: &str = "a-verifier-that-is-long-enough-for-rfc-7636-to-take";

/// Time for which the client of `/token` keeps an unused connection. The sidecar closes it after 90 s, so that a request at that
/// moment would fail.
const KEPT: Duration = Duration::from_secs(30);

/// The tokens that a client gets from a login or refresh.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

/// The parts that run in the process of the bench, on its core.
pub(crate) struct Surroundings {
    pub(crate) folder: TempDir,
    pub(crate) server: StubServer,
    pub(crate) entra: EntraSimulator,
    issuer: IssuerFixture,
    http: reqwest::Client,
}

impl Surroundings {
    pub(crate) async fn start() -> Result<Self, BenchError> {
        // The call fails only if a provider is installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let surroundings = Self {
            folder: tempfile::tempdir().step("create a folder")?,
            server: StubServer::start().await?,
            entra: EntraSimulator::start(EntraSimulatorOptions::default())
                .await
                .step("start the Entra simulator")?,
            issuer: IssuerFixture::start().await.step("start the issuer")?,
            http: reqwest::Client::builder()
                .pool_idle_timeout(KEPT)
                .build()
                .step("build an HTTP client")?,
        };
        surroundings.write_files()?;
        surroundings
            .entra
            .control()
            .put_federated_credentials(CLIENT_ID, &[surroundings.issuer.credential()])
            .await
            .step("add the federated credential")?;
        Ok(surroundings)
    }

    fn write_files(&self) -> Result<(), BenchError> {
        let token = self.issuer.token().step("issue a federated token")?;
        let material = STANDARD.encode([7; 32]);
        let keys = |id: &str| json!({"sealing": id, "keys": [{"id": id, "material": material, "createdAt": "2026-01-01T00:00:00Z"}]});
        let keyring = json!({"sessions": keys("k1"), "clients": keys("c1")}).to_string();
        for (name, content) in [
            ("token", token.as_str()),
            ("keyring.json", &keyring),
            ("revocations.json", r#"{"users":[]}"#),
        ] {
            std::fs::write(self.file(name), content).step(format_args!("write {name}"))?;
        }
        Ok(())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds users to the tenant. Returns their names.
    pub(crate) async fn add_users(&self, count: u32) -> Result<Vec<String>, BenchError> {
        let mut names = Vec::new();
        for number in 0..count {
            let user = User {
                name: format!("user-{number}@contoso.example"),
                object_id: format!("be0c0000-0000-4000-8000-{number:012}"),
                display_name: format!("User {number}"),
                enabled: true,
                assigned_to: vec![CLIENT_ID.to_owned()],
                roles: [].into(),
            };
            let added = self.entra.control().put_user(&user).await;
            added.step("add a user to the tenant")?;
            names.push(user.name);
        }
        Ok(names)
    }

    /// Allows the sidecar at `base` to sign users in.
    pub(crate) async fn allow_callback(&self, base: &Url) -> Result<(), BenchError> {
        let callback = base.join("/callback").step("build the redirect URI")?;
        self.entra
            .control()
            .add_redirect_uri(CLIENT_ID, callback.as_str())
            .await
            .step("add a redirect URI")
    }

    /// Signs a user in at the sidecar at `base`.
    pub(crate) async fn sign_in(
        &self,
        browser: &Browser,
        base: &Url,
        user: &str,
    ) -> Result<Tokens, BenchError> {
        let resource = base.join("/mcp").step("build the resource")?;
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut authorize = base.join("/authorize").step("build the authorize URL")?;
        authorize.query_pairs_mut().extend_pairs([
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", REDIRECT_URI),
            ("state", "bench"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("resource", resource.as_str()),
            ("scope", "mcp:read mcp:run"),
        ]);
        let signed_in = browser.sign_in(&Visit::new(authorize, user)).await;
        let signed_in = signed_in.step(format_args!("sign {user} in"))?;
        let code = signed_in.code.ok_or_else(|| {
            BenchError::new(format!("{user} got no code: {:?}", signed_in.error_description))
        })?;
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code", &code),
            ("redirect_uri", REDIRECT_URI),
            ("code_verifier", VERIFIER),
        ];
        self.token(base, &fields).await
    }

    /// Refreshes the tokens of a session.
    pub(crate) async fn refresh(&self, base: &Url, refresh_token: &str) -> Result<Tokens, BenchError> {
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", CLIENT),
            ("refresh_token", refresh_token),
        ];
        self.token(base, &fields).await
    }

    async fn token(&self, base: &Url, fields: &[(&str, &str)]) -> Result<Tokens, BenchError> {
        let url = base.join("/token").step("build the token URL")?;
        let answer = self.http.post(url).form(fields).send().await;
        let answer: Value = answer
            .step("ask for tokens")?
            .json()
            .await
            .step("ask for tokens")?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned);
        match (text("access_token"), text("refresh_token")) {
            (Some(access), Some(refresh)) => Ok(Tokens { access, refresh }),
            _ => Err(BenchError::new(format!(
                "the sidecar issued no tokens: {}",
                answer["error"]
            ))),
        }
    }
}
