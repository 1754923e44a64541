//! Messages of clients, and the token that the proxy puts into their arguments.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::message(data));
