//! The revocations: the logins that an administrator ended in `spec.sessions.revocations`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The file of revocations (JSON). The operator writes it, and the sidecar reads it again when it changes.
///
/// A field that the sidecar does not know makes the file unusable: a rule that it ignored would end no session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revocations {
    /// Sessions of all users whose login is before this time have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,

    /// Further revocations for single users. Each user has at most one.
    pub users: Vec<RevokedUser>,
}

/// The revocation of one user's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RevokedUser {
    /// The object id of the user in Entra, a GUID in lower case.
    pub id: String,

    /// Sessions of this user whose login is before this time have ended.
    pub before: Timestamp,
}
