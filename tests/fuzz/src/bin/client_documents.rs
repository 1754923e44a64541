//! Client ID metadata documents, and their addresses.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::client_document(data));
