//! Fuzzes the texts that a Redis and an administrator's cursor contain.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a fuzz target fails")]

use super::scan::ScanPosition;

/// A position in the listing is the same after it was written and read again.
pub fn scan_position(data: &[u8]) {
    let position = ScanPosition::parse(&String::from_utf8_lossy(data));
    assert_eq!(ScanPosition::parse(&position.to_text()), position);
}
