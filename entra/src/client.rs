//! The client of Entra: discovery, the authorize URL, the four token requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use url::Url;

use crate::application_token::ApplicationToken;
use crate::assertion::FederatedTokenFile;
use crate::cached::{Cached, Lifetime, Pauses};
use crate::client_pause::ClientPause;
use crate::clock::Clock;
use crate::discovery::Discovery;
use crate::error::EntraError;
use crate::grant::{CodeGrant, Grant};
use crate::http_client::HttpClient;
use crate::keys::{JwkSet, SigningKeys};
use crate::next_step::NextStep;
use crate::observer::{TokenRequest, TokenRequestObserver};
use crate::response::{Answer, TokenSet};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::settings::Settings;

/// Addresses rarely change, and calls go on with an old document while Entra cannot be reached.
const DISCOVERY: Lifetime = Lifetime {
    fresh: SignedDuration::from_hours(24),
    usable: SignedDuration::from_hours(24 * 30),
    pause: SignedDuration::from_mins(5),
    // Each token request needs the document, and the pauses of token requests hold back what asks too often.
    pause_without_value: SignedDuration::ZERO,
};

/// The keys are read hourly, so that a withdrawn key is soon out of use. During an outage of Entra they are used
/// for a day. An unknown `kid` causes a request at most every 30 seconds, and a failed request is repeated after 15 seconds
/// while no keys are known: a caller that invents tokens must not cause requests.
const KEYS: Lifetime = Lifetime {
    fresh: SignedDuration::from_hours(1),
    usable: SignedDuration::from_hours(24),
    pause: SignedDuration::from_secs(30),
    pause_without_value: SignedDuration::from_secs(15),
};

/// The variable parameters of the authorize request.
#[derive(Clone, Copy, Debug)]
pub struct AuthorizeRequest<'a> {
    /// The callback, as registered on platform Web.
    pub redirect_uri: &'a str,

    /// See [`crate::sign_in_scope`].
    pub scope: &'a str,

    /// The value that Entra returns with the code.
    pub state: &'a str,

    /// S256 hash of the verifier (RFC 7636).
    pub code_challenge: &'a str,

    /// Entra returns it in the id token; check it with [`crate::TokenValidator::validate_id_token`].
    pub nonce: &'a str,

    /// Entra shows the consent dialog, also to a user who consented before.
    pub consent: bool,

    /// A pending claims challenge: a JSON object as text.
    pub claims: Option<&'a str>,
}

/// A client of one application in one tenant. Cheap to clone; clones share caches and pauses.
#[derive(Clone)]
pub struct EntraClient {
    inner: Arc<Inner>,

    /// `None` until [`EntraClient::observed_by`].
    observer: Option<Arc<dyn TokenRequestObserver>>,
}

struct Inner {
    settings: Settings,
    assertion: FederatedTokenFile,
    http: HttpClient,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    discovery: Cached<Discovery>,
    keys: Cached<SigningKeys>,
    pause: ClientPause,
}

impl EntraClient {
    /// Creates a client. No request is sent before the first call.
    pub fn new(
        settings: Settings,
        assertion: FederatedTokenFile,
        http: impl Into<HttpClient>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::with_retry_policy(settings, assertion, http, clock, RetryPolicy::default())
    }

    /// As [`EntraClient::new`], with another retry policy.
    pub fn with_retry_policy(
        settings: Settings,
        assertion: FederatedTokenFile,
        http: impl Into<HttpClient>,
        clock: Arc<dyn Clock>,
        retry: RetryPolicy,
    ) -> Self {
        let inner = Inner {
            settings,
            assertion,
            http: http.into(),
            clock,
            retry,
            discovery: Cached::new("discovery document", DISCOVERY),
            keys: Cached::new("signing keys", KEYS),
            pause: ClientPause::default(),
        };
        Self {
            inner: Arc::new(inner),
            observer: None,
        }
    }

    /// Returns a client that reports each of its token requests to `observer`. It shares caches and pauses with this one.
    #[must_use]
    pub fn observed_by(self, observer: Arc<dyn TokenRequestObserver>) -> Self {
        Self {
            inner: self.inner,
            observer: Some(observer),
        }
    }

    /// Returns the tenant and the application.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Returns the source of the client assertion.
    pub fn assertion(&self) -> &FederatedTokenFile {
        &self.inner.assertion
    }

    /// Returns the authority's discovery document. It is read once a day, and again after a failure that an old
    /// document may have caused.
    pub async fn discovery(&self) -> Result<Arc<Discovery>, EntraError> {
        self.discovery_with(Pauses::Ignored).await
    }

    async fn discovery_with(&self, pauses: Pauses) -> Result<Arc<Discovery>, EntraError> {
        let load = || async {
            let url = format!(
                "{}/.well-known/openid-configuration",
                self.inner.settings.issuer()
            );
            let document: Discovery = self.document(&url, "no discovery document").await?;
            document
                .check(&self.inner.settings.issuer())
                .map_err(EntraError::Discovery)
        };
        self.inner.discovery.get(self.now(), pauses, |_| true, load).await
    }

