//! An approved authorization request while the user signs in at Entra. Each one is sealed in a cookie of its own,
//! which only the approval sets.

use behalf_entra::Secret;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

use super::cookies::Cookies;
use super::request::AuthorizationRequest;
use crate::base64url::is_base64url_of;
use crate::keys::{KeyringHandle, OpenError, Purpose, Random, SealError, random_bytes};
use crate::pkce;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// Maximum time of a sign-in at Entra. The error page names ten minutes.
pub(crate) const FLOW_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Lifetime of the cookie in the browser. It exceeds [`FLOW_LIFETIME`], so that the callback can distinguish a slow
/// sign-in from one of another browser.
pub(crate) const FLOW_COOKIE_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Maximum number of sign-ins in progress in one browser. The browser sends all their cookies with every request,
/// and proxies limit the size of a request's head.
const MAX_FLOWS: usize = 4;

/// Prefix of the names of flow cookies. Browsers accept a `__Host-` cookie only from this host and over a secure
/// connection (RFC 6265bis, section 4.1.3.2).
const PREFIX: &str = "__Host-behalf-flow-";

/// Length of a handle in bytes.
const HANDLE_LENGTH: usize = 16;

/// A request that the user approved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ApprovedRequest {
    /// The `state` of the request to Entra: a random handle, which is useless without the cookie.
    #[serde(rename = "i")]
    pub(crate) handle: String,

    #[serde(rename = "r")]
    pub(crate) request: AuthorizationRequest,

    /// The PKCE verifier of the request to Entra. It is not the client's verifier.
    #[serde(rename = "v", serialize_with = "expose")]
    pub(crate) verifier: Secret,

    /// The nonce that Entra must return in the id token.
    #[serde(rename = "n")]
    pub(crate) nonce: String,

    #[serde(rename = "e")]
    pub(crate) expires_at: Timestamp,

    /// True after the sidecar sent the user back to Entra once, with Entra's requirements for the login.
    #[serde(rename = "a", default)]
    pub(crate) is_second_sign_in: bool,

    /// True if the user did not see the consent page, because the browser remembers an approval. The callback checks
    /// that it is the approval of the user who signed in.
    #[serde(rename = "m", default)]
    pub(crate) remembered: bool,
}

/// The result of looking up a callback's `state`.
#[derive(Debug)]
pub(crate) enum Found {
    /// The request that this browser's user approved.
    Approved(Box<ApprovedRequest>),

    /// The user approved it in this browser, longer than ten minutes ago.
    Expired,

    /// This browser did not start the sign-in, or the callback was used already.
    Nothing,
}

fn expose<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

impl ApprovedRequest {
    /// Creates the state of a new sign-in at Entra.
    pub(crate) fn new(
        request: AuthorizationRequest,
        is_second_sign_in: bool,
        now: Timestamp,
        random: &dyn Random,
    ) -> Self {
        Self {
            handle: BASE64URL.encode(random_bytes::<HANDLE_LENGTH>(random)),
            request,
            verifier: pkce::new_verifier(random),
            nonce: BASE64URL.encode(random_bytes::<16>(random)),
            expires_at: now.checked_add(FLOW_LIFETIME).unwrap_or(Timestamp::MAX),
            is_second_sign_in,
            remembered: false,
        }
    }

    /// Marks a request whose approval the browser remembers.
    pub(crate) fn remembered(self, remembered: bool) -> Self {
        Self { remembered, ..self }
    }

    /// Returns the name of the flow cookie.
    pub(crate) fn cookie_name(&self) -> String {
        format!("{PREFIX}{}", self.handle)
    }

    /// Returns the value of the flow cookie. Fails if client id, redirect URI and state together are too long for a
    /// cookie.
    pub(crate) fn seal(&self, keyring: &KeyringHandle) -> Result<String, SealError> {
        let sealed = keyring.seal(Purpose::Flow, self)?;
        if sealed.len() > Purpose::Flow.max_length() {
            return Err(SealError);
        }
        Ok(sealed)
    }

    /// Looks up the approved request with the handle `state` in the browser's cookies.
    pub(crate) fn find(
        state: &str,
        cookies: &Cookies<'_>,
        keyring: &KeyringHandle,
        now: Timestamp,
    ) -> Result<Found, OpenError> {
        if !is_base64url_of(HANDLE_LENGTH, state) {
            return Ok(Found::Nothing);
        }
        let Some(value) = cookies.get(&format!("{PREFIX}{state}")) else {
            return Ok(Found::Nothing);
        };
        let approved = match keyring.open::<Self>(Purpose::Flow, value) {
            Ok(approved) => approved,
            Err(
                error @ OpenError::UnknownKey {
                    rotation_pending: true,
                },
            ) => return Err(error),
            Err(_) => return Ok(Found::Nothing),
        };
        let is_it = bool::from(approved.handle.as_bytes().ct_eq(state.as_bytes()));
        Ok(if !is_it {
            Found::Nothing
        } else if approved.expires_at > now {
            Found::Approved(Box::new(approved))
        } else {
            Found::Expired
        })
    }
}

/// Returns the names of the flow cookies to remove before another one is set: those that do not open or have
/// expired, and the oldest ones beyond the limit.
pub(crate) fn flow_cookies(cookies: &Cookies<'_>, keyring: &KeyringHandle, now: Timestamp) -> Vec<String> {
    let mut living = Vec::new();
    let mut surplus = Vec::new();
    for (name, value) in cookies.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        match keyring.open::<ApprovedRequest>(Purpose::Flow, value) {
            Ok(approved) if approved.expires_at > now => living.push((approved.expires_at, name)),
            _ => surplus.push(name.to_owned()),
        }
    }
    living.sort_unstable();
    let too_many = (living.len() + 1).saturating_sub(MAX_FLOWS);
    surplus.extend(living.into_iter().take(too_many).map(|(_, name)| name.to_owned()));
    surplus
}
