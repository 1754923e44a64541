//! An approved request on its way through Entra: one cookie each, that only the approval sets.

use behalf_entra::Secret;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize, Serializer};
use subtle::ConstantTimeEq as _;

use super::cookies::Cookies;
use super::request::AuthorizationRequest;
use crate::keys::{KeyringHandle, OpenError, Purpose, Random, SealError, random_bytes};
use crate::pkce;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

/// How long a sign-in at Entra may take.
pub(crate) const FLOW_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// Life of the cookie in the browser. It exceeds the time that a sign-in may take, so that the callback can
/// distinguish a slow sign-in from one of another browser.
pub(crate) const FLOW_COOKIE_LIFETIME: SignedDuration = SignedDuration::from_hours(1);

/// Sign-ins that one browser may have under way. Cookies travel with every request, and proxies limit
/// their size.
const MOST_FLOWS: usize = 4;

/// `__Host-`: only this host sets it, only over a secure connection, for the whole host (RFC 6265bis).
const PREFIX: &str = "__Host-behalf-flow-";

/// 128 bits in base64url.
const HANDLE_LENGTH: usize = 22;

/// A request that the user approved.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ApprovedRequest {
    /// `state` towards Entra: a random handle that means nothing without the cookie.
    #[serde(rename = "i")]
    pub(crate) handle: String,

    #[serde(rename = "r")]
    pub(crate) request: AuthorizationRequest,

    /// PKCE towards Entra; not the client's.
    #[serde(rename = "v", serialize_with = "expose")]
    pub(crate) verifier: Secret,

    /// Comes back in the id token.
    #[serde(rename = "n")]
    pub(crate) nonce: String,

    #[serde(rename = "e")]
    pub(crate) expires_at: Timestamp,

    /// The user was sent back to Entra once already, with what it wanted.
    #[serde(rename = "a", default)]
    pub(crate) again: bool,
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
    /// A new trip to Entra.
    pub(crate) fn new(
        request: AuthorizationRequest,
        again: bool,
        now: Timestamp,
        random: &dyn Random,
    ) -> Self {
        Self {
            handle: BASE64URL.encode(random_bytes::<16>(random)),
            request,
            verifier: pkce::new_verifier(random),
            nonce: BASE64URL.encode(random_bytes::<16>(random)),
            expires_at: now.checked_add(FLOW_LIFETIME).unwrap_or(Timestamp::MAX),
            again,
        }
    }

    /// The cookie's name.
    pub(crate) fn cookie_name(&self) -> String {
        format!("{PREFIX}{}", self.handle)
    }

    /// The cookie's value.
    pub(crate) fn seal(&self, keyring: &KeyringHandle) -> Result<String, SealError> {
        keyring.seal(Purpose::Flow, self)
    }

    /// Looks up the approved request with the handle `state` in the browser's cookies.
    pub(crate) fn find(
        state: &str,
        cookies: &Cookies<'_>,
        keyring: &KeyringHandle,
        now: Timestamp,
    ) -> Result<Found, OpenError> {
        let is_handle = state.len() == HANDLE_LENGTH
            && state
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if !is_handle {
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

/// The names of flow cookies to remove, so that one more keeps within the bound: what does not open any
/// more, and the oldest.
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
    let too_many = (living.len() + 1).saturating_sub(MOST_FLOWS);
    surplus.extend(living.into_iter().take(too_many).map(|(_, name)| name.to_owned()));
    surplus
}
