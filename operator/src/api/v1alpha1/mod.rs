//! `behalf.dev/v1alpha1`.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are what kubectl explain prints, where backticks are noise"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "printer columns repeat the keys of #[kube(printcolumn(..))]"
)]

pub mod conditions;
mod schema;
mod spec;
mod status;

pub use spec::{
    AzureDevOps, AzureDevOpsEndpoints, CREDENTIALS_SUFFIX, CertificateAuthorityRef, Clients, Consent,
    Container, DurationText, DynamicRegistration, Egress, Entra, EntraTokens, EntraTokensPolicy,
    ExchangePlace, Federation, GatewayRoute, Injection, Internet, KEYS_SUFFIX, KeyringSecretRef, Keys,
    KeysType, LogLevel, ManagedKeys, McpServer, McpServerSpec, MetadataDocuments, MetadataDocumentsPolicy,
    Network, NetworkPolicyMode, ParentRef, PodSettings, Redis, RedisAuth, RedisAuthType, RedisEntra,
    RedisSecret, RedisSecretRef, RedisTopology, Resources, Revocations, RevokedUser, Route, SecretKeys,
    Server, Sessions, Sidecar, StaticClient, Store, StoreType, TokenExchange, Toolset, Tracing,
    VendorRedirects,
};
/// An `McpServer` as it is watched: an object that cannot be decoded does not stop the watch.
pub type Guarded = kube::core::DeserializeGuard<McpServer>;

pub use status::{
    Address, FederationStatus, KeysStatus, MAX_KEYS, MAX_REQUEST_LENGTH, McpServerStatus, RetiringKey,
    ServerInfo,
};
