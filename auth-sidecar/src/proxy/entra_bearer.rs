//! Accepts an Entra token of the user as the bearer (`clients.entraTokens`): an agent that already holds the user's token
//! for this application needs no login here.

use behalf_contract::SidecarConfig;
use behalf_entra::{EntraClient, Secret, TokenRejection, TokenRules, TokenValidator};
use jiff::Timestamp;

use super::refusal::ProxyRefusal;
use crate::limits::new_tokens::NewTokens;
use crate::services::Services;
use crate::sessions::OpenSession;

/// Validates Entra's tokens for this application, from the listed applications.
#[derive(Clone)]
pub(super) struct EntraBearers {
    validator: TokenValidator,
    new_tokens: NewTokens,
}

impl EntraBearers {
    /// `None` if the configuration lists no application. An empty list of [`TokenRules`] would allow every application of
    /// the tenant.
    pub(super) fn new(config: &SidecarConfig, entra: EntraClient, now: Timestamp) -> Option<Self> {
        let allowed_clients = config.clients.entra_token_clients.clone();
        let rules = TokenRules {
            required_scope: config.entra.required_scope().to_owned(),
            allowed_clients,
            ..TokenRules::default()
        };
        (!rules.allowed_clients.is_empty()).then(|| Self {
            validator: TokenValidator::new(entra, rules),
            new_tokens: NewTokens::new(now),
        })
    }

    /// True for a JSON Web Token: its header is a JSON object in base64url. This server's own tokens begin otherwise.
    pub(super) fn is_jwt(token: &Secret) -> bool {
        token.expose().starts_with("eyJ")
    }

    /// Returns the session of the token's user. It has all scopes of this server: the administrator lists applications
    /// that need no consent page.
    pub(super) async fn open(
        &self,
        services: &Services,
        token: &Secret,
    ) -> Result<OpenSession, ProxyRefusal> {
        let claims = self.validator.validate(token).await.map_err(|rejection| {
            services.metrics.entra_bearer(label(&rejection));
            let error: &dyn std::error::Error = &rejection;
            if let TokenRejection::KeysUnavailable(cause) = &rejection {
                tracing::warn!(
                    error,
                    "Unable to check a token of Entra: its keys cannot be read; the client gets 503. Check egress to Entra"
                );
                return ProxyRefusal::Unavailable(Some(cause.pause()));
            }
            tracing::debug!(error, "Refused a token of Entra: {rejection}");
            ProxyRefusal::InvalidToken
        })?;
        let opened = services
            .sessions
            .of_entra_token(token, claims, services.access.offered());
        services
            .metrics
            .entra_bearer(if opened.is_ok() { "accepted" } else { "revoked" });
        Ok(opened?)
    }

    /// Refuses a token that is new here if its user presented too many new ones. Sessions of this server pass.
    pub(super) async fn limit(&self, services: &Services, session: &OpenSession) -> Result<(), ProxyRefusal> {
        if session.has_record() {
            return Ok(());
        }
        let now = services.clock.now();
        self.new_tokens
            .try_charge(session.id, session.signed_in_at, &session.user, now)
            .await
            .map_err(ProxyRefusal::TooManyTokens)
    }
}

/// The label of the metric.
fn label(rejection: &TokenRejection) -> &'static str {
    match rejection {
        TokenRejection::Malformed | TokenRejection::Nonce => "malformed",
        TokenRejection::Version => "version",
        TokenRejection::Algorithm => "algorithm",
        TokenRejection::UnknownKey => "unknown_key",
        TokenRejection::Signature => "signature",
        TokenRejection::Issuer => "issuer",
        TokenRejection::Tenant => "tenant",
        TokenRejection::Audience => "audience",
        TokenRejection::NotYetValid => "not_yet_valid",
        TokenRejection::Expired => "expired",
        TokenRejection::AppOnly | TokenRejection::User => "no_user",
        TokenRejection::Scope { .. } => "scope",
        TokenRejection::Client => "client",
        TokenRejection::KeysUnavailable(_) => "keys_unavailable",
    }
}