    /// Builds the address at which the user signs in.
    pub async fn authorize_url(&self, request: &AuthorizeRequest<'_>) -> Result<Url, EntraError> {
        let mut url = self.discovery().await?.authorization_endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", self.inner.settings.client_id())
                .append_pair("response_type", "code")
                .append_pair("redirect_uri", request.redirect_uri)
                .append_pair("response_mode", "query")
                .append_pair("scope", request.scope)
                .append_pair("state", request.state)
                .append_pair("code_challenge", request.code_challenge)
                .append_pair("code_challenge_method", "S256")
                .append_pair("nonce", request.nonce);
            if request.consent {
                query.append_pair("prompt", "consent");
            }
            if let Some(claims) = request.claims {
                query.append_pair("claims", claims);
            }
        }
        Ok(url)
    }

    /// Redeems an authorization code.
    pub async fn redeem_code(&self, grant: CodeGrant<'_>) -> Result<TokenSet, EntraError> {
        self.request(Grant::Code(grant)).await
    }

    /// Renews a user's tokens. Entra answers with a new refresh token and does not revoke the old one.
    pub async fn refresh(&self, refresh_token: &Secret, scope: &str) -> Result<TokenSet, EntraError> {
        self.request(Grant::Refresh { refresh_token, scope }).await
    }

    /// Exchanges a user's token for this application for a token for `scope`. [`crate::OnBehalfOf`] adds a cache.
    pub async fn on_behalf_of(
        &self,
        assertion: &Secret,
        scope: &str,
        claims: Option<&str>,
    ) -> Result<TokenSet, EntraError> {
        self.request(Grant::OnBehalfOf {
            assertion,
            scope,
            claims,
        })
        .await
    }

    /// Proves that Entra accepts this process as the application. The token is dropped at once.
    pub async fn client_credentials(&self, scope: &str) -> Result<(), EntraError> {
        self.request(Grant::ClientCredentials { scope }).await.map(drop)
    }

    /// Gets a token for the application itself, for an API that this process calls in its own name.
    pub async fn application_token(&self, scope: &str) -> Result<ApplicationToken, EntraError> {
        let asked_at = self.now();
        let tokens = self.request(Grant::ClientCredentials { scope }).await?;
        ApplicationToken::new(tokens, asked_at).ok_or(EntraError::Malformed {
            status: 200,
            what: "no token of the application with an oid",
        })
    }

    /// Returns the tenant's signing keys. They are fetched again if `kid` is not among them.
    pub(crate) async fn signing_keys(
        &self,
        kid: &str,
        pauses: Pauses,
    ) -> Result<Arc<SigningKeys>, EntraError> {
        let load = || async {
            let discovery = self.discovery_with(pauses).await?;
            let set: JwkSet = self
                .document(discovery.jwks_uri.as_str(), "no JSON Web Key Set")
                .await?;
            let keys = SigningKeys::new(set, self.inner.settings.tenant_id(), &discovery.issuer);
            if keys.is_empty() {
                return Err(EntraError::Malformed {
                    status: 200,
                    what: "no signing key of this tenant",
                });
            }
            Ok(keys)
        };
        self.inner
            .keys
            .get(self.now(), pauses, |keys| keys.get(kid).is_some(), load)
            .await
    }

    /// Returns the source of the current time.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.inner.clock)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    async fn document<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        otherwise: &'static str,
    ) -> Result<T, EntraError> {
        let read = || async {
            let response = self
                .inner
                .http
                .client()
                .get(url)
                .send()
                .await
                .map_err(EntraError::transport)?;
            Answer::read(response, self.now()).await?.json(otherwise)
        };
        self.inner.retry.run(read, |_| true).await
    }

    async fn request(&self, grant: Grant<'_>) -> Result<TokenSet, EntraError> {
        let url = &self.discovery().await?.token_endpoint;
        let kind = grant.kind();
        let goes_first = AtomicBool::new(false);
        // Each try looks for a pause, because another request may have begun one meanwhile. The request that goes
        // first after a pause does not wait for itself.
        let attempt = || async {
            if !goes_first.load(Ordering::Relaxed) {
                goes_first.store(self.inner.pause.check(kind, self.now())?, Ordering::Relaxed);
            }
            self.attempt(url, grant).await
        };
        let result = self
            .inner
            .retry
            .run(attempt, |error| grant.may_be_repeated(error))
            .await;
        self.inner.pause.observe(kind, &result, self.now());
        if let Err(error) = &result {
            tracing::debug!(
                entra.grant = grant.name(),
                "Token request ended without a token: {error}"
            );
            if matches!(error, EntraError::Unreachable(_) | EntraError::Malformed { .. }) {
                self.inner.discovery.mark_stale(self.now());
            }
        }
        result
    }

    /// Sends one request. If Entra refuses the client assertion and the kubelet has replaced the file in the
    /// meantime, sends a second one with the new token.
    async fn attempt(&self, url: &Url, grant: Grant<'_>) -> Result<TokenSet, EntraError> {
        let assertion = self.client_assertion()?;
        let result = self.send(url, grant, &assertion).await;
        let client_is_refused = matches!(
            &result,
            Err(EntraError::Refused(refusal))
                if refusal.error == "invalid_client" || refusal.next_step() == NextStep::ClientAuthentication
        );
        if !client_is_refused {
            return result;
        }
        match self.client_assertion() {
            Ok(renewed) if renewed != assertion => self.send(url, grant, &renewed).await,
            _ => result,
        }
    }

    fn client_assertion(&self) -> Result<Secret, EntraError> {
        let authority = self.inner.settings.authority();
        self.inner
            .assertion
            .client_assertion(authority)
            .map_err(EntraError::Assertion)
    }

    async fn send(&self, url: &Url, grant: Grant<'_>, assertion: &Secret) -> Result<TokenSet, EntraError> {
        let asked_at = self.now();
        let form = grant.form(self.inner.settings.client_id(), assertion);
        let request = self.inner.http.client().post(url.clone()).form(&form);
        let answer = async {
            let response = request.send().await.map_err(EntraError::transport)?;
            Answer::read(response, self.now()).await?.tokens(asked_at)
        };
        let began = Instant::now();
        let result = answer.await;
        if let Some(observer) = &self.observer {
            observer.observe(&TokenRequest {
                grant: grant.name(),
                began,
                error: result.as_ref().err(),
            });
        }
        result
    }
}

impl std::fmt::Debug for EntraClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EntraClient")
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
