//! The source of random bytes. It is an argument, so that tests can replace it.

/// A source of unpredictable bytes.
pub trait Random: Send + Sync {
    /// Overwrites `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random number generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            tracing::error!(%error, "The operating system returned no random bytes; the process aborts");
            // Without random bytes, keys could be guessed.
            std::process::abort();
        }
    }
}

/// Returns an array of random bytes.
pub(crate) fn random_bytes<const LENGTH: usize>(random: &dyn Random) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    random.fill(&mut bytes);
    bytes
}
