//! The next step of a caller after a failed request to Entra.

use std::time::Duration;

/// The next step of a caller after an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// The user has to sign in again: 401 to the client, or `invalid_grant` to its refresh.
    SignInAgain {
        /// Claims to send with the next authorize request, once.
        claims: Option<String>,

        /// The next authorize request should carry `prompt=consent`.
        consent: bool,
    },

    /// Signing in does not help: tell the user and stop. See [`crate::EntraError::hint`].
    Blocked,

    /// Entra does not accept this process as the application, or the settings are wrong: an administrator must
    /// act. 503 to the client, and the federation should be probed at once.
    ClientAuthentication,

    /// The failure is temporary: 503 to the client.
    RetryLater {
        /// `Retry-After` of Entra, if it sent one.
        after: Option<Duration>,
    },

    /// The request was wrong: a defect of this project. 502 to the client, and an error in the log.
    OurBug,
}
