//! JSON of clients and of servers, as the server's hop and the probes parse it.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(parsed) = behalf_contract::json::parse(data, 10_000) {
        assert!(parsed.values <= 10_000);
        let text = std::str::from_utf8(data).expect("JSON is UTF-8");
        assert!(!behalf_contract::json::has_reserved_key(text));
    }
});
