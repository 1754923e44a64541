//! The lifetimes of sessions and of the tokens that clients hold.

use behalf_contract::SessionsConfig;
use jiff::SignedDuration;

/// The lifetimes, and what sessions are for.
#[derive(Clone, Debug)]
pub struct SessionRules {
    /// The one resource (RFC 8707) that session keys are good for.
    pub resource: String,

    /// The scope of the user's token for this application.
    pub entra_scope: String,

    /// Life of a session key.
    pub access_token_lifetime: SignedDuration,

    /// A session that nobody used for so long ends.
    pub idle_lifetime: SignedDuration,

    /// A session ends so long after the login, used or not.
    pub maximum_lifetime: SignedDuration,

    /// A used refresh token gets the same generation again for so long.
    pub refresh_grace: SignedDuration,
}

impl SessionRules {
    /// The rules that the configuration gives. `entra_scope` is what the login asks Entra for.
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
