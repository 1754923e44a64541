//! Fuzzes the parser of metadata documents.

use super::content::Document;

/// Parses `data` as the document at `address`.
pub(in crate::clients) fn document(data: &[u8], address: &str) {
    if let Ok(document) = Document::parse(data, address) {
        assert!(document.name.is_none_or(|name| !name.trim().is_empty()));
    }
}
