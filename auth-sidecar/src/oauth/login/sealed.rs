//! The authorization request that the consent page contains, sealed.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::request::AuthorizationRequest;

/// Maximum time between the consent page and the user's decision. The error page names ten minutes.
pub(crate) const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// A validated request in the HTML form of the consent page.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OfferedRequest {
    #[serde(rename = "r")]
    pub(crate) request: AuthorizationRequest,

    #[serde(rename = "e")]
    pub(crate) expires_at: Timestamp,
}
