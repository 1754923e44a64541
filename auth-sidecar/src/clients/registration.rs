//! Dynamic client registration (RFC 7591).

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::redirect_uri::RedirectUriError;
use super::{Clients, Sealed};
use crate::keys::Purpose;

const MOST_REDIRECT_URIS: usize = 10;
const LONGEST_NAME: usize = 128;

/// What a client says of itself. Fields that mean nothing here are not read, and not echoed: an
/// authorization server returns what it registered (RFC 7591, section 3.2.1).
#[derive(Clone, Debug, Deserialize)]
pub struct RegistrationRequest {
    /// Where codes may go.
    #[serde(default)]
    pub redirect_uris: Vec<String>,

    /// The name that users see.
    pub client_name: Option<String>,

    /// `native` or `web`; not enforced, because clients of the field mix both.
    pub application_type: Option<String>,

    /// Has to contain `authorization_code`, when it is there.
    pub grant_types: Option<Vec<String>>,

    /// Has to contain `code`, when it is there.
    pub response_types: Option<Vec<String>>,
}

/// The answer to a registration.
#[derive(Clone, Debug, Serialize)]
pub struct Registered {
    /// The client's id, for ever.
    pub client_id: String,

    /// Seconds since 1970.
    pub client_id_issued_at: i64,

    /// As registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,

    /// As sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_type: Option<String>,

    /// As registered.
    pub redirect_uris: Vec<String>,

    /// Always `none`: a client that registers itself can keep no secret worth its name.
    pub token_endpoint_auth_method: &'static str,

    /// What every client may use.
    pub grant_types: [&'static str; 2],

    /// What every client may use.
    pub response_types: [&'static str; 1],
}

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// `invalid_redirect_uri`
    #[error("redirect_uris[{index}] {reason}")]
    RedirectUri {
        /// Which of them.
        index: usize,

        /// What is wrong with it.
        reason: RedirectUriError,
    },

    /// `invalid_redirect_uri`: none, or too many.
    #[error("redirect_uris must hold between 1 and {MOST_REDIRECT_URIS} URIs")]
    RedirectUris,

    /// `invalid_client_metadata`
    #[error("client_name must be at most {LONGEST_NAME} bytes long")]
    Name,

    /// `invalid_client_metadata`
    #[error("grant_types must contain authorization_code, and response_types code")]
    Grants,

    /// `invalid_client_metadata`: ids stand in URLs.
    #[error("name and redirect URIs together are too long; register fewer redirect URIs")]
    TooLong,

    /// 429.
    #[error("too many clients register at the moment; try again in a few seconds")]
    Busy,
}

impl Clients {
    /// Registers a client at `address`: checks the metadata that the client sent, and seals it into a client
    /// id. Only a registration that succeeds counts against the limit.
    pub fn register(
        &self,
        request: RegistrationRequest,
        address: Option<IpAddr>,
    ) -> Result<Registered, RegistrationError> {
        let now = self.clock.now();
        if !(1..=MOST_REDIRECT_URIS).contains(&request.redirect_uris.len()) {
            return Err(RegistrationError::RedirectUris);
        }
        for (index, uri) in request.redirect_uris.iter().enumerate() {
            self.redirects
                .check(uri)
                .map_err(|reason| RegistrationError::RedirectUri { index, reason })?;
        }
        let name = request.client_name.filter(|name| !name.trim().is_empty());
        if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
            return Err(RegistrationError::Name);
        }
        let names_all = lists(request.grant_types.as_deref(), "authorization_code")
            && lists(request.response_types.as_deref(), "code");
        if !names_all {
            return Err(RegistrationError::Grants);
        }
        if !self.registrations.admits(address, now) {
            return Err(RegistrationError::Busy);
        }
        let sealed = Sealed {
            name,
            redirect_uris: request.redirect_uris,
            issued_at: now,
        };
        let client_id = self
            .keyring
            .seal(Purpose::Client, &sealed)
            .ok()
            .filter(|id| id.len() <= Purpose::Client.longest())
            .ok_or(RegistrationError::TooLong)?;
        self.registrations.charge(address, now);
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

/// True when `list` is absent or holds `name`. An empty list counts as absent: clients send it for "any".
fn lists(list: Option<&[String]>, name: &str) -> bool {
    list.is_none_or(|list| list.is_empty() || list.iter().any(|entry| entry == name))
}
