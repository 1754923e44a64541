//! Header names of the inner hop, the loopback connection from sidecar to server.

/// Carries the host key from the sidecar to the server on every request. The server compares it in
/// constant time with the file that the sidecar wrote into the Pod's in-memory volume.
pub const HOST_KEY: &str = "x-behalf-host-key";

/// Carries [`crate::Reauthenticate`] from the server to the sidecar beside a 401: the user must sign in
/// again before this call can succeed.
pub const REAUTHENTICATE: &str = "x-behalf-reauthenticate";

/// Names the error beside a 503 of the server, as an OAuth error code (RFC 6749, section 5.2). The only value is
/// [`INVALID_CLIENT`].
pub const ERROR: &str = "x-behalf-error";

/// Value of [`ERROR`]: Entra did not accept the server as the application. The sidecar probes the federation at
/// once.
pub const INVALID_CLIENT: &str = "invalid_client";

/// Prefix of the headers of the inner hop. The sidecar removes such headers from the requests of clients.
pub const RESERVED_PREFIX: &str = "x-behalf-";
