//! The four token requests as form fields.

use crate::error::EntraError;
use crate::secret::Secret;

const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The redemption of an authorization code.
#[derive(Clone, Copy, Debug)]
pub struct CodeGrant<'a> {
    /// The code of the callback.
    pub code: &'a Secret,

    /// The same redirect URI as at authorize, letter by letter.
    pub redirect_uri: &'a str,

    /// The PKCE verifier whose challenge went to authorize.
    pub code_verifier: &'a Secret,

    /// The same scope as at authorize.
    pub scope: &'a str,
}

/// One of the four requests.
#[derive(Clone, Copy)]
pub(crate) enum Grant<'a> {
    Code(CodeGrant<'a>),
    Refresh {
        refresh_token: &'a Secret,
        scope: &'a str,
        claims: Option<&'a str>,
    },
    OnBehalfOf {
        assertion: &'a Secret,
        scope: &'a str,
        claims: Option<&'a str>,
    },
    ClientCredentials {
        scope: &'a str,
    },
}

impl<'a> Grant<'a> {
    /// The whole form. There is no `client_secret`, and no `resource`: Entra refuses the resource that MCP
    /// clients name (AADSTS9010010).
    pub(crate) fn form(
        self,
        client_id: &'a str,
        client_assertion: &'a Secret,
    ) -> Vec<(&'static str, &'a str)> {
        let mut form = vec![
            ("client_id", client_id),
            ("client_assertion_type", CLIENT_ASSERTION_TYPE),
            ("client_assertion", client_assertion.expose()),
        ];
        let claims = match self {
            Self::Code(grant) => {
                form.extend([
                    ("grant_type", "authorization_code"),
                    ("code", grant.code.expose()),
                    ("redirect_uri", grant.redirect_uri),
                    ("code_verifier", grant.code_verifier.expose()),
                    ("scope", grant.scope),
                ]);
                None
            }
            Self::Refresh {
                refresh_token,
                scope,
                claims,
            } => {
                form.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", refresh_token.expose()),
                    ("scope", scope),
                ]);
                claims
            }
            Self::OnBehalfOf {
                assertion,
                scope,
                claims,
            } => {
                form.extend([
                    ("grant_type", ON_BEHALF_OF),
                    ("assertion", assertion.expose()),
                    ("requested_token_use", "on_behalf_of"),
                    ("scope", scope),
                ]);
                claims
            }
            Self::ClientCredentials { scope } => {
                form.extend([("grant_type", "client_credentials"), ("scope", scope)]);
                None
            }
        };
        form.extend(claims.map(|claims| ("claims", claims)));
        form
    }

    /// Whether the request may be sent again after this error. A code is good for one request: it goes out
    /// again only when the first certainly was not processed (AADSTS54005 otherwise).
    pub(crate) fn may_be_repeated(self, error: &EntraError) -> bool {
        match self {
            Self::Code(_) => match error {
                EntraError::Unreachable(source) => source.is_connect(),
                EntraError::Throttled { .. } | EntraError::Unavailable { status: 503, .. } => true,
                _ => false,
            },
            Self::Refresh { .. } | Self::OnBehalfOf { .. } | Self::ClientCredentials { .. } => true,
        }
    }

    /// False for a code: it is valid once and for minutes, and a user waits for it. All other grants wait for
    /// the end of a pause.
    pub(crate) fn can_wait(self) -> bool {
        !matches!(self, Self::Code(_))
    }

    /// The request's name in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Code(_) => "authorization_code",
            Self::Refresh { .. } => "refresh_token",
            Self::OnBehalfOf { .. } => "on_behalf_of",
            Self::ClientCredentials { .. } => "client_credentials",
        }
    }
}
