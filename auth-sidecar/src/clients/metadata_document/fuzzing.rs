//! Fuzzes the parser of metadata documents.

#![allow(clippy::expect_used, reason = "a panic is how a fuzz target fails")]

use behalf_contract::json;
use serde_json::{Value, json};

use super::content::Document;

/// Parses `data` as the document at `address`. A document that is accepted names this address and a list of redirect URIs.
pub(in crate::clients) fn document(data: &[u8], address: &str) {
    let Ok(document) = Document::parse(data, address) else {
        return;
    };
    let written = json::parse(data, usize::MAX).expect("a document is JSON").value;
    assert_eq!(written["client_id"], address);
    assert_eq!(written["redirect_uris"], json!(document.redirect_uris));
    if let Some(name) = document.name {
        assert_eq!(written["client_name"], Value::String(name.clone()));
        assert!(!name.trim().is_empty());
    }
    assert!(written.get("client_secret").is_none());
}
