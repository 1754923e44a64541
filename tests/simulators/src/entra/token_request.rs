//! A token request, and its successful answer.

use serde::Serialize;

use super::form::Parameters;
use super::model::RequestKind;

/// A successful answer (entra.md section 3.3).
#[derive(Serialize)]
pub(super) struct Granted {
    pub(super) token_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<String>,
    pub(super) expires_in: u64,
    pub(super) ext_expires_in: u64,
    pub(super) access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
}

/// A token request on its way through the checks.
pub(super) struct TokenRequest {
    pub(super) number: u64,
    pub(super) kind: RequestKind,
    pub(super) form: Parameters,
}
