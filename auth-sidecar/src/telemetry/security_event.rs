//! The kinds of security events, each of which is a value of the label `event` of one counter.

/// A request that indicates an attack or a broken client. Each kind has its own counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityEvent {
    /// A request had an access token that no key opens, or whose session has ended.
    InvalidAccessToken,
    /// A browser page of another origin called `/mcp`.
    ForeignOrigin,
    /// A client sent the reserved argument `bearerToken`.
    ReservedArgument,
    /// A client sent a header of the inner hop.
    ReservedHeader,
    /// The headers that mirror the body (`Mcp-Method` and others) differ from the body.
    HeaderBodyMismatch,
    /// The server answered 401 or 403 although the request had a token.
    ServerRefusal,
    /// A client used a code or refresh token a second time, and its session was ended.
    GrantReused,
    /// A consent form was posted from another page or browser.
    ConsentRefused,
    /// A callback arrived in a browser that did not begin the login.
    ForeignCallback,
    /// Entra's tokens at the end of a login were for another application, tenant or login.
    TokenRejected,
    /// A registration exceeded the limit.
    RegistrationLimited,
    /// More metadata documents of clients were to be fetched than the limit lets through.
    MetadataDocumentsLimited,
    /// More callbacks asked Entra than the limit lets through.
    SignInsLimited,
    /// More pages of logins were opened than the limit lets through.
    PagesLimited,
    /// More codes and tokens were sent than the limit lets through.
    GrantsLimited,
}

impl SecurityEvent {
    /// All kinds.
    pub(super) const ALL: [Self; 15] = [
        Self::InvalidAccessToken,
        Self::ForeignOrigin,
        Self::ReservedArgument,
        Self::ReservedHeader,
        Self::HeaderBodyMismatch,
        Self::ServerRefusal,
        Self::GrantReused,
        Self::ConsentRefused,
        Self::ForeignCallback,
        Self::TokenRejected,
        Self::RegistrationLimited,
        Self::MetadataDocumentsLimited,
        Self::SignInsLimited,
        Self::PagesLimited,
        Self::GrantsLimited,
    ];

    /// The value of the label `event`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidAccessToken => "invalid_access_token",
            Self::ForeignOrigin => "foreign_origin",
            Self::ReservedArgument => "reserved_argument",
            Self::ReservedHeader => "reserved_header",
            Self::HeaderBodyMismatch => "header_body_mismatch",
            Self::ServerRefusal => "server_refusal",
            Self::GrantReused => "grant_reused",
            Self::ConsentRefused => "consent_refused",
            Self::ForeignCallback => "foreign_callback",
            Self::TokenRejected => "token_rejected",
            Self::RegistrationLimited => "registration_limited",
            Self::MetadataDocumentsLimited => "metadata_documents_limited",
            Self::SignInsLimited => "sign_ins_limited",
            Self::PagesLimited => "pages_limited",
            Self::GrantsLimited => "grants_limited",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_security_event_is_documented() {
        let page = include_str!("../../../docs/metrics.md");
        for event in SecurityEvent::ALL {
            let value = event.as_str();
            assert!(
                page.contains(&format!("`{value}`")),
                "docs/metrics.md lacks {value}"
            );
        }
    }
}
