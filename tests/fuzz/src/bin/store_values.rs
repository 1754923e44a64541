//! Values of the session store before decryption, and positions in its listing.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| behalf_auth_sidecar::fuzzing::store_value(data));
