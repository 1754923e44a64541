//! A tenant, the issuer of a cluster, and the client with the settings of a Pod of that cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use behalf_entra::{
    AZURE_DEVOPS_SCOPE, AuthorizeRequest, CodeGrant, EntraClient, EntraError, FederatedTokenFile,
    FederationFinding, HttpClient, HttpLimits, NextStep, Proxies, RetryPolicy, Secret, Settings,
    SignInReason, SystemClock, TokenRules, TokenSet, TokenValidator, TrustRoots, sign_in_scope,
};
use behalf_simulators::entra::{
    Control, EntraSimulator, EntraSimulatorOptions, IssuerFixture, MintRequest, ServiceAccountToken,
};
use behalf_simulators::people::{ANA as ANA_PERSON, CLIENT_ID};
use tempfile::TempDir;
use url::Url;

pub(crate) const ANA: &str = ANA_PERSON.user_name;
pub(crate) const CALLBACK: &str = "http://localhost:8080/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// S256 of the verifier: the example of RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(crate) struct Tenant {
    pub(crate) entra: EntraSimulator,
    pub(crate) cluster: IssuerFixture,
    pub(crate) client: EntraClient,
    pub(crate) control: Control,
    http: HttpClient,
    folder: TempDir,
}

impl Tenant {
    /// With a federated credential that fits, and the callback registered.
    pub(crate) async fn start() -> Self {
        let entra = EntraSimulator::start(EntraSimulatorOptions::default())
            .await
            .unwrap();
        let cluster = IssuerFixture::start().await.unwrap();
        let control = entra.control();
        control
            .put_federated_credentials(CLIENT_ID, &[cluster.credential()])
            .await
            .unwrap();
        control.add_redirect_uri(CLIENT_ID, CALLBACK).await.unwrap();

        let folder = tempfile::tempdir().unwrap();
        let http = TrustRoots::system()
            .http_client(HttpLimits::default(), Proxies::None)
            .unwrap();
        let client = EntraClient::with_retry_policy(
            Settings::new(&entra.authority(), entra.tenant_id(), CLIENT_ID).unwrap(),
            FederatedTokenFile::new(folder.path().join("token")),
            http.clone(),
            Arc::new(SystemClock),
            RetryPolicy {
                base: Duration::ZERO,
                ..RetryPolicy::default()
            },
        );
        let tenant = Self {
            entra,
            cluster,
            client,
            control,
            http,
            folder,
        };
        tenant.project(&ServiceAccountToken::of(IssuerFixture::SUBJECT));
        tenant
    }

    /// Puts a token where the kubelet would.
    pub(crate) fn project(&self, token: &ServiceAccountToken) {
        let token = self.cluster.mint(token).unwrap();
        self.cluster
            .write_token(&self.folder.path().join("token"), &token)
            .unwrap();
    }

    pub(crate) async fn probe(&self) -> Result<(), EntraError> {
        self.client.client_credentials(AZURE_DEVOPS_SCOPE).await
    }

    /// Sends a probe that must fail and returns its finding.
    pub(crate) async fn finding(&self) -> FederationFinding {
        self.probe().await.unwrap_err().federation_finding()
    }

    /// A token of this user for the application.
    pub(crate) async fn token_of(&self, user: &str) -> Secret {
        self.mint(&MintRequest::for_user(user)).await
    }

    pub(crate) async fn mint(&self, wanted: &MintRequest) -> Secret {
        Secret::new(self.control.mint(wanted).await.unwrap())
    }

    /// Exchanges a user token for a token for Azure DevOps.
    pub(crate) async fn exchange(&self, token: &Secret) -> Result<TokenSet, EntraError> {
        self.client.on_behalf_of(token, AZURE_DEVOPS_SCOPE, None).await
    }

    pub(crate) fn validator(&self) -> TokenValidator {
        TokenValidator::new(self.client.clone(), TokenRules::default())
    }

    /// Sends a browser to the authorize URL as this user, presses `next` or `cancel`, and comes back with
    /// the query of the callback.
    pub(crate) async fn callback(
        &self,
        user: &str,
        action: &str,
        claims: Option<&str>,
    ) -> HashMap<String, String> {
        let scope = Self::scope();
        let request = AuthorizeRequest {
            redirect_uri: CALLBACK,
            scope: &scope,
            state: "handle",
            code_challenge: CHALLENGE,
            nonce: "n1",
            consent: false,
            claims,
        };
        let url = self.client.authorize_url(&request).await.unwrap();
        let page = self
            .http
            .client()
            .get(url.clone())
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let (_, rest) = page.split_once("name=\"ctx\" value=\"").unwrap();
        let (context, _) = rest.split_once('"').unwrap();
        let login = url.join(&format!("/{}/login", self.entra.tenant_id())).unwrap();
        let form = [("ctx", context), ("login", user), ("action", action)];
        let response = self.http.client().post(login).form(&form).send().await.unwrap();
        let back = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
        assert!(back.as_str().starts_with(CALLBACK));
        back.query_pairs().into_owned().collect()
    }

    /// A whole login.
    pub(crate) async fn sign_in(&self, user: &str) -> TokenSet {
        self.sign_in_with(user, None).await
    }

    pub(crate) async fn sign_in_with(&self, user: &str, claims: Option<&str>) -> TokenSet {
        let callback = self.callback(user, "next", claims).await;
        assert_eq!(callback["state"], "handle");
        self.redeem(&callback["code"], VERIFIER).await.unwrap()
    }

    pub(crate) async fn redeem(&self, code: &str, verifier: &str) -> Result<TokenSet, EntraError> {
        let grant = CodeGrant {
            code: &Secret::new(code),
            redirect_uri: CALLBACK,
            code_verifier: &Secret::new(verifier),
            scope: &Self::scope(),
        };
        self.client.redeem_code(grant).await
    }

    pub(crate) async fn refresh(&self, tokens: &TokenSet) -> Result<TokenSet, EntraError> {
        let refresh_token = tokens.refresh_token.as_ref().unwrap();
        self.client.refresh(refresh_token, &Self::scope()).await
    }

    fn scope() -> String {
        sign_in_scope(&format!("{CLIENT_ID}/.default"))
    }
}

/// Asserts that Entra refused with this code, and how the client understands it.
pub(crate) fn assert_refused(error: &EntraError, code: u32, reason: SignInReason, next_step: &NextStep) {
    assert_eq!(error.refusal().unwrap().codes, [code], "{error}");
    assert_eq!(error.sign_in_reason(), Some(reason));
    assert_eq!(&error.next_step(), next_step);
}

pub(crate) fn sign_in_again() -> NextStep {
    NextStep::SignInAgain {
        claims: None,
        consent: false,
    }
}
