//! Why the settings of the egress proxy are refused.

/// Why the settings of the proxy are refused. No message contains the address, because it may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressProxyError {
    /// It is no http origin.
    #[error(
        "the address of the proxy (proxy.https) must be http://<host>:<port> without path: programs reach https addresses \
         with CONNECT, inside of which TLS protects what they send"
    )]
    Address,

    /// It contains a user or a password.
    #[error(
        "the address of the proxy (proxy.https) must not contain a user or a password, because configuration is no secret: \
         let the proxy admit the Pods by their network, or name a proxy in the cluster that adds the credentials"
    )]
    Credentials,

    /// It is neither a name nor a network.
    #[error(
        "{0:?} of proxy.noProxy is neither a host (contoso.example, with every name below it), nor .contoso.example (only the \
         names below it), nor an address or a network (10.0.0.0/8): write it in lower case, without scheme, port and *"
    )]
    DirectHosts(String),
}
