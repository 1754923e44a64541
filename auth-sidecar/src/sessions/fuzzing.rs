//! Fuzzes the formats of records and of the values that contain them.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use jiff::Timestamp;

use super::record::{Record, tokens_from_bytes, tokens_to_bytes};
use super::summary::Parts;

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

/// A value of the store that splits into its parts is the same when they are joined again.
pub fn value(data: &[u8]) {
    if let Some(parts) = Parts::of(data) {
        let joined = parts.join().expect("the parts of a value are short");
        assert_eq!(joined, data);
    }
}
