//! RSA keys for tests. Generating one takes a tenth of a second in a debug build, and nearly every test needs
//! two.
//!
//! The private keys are published. Only Behalf's tests and its demo trust them.

/// PKCS #8 private keys of 2,048 bits in PEM, each different from the others.
pub const RSA: [&str; 4] = [
    include_str!("1.pem"),
    include_str!("2.pem"),
    include_str!("3.pem"),
    include_str!("4.pem"),
];
