//! App registrations and their federated credentials.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use url::Url;

use crate::entra::jwt::Unverified;

/// Audience of every federated credential (entra.md section 1).
pub const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";

/// One app registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent switches of one registration"
)]
pub struct Application {
    /// Application (client) id, a GUID.
    pub client_id: String,

    /// Name on the sign-in page.
    pub display_name: String,

    /// Object id of the service principal: `oid` of app-only tokens.
    pub service_principal_object_id: String,

    /// False: 7000112.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// True: the redirect URI is on a public platform, so assertions are refused with 700025.
    #[serde(default)]
    pub public_client: bool,

    /// Compared as whole strings. Entra's freedom of the port on `http://localhost` is not modelled.
    #[serde(default)]
    pub redirect_uris: Vec<String>,

    /// At most 20, each issuer and subject once.
    #[serde(default)]
    pub federated_credentials: Vec<FederatedCredential>,

    /// Whether a user must be assigned (50105), and the application to itself (501051).
    #[serde(default = "yes")]
    pub assignment_required: bool,

    /// `api.requestedAccessTokenVersion`: 2, or 1 for the older shape.
    #[serde(default = "version_two")]
    pub access_token_version: u8,

    /// Whether Azure DevOps' `user_impersonation` is declared; without it 650057.
    #[serde(default = "yes")]
    pub azure_devops_permission: bool,

    /// Whether a user may consent alone; otherwise the sign-in page ends with 90094.
    #[serde(default = "yes")]
    pub user_consent_allowed: bool,
}

impl Application {
    /// A registration as entra.md section 9 asks for, still without redirect URI and credential.
    pub fn new(client_id: &str, display_name: &str, service_principal_object_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            display_name: display_name.to_owned(),
            service_principal_object_id: service_principal_object_id.to_owned(),
            enabled: true,
            public_client: false,
            redirect_uris: Vec::new(),
            federated_credentials: Vec::new(),
            assignment_required: true,
            access_token_version: 2,
            azure_devops_permission: true,
            user_consent_allowed: true,
        }
    }
}

/// A federated identity credential: an exact, case-sensitive triple.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FederatedCredential {
    /// `iss` of the assertion; a trailing slash counts.
    pub issuer: String,

    /// `sub` of the assertion: `system:serviceaccount:<namespace>:<name>`.
    pub subject: String,

    /// `aud` of the assertion.
    #[serde(default = "federated_audience")]
    pub audience: String,
}

impl FederatedCredential {
    /// A credential with the usual audience.
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            subject: subject.into(),
            audience: federated_audience(),
        }
    }
}

/// Access to one issuer's discovery document and keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerAccess {
    /// The issuer exactly as tokens name it.
    pub issuer: String,

    /// The address to fetch from, if the issuer's own name does not lead to it from the simulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Url>,

    /// PEM file of a certificate authority to trust for it, beside the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_file: Option<PathBuf>,

    /// File with a bearer token to show, read on every use: a cluster's API server asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
}

impl IssuerAccess {
    /// The cluster this process runs in, if it runs in a Pod: its own `ServiceAccount` token names the
    /// issuer, and the API server answers for it to each client that shows such a token.
    pub fn of_own_cluster() -> Option<Self> {
        let mounted = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        let bearer_token_file = mounted.join("token");
        let token = std::fs::read_to_string(&bearer_token_file).ok()?;
        Some(Self {
            issuer: Unverified::parse(token.trim())?.text("iss").to_owned(),
            base: Url::parse("https://kubernetes.default.svc").ok(),
            certificate_authority_file: Some(mounted.join("ca.crt")),
            bearer_token_file: Some(bearer_token_file),
        })
    }
}

fn yes() -> bool {
    true
}

fn version_two() -> u8 {
    2
}

fn federated_audience() -> String {
    FEDERATED_AUDIENCE.to_owned()
}
