//! The stored data of a session, and its format in the store.
//!
//! The user's tokens are apart from the rest of the record, because most calls do not need them: a call looks for its
//! downstream token by the digest of the user token.

use std::borrow::Cow;

use behalf_entra::{Secret, TokenSet, UserIdentity};
use jiff::Timestamp;
use jiff::fmt::serde::timestamp::millisecond;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::packed_token::{pack, unpack};
use super::refresh_rotation::Family;
use crate::access::Scopes;
use crate::keys::SealError;
use crate::token_digest::TokenDigest;

/// Space for serialized tokens of a usual length. A buffer that grows leaves copies of the tokens in memory.
const CAPACITY: usize = 4096;

/// The stored data of a session without the user's tokens, sealed under its secret.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) user: UserIdentity,
    pub(super) client_id: String,

    /// The name that the client chose. It is untrusted text.
    pub(super) client_name: Option<String>,

    pub(super) scopes: Scopes,

    /// Time of the sign-in at Entra.
    pub(super) signed_in_at: Timestamp,

    /// Latest end of the session, even if it is used.
    pub(super) ends_at: Timestamp,

    /// `None` until the code is redeemed.
    pub(super) family: Option<Family>,

    /// Entra requires a new sign-in. Refreshes of this family answer `invalid_grant`.
    pub(super) sign_in_required: bool,

    /// Until this time, one refresh of this family answers `invalid_grant`. That answer sets the value to its
    /// own time. See [`super::step_up`].
    pub(super) step_up_until: Option<Timestamp>,

    /// The last refusal of Entra to renew the tokens.
    pub(super) refused: Option<RenewalRefusal>,
}

/// A refusal of Entra to renew a user's tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RenewalRefusal {
    #[serde(with = "millisecond::required")]
    pub(super) at: Timestamp,

    /// The message to the user when no login helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,

    /// Entra refused to renew, and neither a claim nor consent helps. Open requests and streams of the session end.
    #[serde(rename = "revoked", default)]
    pub(super) ends_answers: bool,
}

/// The digest and the expiry of the user token, as a record contains them.
#[derive(Clone, Copy)]
pub(super) struct UserTokenFacts {
    pub(super) digest: TokenDigest,
    pub(super) expires_at: Timestamp,
}

impl UserTokenFacts {
    pub(super) fn of(tokens: &TokenSet) -> Self {
        Self {
            digest: TokenDigest::of(&tokens.access_token),
            expires_at: tokens.expires_at,
        }
    }

    /// Returns the user's tokens; `None` if they belong to another record (two writers of the same revision use the same
    /// key).
    pub(super) fn read(&self, tokens: &[u8]) -> Option<TokenSet> {
        tokens_from_bytes(tokens, self.expires_at)
            .filter(|tokens| TokenDigest::of(&tokens.access_token) == self.digest)
    }
}

/// The serialized form of a record. The digest of the user token follows it. The names are short and times are milliseconds, because the store keeps
/// one record for each session, and each call that opens a session reads it.
#[derive(Serialize, Deserialize)]
struct StoredRecord<'a> {
    #[serde(rename = "t")]
    tid: Cow<'a, str>,
    #[serde(rename = "o")]
    oid: Cow<'a, str>,
    #[serde(rename = "c")]
    client_id: Cow<'a, str>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    client_name: Option<Cow<'a, str>>,
    #[serde(rename = "s")]
    scopes: Scopes,
    #[serde(rename = "l", with = "millisecond::required")]
    signed_in_at: Timestamp,
    #[serde(rename = "e", with = "millisecond::required")]
    ends_at: Timestamp,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    family: Option<Family>,
    #[serde(rename = "x", with = "millisecond::required")]
    user_token_expires_at: Timestamp,
    #[serde(rename = "q", default, skip_serializing_if = "is_false")]
    sign_in_required: bool,
    #[serde(
        rename = "u",
        default,
        skip_serializing_if = "Option::is_none",
        with = "millisecond::optional"
    )]
    step_up_until: Option<Timestamp>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    refused: Option<RenewalRefusal>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Record {
    /// True if Entra refused the last renewal, and neither a claim nor consent helps.
    pub(super) fn ends_open_answers(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| refused.ends_answers)
    }

    /// Serializes the record and what it says about the user token.
    pub(super) fn to_bytes(&self, user_token: &UserTokenFacts) -> Result<Vec<u8>, SealError> {
        let form = StoredRecord {
            tid: Cow::Borrowed(&self.user.tid),
            oid: Cow::Borrowed(&self.user.oid),
            client_id: Cow::Borrowed(&self.client_id),
            client_name: self.client_name.as_deref().map(Cow::Borrowed),
            scopes: self.scopes,
            signed_in_at: self.signed_in_at,
            ends_at: self.ends_at,
            family: self.family,
            user_token_expires_at: user_token.expires_at,
            sign_in_required: self.sign_in_required,
            step_up_until: self.step_up_until,
            refused: self.refused.clone(),
        };
        let mut bytes = serde_json::to_vec(&form).map_err(|_| SealError)?;
        bytes.extend_from_slice(user_token.digest.as_bytes());
        Ok(bytes)
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<(Self, UserTokenFacts)> {
        let (form, digest) = bytes.split_last_chunk()?;
        let form: StoredRecord<'_> = serde_json::from_slice(form).ok()?;
        let user_token = UserTokenFacts {
            digest: TokenDigest::from_bytes(*digest),
            expires_at: form.user_token_expires_at,
        };
        let record = Self {
            user: UserIdentity {
                tid: form.tid.into_owned(),
                oid: form.oid.into_owned(),
            },
            client_id: form.client_id.into_owned(),
            client_name: form.client_name.map(Cow::into_owned),
            scopes: form.scopes,
            signed_in_at: form.signed_in_at,
            ends_at: form.ends_at,
            family: form.family,
            sign_in_required: form.sign_in_required,
            step_up_until: form.step_up_until,
            refused: form.refused,
        };
        Some((record, user_token))
    }
}

