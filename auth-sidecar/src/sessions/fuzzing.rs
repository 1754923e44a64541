//! Fuzzes the formats of records, of the values that contain them, and of everything else that is read after it was opened.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use jiff::Timestamp;

use super::SessionId;
use super::grant::{Code, Grant};
use super::record::{Record, tokens_from_bytes, tokens_to_bytes};
use super::session_limit::SessionList;
use super::shared_downstream::DownstreamEntry;
use super::sign_in_again::Pending;
use super::summary::{SealedSession, Summary};

/// A record, and tokens, that can be read are equal after they were written and read again.
pub fn record(data: &[u8]) {
    if let Some((record, user_token)) = Record::from_bytes(data) {
        let written = record.to_bytes(&user_token).expect("a record can be written");
        let (again, user_token) = Record::from_bytes(&written).expect("a written record can be read");
        let written_again = again.to_bytes(&user_token).expect("a record can be written");
        assert_eq!(written, written_again);
    }
    let read = |data: &[u8]| tokens_from_bytes(data, Timestamp::UNIX_EPOCH);
    if let Some(tokens) = read(data) {
        let written = tokens_to_bytes(&tokens).expect("tokens can be written");
        let again = read(&written).expect("written tokens can be read");
        let written_again = tokens_to_bytes(&again).expect("tokens can be written");
        assert_eq!(*written, *written_again);
    }
}

/// The content of a client's token that can be read is the same when it is written again.
pub fn grant(data: &[u8]) {
    if let Some(grant) = Grant::from_bytes(data) {
        let written = grant.to_bytes();
        // The time of expiry has milliseconds, and that of issue seconds: nothing is rounded.
        assert_eq!(*written, data);
    }
}

/// Content in JSON that can be read is equal after it was written and read again.
macro_rules! survives {
    ($content:ty, $data:expr) => {
        if let Ok(content) = serde_json::from_slice::<$content>($data) {
            let written = serde_json::to_vec(&content).expect("the content can be written");
            let again: $content = serde_json::from_slice(&written).expect("written content can be read");
            let written_again = serde_json::to_vec(&again).expect("the content can be written");
            assert_eq!(written, written_again);
        }
    };
}

/// The contents in JSON: codes, summaries, downstream tokens, lists of a user's sessions, and requirements for a login.
pub fn json_content(data: &[u8]) {
    survives!(Code, data);
    survives!(Summary, data);
    survives!(DownstreamEntry<'_>, data);
    survives!(SessionList<Vec<SessionId>>, data);
    survives!(Pending, data);
}

/// A value of the store that splits into its parts is the same when they are joined again.
pub fn value(data: &[u8]) {
    if let Some(parts) = SealedSession::of(data) {
        let joined = parts.join().expect("the parts of a value are short");
        assert_eq!(joined, data);
    }
}
