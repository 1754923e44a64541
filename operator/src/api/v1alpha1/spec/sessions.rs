//! Lifetimes of sessions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::duration_rule;
use super::{DurationText, Revocations, Store};

/// Lifetimes of the users' sessions, and where sessions are stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    duration_rule(
        &["accessTokenLifetime"],
        "duration(self.accessTokenLifetime) >= duration('1m') && duration(self.accessTokenLifetime) <= duration('24h')",
        "sessions.accessTokenLifetime must be between 1m and 24h"
    ),
    duration_rule(
        &["idleLifetime", "accessTokenLifetime"],
        "duration(self.idleLifetime) >= duration(self.accessTokenLifetime)",
        "sessions.idleLifetime must not be shorter than sessions.accessTokenLifetime"
    ),
    duration_rule(
        &["maximumLifetime", "idleLifetime"],
        "duration(self.maximumLifetime) >= duration(self.idleLifetime) && duration(self.maximumLifetime) <= duration('8784h')",
        "sessions.maximumLifetime must be between sessions.idleLifetime and 8784h (366 days)"
    ),
    duration_rule(
        &["refreshGrace"],
        "duration(self.refreshGrace) <= duration('10m')",
        "sessions.refreshGrace must not be longer than 10m"
    ),
]))]
pub struct Sessions {
    /// Lifetime of an access token. Clients renew it without the user.
    pub access_token_lifetime: DurationText,

    /// A session that is not used for this time ends.
    pub idle_lifetime: DurationText,

    /// A session ends this time after the login, whether it is used or not.
    pub maximum_lifetime: DurationText,

    /// Time in which a refresh token that was already used gets the same successor again. A later use ends the session,
    /// because the token may have been stolen.
    pub refresh_grace: DurationText,

    /// Logins whose sessions have ended. A change reaches running Pods without a restart, within about a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocations: Option<Revocations>,

    /// Where sessions are stored.
    pub store: Store,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_lifetime: DurationText::new("1h"),
            idle_lifetime: DurationText::new("336h"),
            maximum_lifetime: DurationText::new("2160h"),
            refresh_grace: DurationText::new("120s"),
            revocations: None,
            store: Store::default(),
        }
    }
}
