//! The random numbers for jitter.

/// Returns a random number of the operating system. If there is none, the work has no jitter, which is
/// harmless.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX / 2)
}
