//! `WWW-Authenticate` of the protected resource (RFC 6750, section 3; RFC 9728, section 5.1).

use axum::http::HeaderValue;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::access::Scopes;
use crate::http::public_url::Addresses;

/// Writes the challenges of one server.
#[derive(Clone, Debug)]
pub struct Challenger {
    metadata: String,
    offered: Scopes,
}

impl Challenger {
    /// Creates challenges that name the metadata at `addresses` and request the scopes in `offered`.
    pub fn new(addresses: &Addresses, offered: Scopes) -> Self {
        Self {
            metadata: addresses.resource_metadata(),
            offered,
        }
    }

    /// 401 without an error code: the request carries no token.
    pub fn sign_in(&self) -> HeaderValue {
        self.value(None, self.offered)
    }

    /// 401: the access token is not valid, or Entra requires a new sign-in.
    pub fn invalid_token(&self) -> HeaderValue {
        self.value(Some("invalid_token"), self.offered)
    }

    /// 403: the session lacks a scope. `needed` contains every scope that the call needs: clients request
    /// exactly these, or the union with the scopes that they have.
    pub fn insufficient_scope(&self, needed: Scopes) -> HeaderValue {
        self.value(Some("insufficient_scope"), needed)
    }

    /// 401: Entra demands these claims of the client's next token. The form is that of Entra's own APIs.
    pub fn insufficient_claims(&self, claims: &str) -> HeaderValue {
        let claims = BASE64.encode(claims);
        let metadata = &self.metadata;
        let value = format!(
            "Bearer error=\"insufficient_claims\", claims=\"{claims}\", resource_metadata=\"{metadata}\""
        );
        HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }

    fn value(&self, error: Option<&str>, scope: Scopes) -> HeaderValue {
        let error = error.map_or_else(String::new, |error| format!("error=\"{error}\", "));
        let metadata = &self.metadata;
        let value = format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"{scope}\"");
        // URLs are ASCII, so that this is always a header value.
        HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn names_the_metadata_and_the_scope() {
        let addresses = Addresses::new(&Url::parse("https://mcp.contoso.example").unwrap());
        let challenger = Challenger::new(&addresses, Scopes::READ);
        let metadata =
            "resource_metadata=\"https://mcp.contoso.example/.well-known/oauth-protected-resource/mcp\"";
        assert_eq!(
            challenger.sign_in(),
            format!("Bearer {metadata}, scope=\"mcp:read\"")
        );
        assert_eq!(
            challenger.invalid_token(),
            format!("Bearer error=\"invalid_token\", {metadata}, scope=\"mcp:read\"")
        );
        assert_eq!(
            challenger.insufficient_scope(Scopes::ALL),
            format!("Bearer error=\"insufficient_scope\", {metadata}, scope=\"mcp:read mcp:run\"")
        );
    }
}
