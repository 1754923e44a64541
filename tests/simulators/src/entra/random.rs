//! Random names and values.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Fills `N` bytes. Without a source of randomness the operating system is of no use to a test either.
fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "a machine without randomness cannot run the suite"
    )]
    getrandom::fill(&mut bytes).expect("the operating system gives randomness");
    bytes
}

/// 256 random bits, base64url.
pub(super) fn token() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<32>())
}

/// 128 random bits, base64url.
pub(super) fn short() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

/// A random GUID (RFC 9562 version 4).
pub(super) fn guid() -> String {
    let bits = u128::from_be_bytes(bytes::<16>());
    let bits = bits & !(0xf << 76) | (0x4 << 76);
    let bits = bits & !(0x3 << 62) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!(
        "{}-{}-{}-{}-{}",
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32)
    )
}

/// A number in `low..high`.
pub(super) fn between(low: u64, high: u64) -> u64 {
    low + u64::from_be_bytes(bytes::<8>()) % (high - low)
}
