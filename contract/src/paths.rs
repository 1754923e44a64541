//! Paths of the files inside a Pod. The operator mounts them, the containers read them.

/// The sidecar's configuration ([`crate::SidecarConfig`], YAML).
pub const SIDECAR_CONFIG: &str = "/etc/behalf/sidecar/sidecar.yaml";

/// The built-in server's configuration ([`crate::ServerConfig`], YAML).
pub const SERVER_CONFIG: &str = "/etc/behalf/server/server.yaml";

/// The extra certificate authorities (PEM) for outgoing calls; reloaded in place.
pub const CERTIFICATE_AUTHORITY: &str = "/etc/behalf/certificate-authority/ca.crt";

/// The revocations ([`crate::Revocations`], JSON); reloaded in place.
pub const REVOCATIONS: &str = "/etc/behalf/revocations/revocations.json";

/// The keyring ([`crate::Keyring`], JSON), from the keyring Secret; reloaded in place.
pub const KEYRING: &str = "/var/run/behalf/keyring/keyring.json";

/// The certificate authorities (PEM) of the session store; reloaded in place.
pub const STORE_CERTIFICATE_AUTHORITY: &str = "/etc/behalf/store-certificate-authority/ca.crt";

/// The user name for the session store, from the Secret that the spec names; reloaded in place.
pub const STORE_USERNAME: &str = "/var/run/behalf/store-credentials/username";

/// The password for the session store, in the same directory; reloaded in place.
pub const STORE_PASSWORD: &str = "/var/run/behalf/store-credentials/password";

/// The host key, in an in-memory volume that is deleted with the Pod.
pub const HOST_KEY: &str = "/var/run/behalf/host-key/host-key";

/// The administration socket of the sidecar, in an in-memory volume of the sidecar alone.
pub const ADMIN_SOCKET: &str = "/var/run/behalf/admin/admin.sock";

/// The projected `ServiceAccount` token. [`FEDERATED_TOKEN_VARIABLE`] contains its path.
pub const FEDERATED_TOKEN: &str = "/var/run/secrets/behalf/federation/token";

/// The environment variable of Azure Workload Identity that names the projected token's file.
pub const FEDERATED_TOKEN_VARIABLE: &str = "AZURE_FEDERATED_TOKEN_FILE";