/// Serializes the user's tokens: the user token, and the refresh token or an empty one.
pub(super) fn tokens_to_bytes(tokens: &TokenSet) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(CAPACITY));
    pack(&tokens.access_token, &mut bytes).ok_or(SealError)?;
    match &tokens.refresh_token {
        Some(token) => pack(token, &mut bytes),
        None => pack(&Secret::new(""), &mut bytes),
    }
    .ok_or(SealError)?;
    Ok(bytes)
}

/// Reads the user's tokens. The record has the expiry of the user token.
pub(super) fn tokens_from_bytes(bytes: &[u8], expires_at: Timestamp) -> Option<TokenSet> {
    let (access_token, rest) = unpack(bytes)?;
    let (refresh_token, rest) = unpack(rest)?;
    rest.is_empty().then(|| TokenSet {
        access_token,
        expires_at,
        refresh_token: Some(refresh_token).filter(|token| !token.is_empty()),
        id_token: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(access_token: &str, refresh_token: Option<&str>) -> TokenSet {
        TokenSet {
            access_token: Secret::new(access_token),
            expires_at: Timestamp::UNIX_EPOCH,
            refresh_token: refresh_token.map(Secret::new),
            id_token: Some(Secret::new("left out")),
        }
    }

    #[test]
    fn a_record_is_equal_after_serialization_and_contains_no_token() {
        let record = Record {
            user: UserIdentity {
                tid: "t".to_owned(),
                oid: "o".to_owned(),
            },
            client_id: "c\"1".to_owned(),
            client_name: Some("An editor".to_owned()),
            scopes: Scopes::ALL,
            signed_in_at: "2026-11-27T01:02:03.004Z".parse().unwrap(),
            ends_at: Timestamp::UNIX_EPOCH,
            family: Some(Family::new(Timestamp::UNIX_EPOCH)),
            sign_in_required: true,
            step_up_until: None,
            refused: None,
        };
        let tokens = tokens("the user token", Some("the refresh token"));
        let bytes = record.to_bytes(&UserTokenFacts::of(&tokens)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("the user token") && !text.contains("the refresh token"));
        let (again, user_token) = Record::from_bytes(&bytes).unwrap();
        assert_eq!(
            (&again.user, again.signed_in_at),
            (&record.user, record.signed_in_at)
        );
        assert_eq!(again.client_id, record.client_id);
        assert_eq!(again.client_name, record.client_name);
        assert_eq!(again.family, record.family);
        assert!(again.sign_in_required);
        assert_eq!(again.step_up_until, record.step_up_until);
        assert!(user_token.digest == TokenDigest::of(&tokens.access_token));
        assert_eq!(user_token.expires_at, tokens.expires_at);
    }

    #[test]
    fn a_record_reads_no_tokens_but_its_own() {
        let own = tokens("a", Some("r"));
        let facts = UserTokenFacts::of(&own);
        let read = |tokens: &TokenSet| facts.read(&tokens_to_bytes(tokens).unwrap());
        assert_eq!(read(&own).unwrap().access_token, own.access_token);
        assert!(read(&tokens("b", Some("r"))).is_none());
    }

    #[test]
    fn tokens_are_equal_after_serialization() {
        for refresh_token in [Some("r"), None] {
            let tokens = tokens("a\\b", refresh_token);
            let bytes = tokens_to_bytes(&tokens).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("left out"));
            let again = tokens_from_bytes(&bytes, tokens.expires_at).unwrap();
            assert_eq!(again.access_token, tokens.access_token);
            assert_eq!(again.refresh_token, tokens.refresh_token);
            assert_eq!(again.id_token, None);
        }
    }

    #[test]
    fn the_seeds_of_the_fuzz_target_are_a_record_and_tokens() {
        let seed = include_bytes!("../../../tests/fuzz/seeds/records/record");
        let (record, _) = Record::from_bytes(seed).unwrap();
        assert_eq!(record.scopes, Scopes::ALL);
        let seed = include_bytes!("../../../tests/fuzz/seeds/records/tokens");
        let tokens = tokens_from_bytes(seed, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(
            tokens.access_token,
            Secret::new("eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl")
        );
        assert_eq!(tokens.refresh_token, Some(Secret::new("0.AXkA")));
    }

    #[test]
    fn other_bytes_are_neither_a_record_nor_tokens() {
        let no_json = [b'x'; 40];
        for bytes in [
            &b""[..],
            b"{}",
            b"[1]",
            b"\xff",
            b"\0\0\0\0\0\0{}",
            &no_json,
            &no_json[..32],
        ] {
            assert!(Record::from_bytes(bytes).is_none());
            assert!(tokens_from_bytes(bytes, Timestamp::UNIX_EPOCH).is_none());
        }
    }
}
