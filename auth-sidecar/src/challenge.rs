//! `WWW-Authenticate` of the protected resource (RFC 6750, section 3; RFC 9728, section 5.1).

use axum::http::HeaderValue;
use url::Url;

use crate::flow::Addresses;
use crate::sessions::Scopes;

/// Why a request was not let through. A request without any token has no error (RFC 6750, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// 401: the session key is not valid, or Entra wants the user.
    InvalidToken,

    /// 403: the session key may not do this.
    InsufficientScope,
}

impl ChallengeError {
    fn as_str(self) -> &'static str {
        match self {
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// What every challenge asks for when nothing else is known: the least.
pub const LEAST: Scopes = Scopes {
    read: true,
    run: false,
};

/// The header's value. `scope` is everything that the operation needs, because clients ask for exactly it.
pub fn challenge(public_url: &Url, error: Option<ChallengeError>, scope: Scopes) -> HeaderValue {
    let metadata = Addresses::new(public_url).resource_metadata();
    let error = error.map_or_else(String::new, |error| format!("error=\"{}\", ", error.as_str()));
    let value = format!("Bearer {error}resource_metadata=\"{metadata}\", scope=\"{scope}\"");
    // URLs are ASCII, so that this is always a header value.
    HeaderValue::from_str(&value).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_metadata_and_the_scope() {
        let url = Url::parse("https://mcp.contoso.example").unwrap();
        let metadata =
            "resource_metadata=\"https://mcp.contoso.example/.well-known/oauth-protected-resource/mcp\"";
        assert_eq!(
            challenge(&url, None, LEAST).to_str().unwrap(),
            format!("Bearer {metadata}, scope=\"mcp:read\"")
        );
        assert_eq!(
            challenge(&url, Some(ChallengeError::InvalidToken), LEAST)
                .to_str()
                .unwrap(),
            format!("Bearer error=\"invalid_token\", {metadata}, scope=\"mcp:read\"")
        );
        assert_eq!(
            challenge(&url, Some(ChallengeError::InsufficientScope), Scopes::ALL)
                .to_str()
                .unwrap(),
            format!("Bearer error=\"insufficient_scope\", {metadata}, scope=\"mcp:read mcp:run\"")
        );
    }
}
