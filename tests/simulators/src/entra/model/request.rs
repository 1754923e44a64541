//! The kinds of requests.

use serde::{Deserialize, Serialize};

/// The kinds of requests that the simulator distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RequestKind {
    /// The discovery document.
    Discovery,
    /// The key set.
    Keys,
    /// `GET /authorize`: the sign-in page.
    Authorize,
    /// A form of the sign-in or consent page.
    SignIn,
    /// Token request, `authorization_code`.
    AuthorizationCode,
    /// Token request, `refresh_token`.
    RefreshToken,
    /// Token request, On-Behalf-Of.
    OnBehalfOf,
    /// Token request, `client_credentials`.
    ClientCredentials,
    /// Token request without a known `grant_type`.
    OtherGrant,
}

impl RequestKind {
    /// Every token request that Behalf makes.
    pub const TOKEN: [Self; 4] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::OnBehalfOf,
        Self::ClientCredentials,
    ];

    /// Whether it went to the token endpoint.
    pub fn is_token(self) -> bool {
        self == Self::OtherGrant || Self::TOKEN.contains(&self)
    }
}
