//! The header `Cookie`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::cookies(data));
