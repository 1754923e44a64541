//! Why the id of a client is refused.

/// Why a client id is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It is neither static nor sealed by this server.
    #[error("the client is not registered here; remove its saved client id so that it registers again")]
    Unknown,

    /// The administrator's configuration does not allow this client.
    #[error("the administrator of this server does not allow this client")]
    Refused,

    /// Its metadata document cannot be read or used. The cause is in the log alone.
    #[error(
        "the metadata document of the client cannot be used; an administrator finds the cause in the log of this server"
    )]
    Document,

    /// Too many metadata documents were fetched.
    #[error("too many metadata documents are fetched at the moment; try again in a few seconds")]
    Busy,

    /// The keyring file of this Pod does not contain its key yet. A key rotation is in progress.
    #[error("the client cannot be looked up at the moment; try again in a minute or two")]
    Unavailable,
}
