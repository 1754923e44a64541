use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::DurationText;
use crate::api::v1alpha1::schema::rule;

/// How long sessions live and where they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "duration(self.accessTokenLifetime) >= duration('1m') && duration(self.accessTokenLifetime) <= duration('24h')",
        "sessions.accessTokenLifetime must be between 1m and 24h"
    ),
    rule(
        "duration(self.idleLifetime) >= duration(self.accessTokenLifetime)",
        "sessions.idleLifetime must not be shorter than sessions.accessTokenLifetime"
    ),
    rule(
        "duration(self.maximumLifetime) >= duration(self.idleLifetime) && duration(self.maximumLifetime) <= duration('8784h')",
        "sessions.maximumLifetime must be between sessions.idleLifetime and 8784h (366 days)"
    ),
    rule(
        "duration(self.refreshGrace) <= duration('10m')",
        "sessions.refreshGrace must not be longer than 10m"
    ),
]))]
pub struct Sessions {
    /// Life of an access token. Clients renew it on their own, users notice nothing.
    pub access_token_lifetime: DurationText,

    /// A session that nobody used for so long ends.
    pub idle_lifetime: DurationText,

    /// A session ends so long after the login, used or not.
    pub maximum_lifetime: DurationText,

    /// A refresh token that was already used gets the same successor again for so long; later its use ends
    /// the session, because it may have been stolen.
    pub refresh_grace: DurationText,

    /// Where sessions are kept.
    pub store: Store,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            access_token_lifetime: DurationText::new("1h"),
            idle_lifetime: DurationText::new("336h"),
            maximum_lifetime: DurationText::new("2160h"),
            refresh_grace: DurationText::new("120s"),
            store: Store::default(),
        }
    }
}

/// Where sessions are kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Store {
    /// Memory: in the Pod's memory; one replica, and a restart ends every session.
    #[serde(rename = "type", default)]
    pub kind: StoreType,
}

/// The kind of session store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum StoreType {
    /// The sidecar's memory.
    #[default]
    Memory,
}
