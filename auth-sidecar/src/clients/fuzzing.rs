//! Fuzzes the rules of redirect URIs and client ID metadata documents.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzz target fails"
)]

use behalf_contract::redirect_uri::is_vendor_callback;
use behalf_contract::{DocumentUrl, VendorRedirects};
use url::Url;

use super::denied::Denied;
use super::metadata_document;
use super::redirect_uri::{RedirectRules, is_loopback, matches};

/// A URI that a client may register is at a known host, on this machine, or a vendor's callback. A URI that matches a
/// registered one leads to the same place.
pub fn redirect_uri(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (registered, requested) = text.split_once('\n').unwrap_or((&text, &text));
    for vendors in [VendorRedirects::Disabled, VendorRedirects::Enabled] {
        let rules = RedirectRules::new(vendors, &["client.example".to_owned()], Denied::default());
        if rules.check(registered).is_err() {
            continue;
        }
        let url = Url::parse(registered).expect("an accepted URI is a URL");
        let is_known = url.scheme() == "https" && url.host_str() == Some("client.example");
        let is_vendors = vendors == VendorRedirects::Enabled && is_vendor_callback(&url);
        assert!(is_loopback(&url) || is_known || is_vendors, "{registered}");
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
        if matches(registered, requested) {
            lead_to_the_same_place(&url, requested);
        }
    }
}

fn lead_to_the_same_place(registered: &Url, requested: &str) {
    let other = Url::parse(requested).expect("a matching URI is a URL");
    assert_eq!(
        (
            registered.scheme(),
            registered.host(),
            registered.path(),
            registered.query()
        ),
        (other.scheme(), other.host(), other.path(), other.query())
    );
    assert!(other.username().is_empty() && other.password().is_none() && other.fragment().is_none());
    assert!(
        registered.port() == other.port() || is_loopback(&other),
        "{registered} {requested}"
    );
}

/// A document is refused, or it names its own address, a list of redirect URIs and no secret. An address of a document is
/// https and has no user information.
pub fn client_document(data: &[u8]) {
    const ADDRESS: &str = "https://client.example/c";
    metadata_document::fuzzing::document(data, ADDRESS);
    let text = String::from_utf8_lossy(data);
    if let Some(address) = DocumentUrl::parse(&text) {
        assert!(address.as_str().starts_with("https://"), "{text}");
        let url = Url::parse(address.as_str()).expect("an address is a URL");
        assert_eq!(url.host_str(), Some(address.host()));
        assert!(url.username().is_empty() && url.password().is_none() && url.fragment().is_none());
    }
}
