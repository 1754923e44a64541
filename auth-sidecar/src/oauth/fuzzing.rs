//! Fuzzes what browsers and clients send: cookies, queries and forms.

#![allow(clippy::missing_panics_doc, reason = "a panic is how a fuzz target fails")]

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

use super::login::cookies::Cookies;
use super::login::parameters::Parameters;

/// Only cookies with our prefixes are read.
pub fn cookies(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for part in data.split(|byte| *byte == 0) {
        if let Ok(value) = HeaderValue::from_bytes(part) {
            headers.append(COOKIE, value);
        }
    }
    for (name, value) in Cookies::read(&headers).iter() {
        assert!(name.starts_with("__Host-"), "{name}");
        assert!(!value.contains(';'), "{value}");
    }
}

/// A parameter that occurs twice is never read as one value.
pub fn form(data: &[u8]) {
    if let Ok(parameters) = Parameters::parse(data) {
        for name in ["client_id", "redirect_uri", "code", "state", "scope"] {
            let count = parameters.all(name).count();
            assert_eq!(parameters.one(name).is_ok(), count < 2);
        }
    }
}
