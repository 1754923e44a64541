//! The summary of a session: what an administrator may list. It is sealed with the keyring alone.
//!
//! The value of a session in the store is its summary, its record and the user's tokens, so that all are written, moved and
//! removed in one step. Record and tokens open only with the session's secret; the summary contains no token and no secret.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::later;
use super::record::Record;
use crate::client_label::registered_label;
use crate::session_id::SessionId;

/// Maximum length of a client id that a summary contains, as the address of a metadata document may be long.
const MAX_CLIENT_ID: usize = 128;

/// The summary of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Summary {
    /// The session, so that a store cannot exchange the summaries of two sessions.
    #[serde(rename = "i")]
    pub(super) id: SessionId,

    /// Object id of the user.
    #[serde(rename = "u")]
    pub(super) user: String,

    /// The client id, or the label of a client that registered itself. `None` for a long id.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,

    /// The name of the client. Any client can choose any name.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub(super) client_name: Option<String>,

    /// Time of the login.
    #[serde(rename = "l", with = "jiff::fmt::serde::timestamp::second::required")]
    pub(super) signed_in_at: Timestamp,

    /// Time of the last write of the record.
    #[serde(rename = "w", with = "jiff::fmt::serde::timestamp::second::required")]
    pub(super) written_at: Timestamp,

    /// Latest end of the session.
    #[serde(rename = "e", with = "jiff::fmt::serde::timestamp::second::required")]
    pub(super) ends_at: Timestamp,

    /// The client has redeemed the code.
    #[serde(rename = "r")]
    pub(super) is_redeemed: bool,
}

impl Summary {
    pub(super) fn new(id: &SessionId, record: &Record, now: Timestamp) -> Self {
        let short = || Some(record.client_id.clone()).filter(|id| id.len() <= MAX_CLIENT_ID);
        Self {
            id: *id,
            user: record.user.oid.clone(),
            client_id: registered_label(&record.client_id).or_else(short),
            client_name: record.client_name.clone(),
            signed_in_at: record.signed_in_at,
            written_at: now,
            ends_at: record.ends_at,
            is_redeemed: record.family.is_some(),
        }
    }

    /// The end of the second in which the user signed in. A revocation within this second may be earlier than the sign-in.
    pub(super) fn signed_in_before(&self) -> Timestamp {
        later(self.signed_in_at, SignedDuration::from_nanos(999_999_999))
    }
}

/// The sealed parts of a session's value in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SealedSession<'a> {
    pub(super) summary: &'a str,
    pub(super) record: &'a [u8],

    /// The user's tokens.
    pub(super) tokens: &'a [u8],
}

impl<'a> SealedSession<'a> {
    /// Joins the parts to the value of one entry. The lengths of the summary and of the record stand in front of them.
    pub(super) fn join(self) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(4 + self.summary.len() + self.record.len() + self.tokens.len());
        for part in [self.summary.as_bytes(), self.record] {
            value.extend_from_slice(&u16::try_from(part.len()).ok()?.to_be_bytes());
            value.extend_from_slice(part);
        }
        value.extend_from_slice(self.tokens);
        Some(value)
    }

    /// Splits a value. `None` for a value of another form.
    pub(super) fn of(value: &'a [u8]) -> Option<Self> {
        let (summary, rest) = split_part(value)?;
        let (record, tokens) = split_part(rest)?;
        Some(Self {
            summary: std::str::from_utf8(summary).ok()?,
            record,
            tokens,
        })
    }
}

/// Returns the first part, and the bytes after it.
fn split_part(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = value.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use behalf_entra::UserIdentity;

    use super::*;
    use crate::access::Scopes;
    use crate::keys::SystemRandom;

    fn client_of(client_id: &str) -> Option<String> {
        let record = Record {
            user: UserIdentity {
                tid: "t".to_owned(),
                oid: "o".to_owned(),
            },
            client_id: client_id.to_owned(),
            client_name: None,
            scopes: Scopes::ALL,
            signed_in_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::UNIX_EPOCH,
            family: None,
            sign_in_required: false,
            step_up_until: None,
            refused: None,
        };
        Summary::new(
            &SessionId::generate(&SystemRandom),
            &record,
            Timestamp::UNIX_EPOCH,
        )
        .client_id
    }

    #[test]
    fn a_client_id_of_more_than_128_bytes_is_left_out() {
        let longest = "a".repeat(MAX_CLIENT_ID);
        assert_eq!(client_of(&longest), Some(longest.clone()));
        assert_eq!(client_of(&format!("{longest}a")), None);
    }

    #[test]
    fn a_value_splits_into_its_parts() {
        for (summary, record, tokens) in [("summary", &b"\xffrecord"[..], &b"\0tokens"[..]), ("", b"", b"")] {
            let parts = SealedSession {
                summary,
                record,
                tokens,
            };
            assert_eq!(SealedSession::of(&parts.join().unwrap()), Some(parts));
        }
    }

    #[test]
    fn other_values_do_not_split() {
        for value in [
            &b""[..],
            b"\x00",
            b"\x00\x02a",
            b"\x00\x01\xff\0\0",
            b"\0\x01a\0\x02b",
        ] {
            assert_eq!(SealedSession::of(value), None, "{value:?}");
        }
        let long = "a".repeat(usize::from(u16::MAX) + 1);
        let parts = SealedSession {
            summary: "",
            record: b"",
            tokens: b"",
        };
        assert!(
            SealedSession {
                summary: &long,
                ..parts
            }
            .join()
            .is_none()
        );
        assert!(
            SealedSession {
                record: long.as_bytes(),
                ..parts
            }
            .join()
            .is_none()
        );
    }
}
