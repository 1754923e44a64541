//! Fuzzes the formats of records and of the values that contain them.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use super::record::Record;
use super::summary;

/// A record that can be read is equal after it was written and read again.
pub fn record(data: &[u8]) {
    if let Some(record) = Record::from_bytes(data) {
        let written = record.to_bytes().expect("a record can be written");
        let again = Record::from_bytes(&written).expect("a written record can be read");
        let written_again = again.to_bytes().expect("a record can be written");
        assert_eq!(written, written_again);
    }
}

/// A value of the store that splits into a summary and a record is the same when they are joined again.
pub fn value(data: &[u8]) {
    if let Some((summary, record)) = summary::split(data) {
        let joined = summary::join(summary, record).expect("a summary of a value is short");
        assert_eq!(joined, data);
    }
}
