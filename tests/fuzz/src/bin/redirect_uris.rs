//! Redirect URIs: which ones a client may register, and which ones match a registered one.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::redirect_uri(data));
