//! Logins whose sessions have ended.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::v1alpha1::schema::matches;

/// Maximum number of revocations of single users. Their file then has less than 50 KiB.
const MAX_USERS: u32 = 500;

/// Logins whose sessions have ended. Keep an entry until maximumLifetime has passed since its time, because then no older
/// session exists. If it is removed earlier, sessions that were not used meanwhile work again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revocations {
    /// Ends every session whose login is before this time (RFC 3339), for example 2026-11-26T09:00:00Z. A time in the
    /// future also refuses every login until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub before: Option<String>,

    /// Revocations of single users.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = MAX_USERS),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"])
    )]
    pub users: Vec<RevokedUser>,
}

/// The revocation of one user's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevokedUser {
    /// The object id of the user in Entra, a GUID in lower case.
    #[schemars(length(max = 253), extend("x-kubernetes-validations" = [matches(
        "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        "must be the object id of the user, a GUID in lower case: az ad user show --id <user> --query id prints it"
    )]))]
    pub id: String,

    /// Ends every session of this user whose login is before this time (RFC 3339). A time in the future also refuses
    /// every login of the user until then.
    #[schemars(length(max = 40), extend("format" = "date-time"))]
    pub before: String,
}
