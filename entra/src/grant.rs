//! The four token requests as form fields.

use crate::client_pause::RequestKind;
use crate::error::EntraError;
use crate::secret::Secret;

const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// The redemption of an authorization code.
#[derive(Clone, Copy, Debug)]
pub struct CodeGrant<'a> {
    /// The code that Entra sent to the callback.
    pub code: &'a Secret,

    /// The redirect URI of the authorize request, unchanged.
    pub redirect_uri: &'a str,

    /// The PKCE verifier of the challenge in the authorize request.
    pub code_verifier: &'a Secret,

    /// The scope of the authorize request.
    pub scope: &'a str,
}

/// One of the four token requests.
#[derive(Clone, Copy)]
pub(crate) enum Grant<'a> {
    Code(CodeGrant<'a>),
    Refresh {
        refresh_token: &'a Secret,
        scope: &'a str,
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
    /// Returns the form fields. There is no `client_secret`, and no `resource`: Entra refuses the resource that MCP
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
            Self::Refresh { refresh_token, scope } => {
                form.extend([
                    ("grant_type", "refresh_token"),
                    ("refresh_token", refresh_token.expose()),
                    ("scope", scope),
                ]);
                None
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

    /// True if the request may be sent again after this error.
    ///
    /// A code is valid for one request. It is sent again only when Entra certainly did not process it
    /// (AADSTS54005 otherwise). All other grants are not sent again after 429: that begins the pause of the
    /// whole process (see [`crate::client_pause::ClientPause`]).
    pub(crate) fn may_be_repeated(self, error: &EntraError) -> bool {
        match self {
            Self::Code(_) => match error {
                EntraError::Unreachable(source) => source.is_connect(),
                EntraError::Throttled { .. } | EntraError::Unavailable { status: 503, .. } => true,
                _ => false,
            },
            Self::Refresh { .. } | Self::OnBehalfOf { .. } | Self::ClientCredentials { .. } => {
                !matches!(error, EntraError::Throttled { .. })
            }
        }
    }

    /// Returns the kind of the request, on which the client's pauses depend.
    pub(crate) fn kind(self) -> RequestKind {
        match self {
            Self::Code(_) => RequestKind::Code,
            Self::Refresh { .. } | Self::OnBehalfOf { .. } => RequestKind::User,
            Self::ClientCredentials { .. } => RequestKind::Application,
        }
    }

    /// Returns the grant's name for logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Code(_) => "authorization_code",
            Self::Refresh { .. } => "refresh_token",
            Self::OnBehalfOf { .. } => "on_behalf_of",
            Self::ClientCredentials { .. } => "client_credentials",
        }
    }
}
