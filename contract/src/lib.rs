//! The formats and rules that the parts of Behalf share, and nothing else.
//!
//! The operator writes [`SidecarConfig`], [`ServerConfig`], [`Keyring`] and [`Revocations`]; the auth sidecar and the
//! MCP server read them. The sidecar publishes a [`StatusDocument`]; the operator turns it into conditions.
//! Sidecar and server exchange the headers of [`headers`], both parse messages by the rules of [`json`], and [`mcp`] has the
//! names of the protocol. This crate contains types, and the rules that both sides of a file or a message must follow. It opens
//! no file and no socket, and reads no clock.

mod access;
mod cluster_hosts;
pub mod digest;
mod document_url;
mod egress_proxy;
pub mod endpoints;
mod guid;
pub mod headers;
pub mod json;
mod keyring;
pub mod mcp;
mod memory;
mod object_identity;
mod organization_tenant;
pub mod paths;
pub mod ports;
mod reasons;
mod reauthenticate;
pub mod redirect_uri;
mod registered_client_id;
mod request_id;
mod revocations;
mod server_config;
mod sidecar_config;
mod status;
mod token_exchange;
mod tracing_config;
mod vendor_callbacks;

pub use access::{AccessConfig, BUILT_IN_TOOLS, BuiltInTool, ServerKind, Toolset};
pub use cluster_hosts::{is_inside_cluster, namespace_of_service};
pub use document_url::DocumentUrl;
pub use egress_proxy::{DirectHosts, EgressProxy, EgressProxyError, ProxyAddress};
pub use guid::is_guid;
pub use keyring::{Key, KeyMaterial, Keyring, KeyringError, Keys, is_key_id};
pub use memory::SIDECAR_MEMORY_LIMIT;
pub use object_identity::ObjectIdentity;
pub use organization_tenant::{ORGANIZATION_TENANT_HEADER, OrganizationTenant};
pub use reasons::{EventReason, Reason};
pub use reauthenticate::{Reauthenticate, ReauthenticateError, ReauthenticateReason};
pub use registered_client_id::{
    REGISTERED_CLIENT_LABEL, is_registered_client_id, is_registered_client_label,
};
pub use request_id::RequestId;
pub use revocations::{Revocations, RevokedUser};
pub use server_config::{AzureDevOpsConfig, AzureDevOpsEndpoints, ServerConfig, ServerListen};
pub use sidecar_config::{
    ClientsConfig, Consent, DynamicRegistration, EntraConfig, MetadataDocumentsConfig,
    MetadataDocumentsPolicy, RedisAuthentication, RedisConfig, RedisTopology, SessionsConfig, SidecarConfig,
    SidecarListen, StaticClient, StoreConfig, VendorRedirects,
};
pub use status::{
    FederationReport, HandshakeReport, KeyringReport, Outcome, ServerInfo, SessionsReport, SignInReport,
    StatusDocument, StoreKind, TenantReport,
};
pub use token_exchange::{ExchangePlace, Injection, TokenExchange};
pub use tracing_config::TracingConfig;
