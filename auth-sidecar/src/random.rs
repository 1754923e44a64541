//! Randomness as an argument.

/// A source of bytes that nobody can predict.
pub trait Random: Send + Sync {
    /// Overwrites `bytes`.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "The operating system gives no random bytes: this process ends");
            // Going on would mean keys that can be guessed.
            std::process::abort();
        }
    }
}

/// An array of random bytes.
pub(crate) fn random_bytes<const LENGTH: usize>(random: &dyn Random) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    random.fill(&mut bytes);
    bytes
}
