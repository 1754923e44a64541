//! The lifetimes of sessions and of the tokens that clients hold.

use behalf_contract::SessionsConfig;
use jiff::SignedDuration;

/// The lifetimes, the resource and the scope of all sessions.
#[derive(Clone, Debug)]
pub struct SessionRules {
    /// The resource (RFC 8707) that access tokens are bound to.
    pub resource: String,

    /// The scope of the user's token for this application.
    pub entra_scope: String,

    /// Lifetime of an access token.
    pub access_token_lifetime: SignedDuration,

    /// A session ends after this time without use.
    pub idle_lifetime: SignedDuration,

    /// A session ends at the latest this long after the login.
    pub maximum_lifetime: SignedDuration,

    /// For this time after its use, the previous refresh token gets tokens of the same generation again.
    pub refresh_grace: SignedDuration,
}

impl SessionRules {
    /// Reads the rules from the configuration. `entra_scope` is the scope that a login requests from Entra.
    pub fn new(config: &SessionsConfig, resource: impl Into<String>, entra_scope: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            entra_scope: entra_scope.into(),
            access_token_lifetime: seconds(config.access_token_lifetime_seconds),
            idle_lifetime: seconds(config.idle_lifetime_seconds),
            maximum_lifetime: seconds(config.maximum_lifetime_seconds),
            refresh_grace: seconds(config.refresh_grace_seconds),
        }
    }
}

fn seconds(seconds: u64) -> SignedDuration {
    SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX))
}
