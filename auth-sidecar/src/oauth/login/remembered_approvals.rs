//! The approvals that a browser remembers with `consent: Remember`, sealed in one cookie.
//!
//! An approval is bound to the user, the client, the redirect URI and the scopes. Before the sign-in at Entra nobody
//! knows the user. `/authorize` therefore skips the consent page if any user approved the request in this browser, and
//! `/callback` shows it after all if another user signed in.

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use behalf_entra::UserIdentity;
use behalf_runtime::digest_of_parts;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::cookies::{self, Cookies};
use super::request::AuthorizationRequest;
use crate::access::Scopes;
use crate::keys::{KeyringHandle, Purpose};

/// An approval is remembered for this long after the user gave it. Its use does not prolong it.
pub(crate) const LIFETIME: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Maximum number of approvals in one browser. The oldest one is forgotten. A cookie has at most 4 KiB.
const MAX_APPROVALS: usize = 12;

/// The approvals of one browser that have not expired, the oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Approvals(Vec<Approval>);

#[derive(Debug, Serialize, Deserialize)]
struct Approval {
    /// Hash of tenant and user.
    #[serde(rename = "u")]
    user: String,

    /// Hash of the client id.
    #[serde(rename = "c")]
    client: String,

    /// Hash of the redirect URI.
    #[serde(rename = "r")]
    redirect_uri: String,

    #[serde(rename = "o")]
    scopes: Scopes,

    #[serde(rename = "e")]
    expires_at: Timestamp,
}

impl Approvals {
    /// Reads the browser's cookie. A cookie that this server did not seal contains no approval.
    pub(crate) fn read(cookies: &Cookies<'_>, keyring: &KeyringHandle, now: Timestamp) -> Self {
        let sealed = cookies.get(cookies::APPROVALS);
        let opened = sealed.and_then(|value| keyring.open::<Self>(Purpose::Consent, value).ok());
        let mut approvals = opened.unwrap_or_default();
        approvals.0.retain(|approval| approval.expires_at > now);
        approvals
    }

    /// True if some user approved this request in this browser.
    pub(crate) fn allow_somebody(&self, request: &AuthorizationRequest) -> bool {
        let covers = covers(request);
        self.0.iter().any(covers)
    }

    /// True if this user approved this request in this browser. An approval whose time `is_revoked` does not count.
    pub(crate) fn allow(
        &self,
        user: &UserIdentity,
        request: &AuthorizationRequest,
        is_revoked: impl Fn(Timestamp) -> bool,
    ) -> bool {
        let user = hash(&[&user.tid, &user.oid]);
        let own = self.0.iter().filter(|approval| approval.user == user);
        let mut valid = own.filter(|approval| !is_revoked(approval.given_at()));
        valid.any(covers(request))
    }

    /// Adds an approval that the user has just given, and returns the value of the cookie. `None` if it cannot be sealed:
    /// the user is then asked again.
    pub(crate) fn add(
        mut self,
        user: &UserIdentity,
        request: &AuthorizationRequest,
        now: Timestamp,
        keyring: &KeyringHandle,
    ) -> Option<String> {
        let approval = Approval {
            user: hash(&[&user.tid, &user.oid]),
            client: hash(&[&request.client_id]),
            redirect_uri: hash(&[&request.redirect_uri]),
            scopes: request.scopes,
            expires_at: now.checked_add(LIFETIME).ok()?,
        };
        let key = |it: &Approval| (it.user.clone(), it.client.clone(), it.redirect_uri.clone());
        self.0.retain(|other| key(other) != key(&approval));
        self.0.push(approval);
        let surplus = self.0.len().saturating_sub(MAX_APPROVALS);
        self.0.drain(..surplus);
        keyring.seal(Purpose::Consent, &self).ok()
    }

    /// Forgets the approvals of this client, of all users of the browser: nobody knows the user who denied it. Returns the
    /// new cookie, or `None` if there is nothing to forget.
    pub(crate) fn forget(mut self, client_id: &str, keyring: &KeyringHandle) -> Option<HeaderValue> {
        let (client, before) = (hash(&[client_id]), self.0.len());
        self.0.retain(|approval| approval.client != client);
        if self.0.len() == before {
            return None;
        }
        let rest = Some(&self).filter(|rest| !rest.0.is_empty());
        match rest.and_then(|rest| keyring.seal(Purpose::Consent, rest).ok()) {
            Some(value) => cookies::set(cookies::APPROVALS, &value, LIFETIME),
            None => cookies::remove(cookies::APPROVALS),
        }
    }
}

impl Approval {
    fn given_at(&self) -> Timestamp {
        self.expires_at.checked_sub(LIFETIME).unwrap_or(Timestamp::MIN)
    }
}

/// Returns a function that is true for an approval of this client, redirect URI and these scopes.
fn covers(request: &AuthorizationRequest) -> impl Fn(&Approval) -> bool {
    let (client, redirect_uri) = (hash(&[&request.client_id]), hash(&[&request.redirect_uri]));
    let scopes = request.scopes;
    move |approval| {
        approval.client == client && approval.redirect_uri == redirect_uri && approval.scopes.contains(scopes)
    }
}

fn hash(parts: &[&str]) -> String {
    BASE64URL.encode(digest_of_parts(parts))
}
