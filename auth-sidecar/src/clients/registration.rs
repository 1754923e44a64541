//! Dynamic client registration (RFC 7591).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::metadata::{MAX_NAME_BYTES, uses_code_grant};
use super::redirect_uri::RedirectUriError;
use super::{Clients, SealedRegistration};
use crate::keys::Purpose;

/// Maximum number of redirect URIs of one client. Known clients register at most three.
const MAX_REDIRECT_URIS: usize = 10;

/// The metadata that a client sends. Fields without a meaning for this server are neither read nor returned:
/// the response contains the registered metadata only (RFC 7591, section 3.2.1).
#[derive(Clone, Debug, Deserialize)]
pub struct RegistrationRequest {
    /// The redirect URIs that may receive codes.
    #[serde(default)]
    pub redirect_uris: Vec<String>,

    /// The name that the consent page shows.
    pub client_name: Option<String>,

    /// `native` or `web`. It is not enforced, because known clients do not use it consistently.
    pub application_type: Option<String>,

    /// If present, it must contain `authorization_code`.
    pub grant_types: Option<Vec<String>>,

    /// If present, it must contain `code`.
    pub response_types: Option<Vec<String>>,
}

/// The answer to a registration.
#[derive(Clone, Debug, Serialize)]
pub struct Registered {
    /// The sealed registration. It does not expire.
    pub client_id: String,

    /// Seconds since 1970.
    pub client_id_issued_at: i64,

    /// Absent if the client sent no name or an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,

    /// The value that the client sent, if it is known. It is not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,

    /// The redirect URIs that the client sent.
    pub redirect_uris: Vec<String>,

    /// Always `none`: clients that register themselves are public clients and cannot keep a secret.
    pub token_endpoint_auth_method: &'static str,

    /// The grant types of every client.
    pub grant_types: [&'static str; 2],

    /// The response types of every client.
    pub response_types: [&'static str; 1],
}

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// `invalid_redirect_uri`: one URI violates a rule.
    #[error("redirect_uris[{index}] {reason}")]
    RedirectUri {
        /// Position of the URI in the request.
        index: usize,

        /// The rule that the URI violates.
        reason: RedirectUriError,
    },

    /// `invalid_redirect_uri`: no URI, or too many.
    #[error("redirect_uris must contain between 1 and {MAX_REDIRECT_URIS} URIs")]
    RedirectUris,

    /// `invalid_client_metadata`: the name is too long.
    #[error("client_name must be at most {MAX_NAME_BYTES} bytes long")]
    Name,

    /// `invalid_client_metadata`: the client does not use the authorization code grant.
    #[error("grant_types must contain authorization_code, and response_types must contain code")]
    Grants,

    /// `invalid_client_metadata`: the sealed id would exceed 1 KiB, the limit for ids in URLs.
    #[error("name and redirect URIs together are too long; register fewer redirect URIs")]
    TooLong,

    /// A budget of registrations is used up: 429.
    #[error("too many clients register at the moment; try again in a few seconds")]
    Busy,
}

impl Clients {
    /// Registers the client that called from `address`. Validates its metadata, and seals it into a client id.
    /// Only a registration that succeeds counts against the limit.
    pub fn register(
        &self,
        request: RegistrationRequest,
        address: Option<IpAddr>,
    ) -> Result<Registered, RegistrationError> {
        let now = self.clock.now();
        if !(1..=MAX_REDIRECT_URIS).contains(&request.redirect_uris.len()) {
            return Err(RegistrationError::RedirectUris);
        }
        for (index, uri) in request.redirect_uris.iter().enumerate() {
            self.redirects
                .check(uri)
                .map_err(|reason| RegistrationError::RedirectUri { index, reason })?;
        }
        let name = request.client_name.filter(|name| !name.trim().is_empty());
        if name.as_ref().is_some_and(|name| name.len() > MAX_NAME_BYTES) {
            return Err(RegistrationError::Name);
        }
        if !uses_code_grant(request.grant_types.as_deref(), request.response_types.as_deref()) {
            return Err(RegistrationError::Grants);
        }
        if !self.registrations.try_charge(address, now) {
            return Err(RegistrationError::Busy);
        }
        let sealed = SealedRegistration {
            name,
            redirect_uris: request.redirect_uris,
            issued_at: now,
        };
        let client_id = self
            .keyring
            .seal(Purpose::Client, &sealed)
            .ok()
            .filter(|id| id.len() <= Purpose::Client.max_length());
        let Some(client_id) = client_id else {
            self.registrations.refund(address);
            return Err(RegistrationError::TooLong);
        };
        Ok(Registered {
            client_id,
            client_id_issued_at: now.as_second(),
            client_name: sealed.name,
            application_type: request
                .application_type
                .filter(|kind| matches!(&**kind, "native" | "web")),
            redirect_uris: sealed.redirect_uris,
            token_endpoint_auth_method: "none",
            grant_types: ["authorization_code", "refresh_token"],
            response_types: ["code"],
        })
    }
}
