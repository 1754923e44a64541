//! Forms of an authorization request that the sidecar seals and gives to the browser.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::request::AuthorizationRequest;

/// How long a person may look at the consent page.
pub(crate) const REQUEST_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// A checked request in the form of the consent page.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OfferedRequest {
    #[serde(rename = "r")]
    pub(crate) request: AuthorizationRequest,

    #[serde(rename = "e")]
    pub(crate) expires_at: Timestamp,
}
