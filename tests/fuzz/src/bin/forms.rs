//! Queries and forms.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::form(data));
