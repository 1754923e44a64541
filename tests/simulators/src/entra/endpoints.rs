//! The addresses the simulator goes by.

use serde_json::{Value, json};

use super::failure::Failure;

/// Tenant and base addresses, without trailing slashes.
#[derive(Debug, Clone)]
pub(super) struct Endpoints {
    pub(super) tenant_id: String,
    pub(super) public_base: String,
    pub(super) browser_base: String,
}

impl Endpoints {
    /// `iss` of version 2 tokens.
    pub(super) fn issuer(&self) -> String {
        format!("{}/{}/v2.0", self.public_base, self.tenant_id)
    }

    /// `iss` of version 1 tokens.
    pub(super) fn issuer_v1(&self) -> String {
        format!("https://sts.windows.net/{}/", self.tenant_id)
    }

    /// Refuses requests to a tenant that is not this one.
    pub(super) fn check_tenant(&self, tenant: &str) -> Result<(), Failure> {
        if tenant.eq_ignore_ascii_case(&self.tenant_id) {
            return Ok(());
        }
        if ["common", "organizations", "consumers"].contains(&tenant) {
            return Err(Failure::invalid_request(
                50_194,
                format!(
                    "The application is not configured as a multi-tenant application. Usage of the /{tenant} endpoint is not supported."
                ),
            ));
        }
        Err(Failure::invalid_request(
            90_002,
            format!("Tenant '{tenant}' not found."),
        ))
    }

    /// The discovery document: no registration endpoint, no PKCE methods (entra.md section 2).
    pub(super) fn discovery(&self) -> Value {
        let (base, tenant) = (&self.public_base, &self.tenant_id);
        json!({
            "token_endpoint": format!("{base}/{tenant}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": self.issuer(),
            "request_uri_parameter_supported": false,
            "authorization_endpoint":
                format!("{}/{tenant}/oauth2/v2.0/authorize", self.browser_base),
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce",
                "preferred_username", "name", "tid", "ver"],
            "tenant_region_scope": "EU",
            "cloud_instance_name": "microsoftonline.com",
        })
    }
}
