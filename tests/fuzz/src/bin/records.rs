//! Everything that is read after decryption: entries of the session store, and the tokens and codes of clients.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::opened(data));
