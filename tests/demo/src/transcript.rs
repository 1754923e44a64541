//! The calls of the whole demo.

use serde::{Deserialize, Serialize};

use super::{Administration, Failover, SignIn};

/// The calls of each user, with answers and durations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transcript {
    /// One entry for each sign-in of a user at a server, in order.
    pub sign_ins: Vec<SignIn>,

    /// The calls around the deletion of a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<Failover>,

    /// The rotation of the keys and the end of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub administration: Option<Administration>,
}
