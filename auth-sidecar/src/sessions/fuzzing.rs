//! Fuzzes the format of records.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use super::record::Record;

/// A record that can be read is equal after it was written and read again.
pub fn record(data: &[u8]) {
    if let Some(record) = Record::from_bytes(data) {
        let written = record.to_bytes().expect("a record can be written");
        let again = Record::from_bytes(&written).expect("a written record can be read");
        let written_again = again.to_bytes().expect("a record can be written");
        assert_eq!(written, written_again);
    }
}
