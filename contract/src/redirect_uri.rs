//! Redirect URIs: how they must be written, and which an administrator may name. The operator refuses an object with
//! any other, since its sidecar would not start.

use url::{Host, Url};

pub use crate::vendor_callbacks::{is_relay, is_vendor, is_vendor_callback};

/// Maximum length of a redirect URI in bytes.
const MAX_LENGTH: usize = 512;

/// Returns true if any program on the user's machine may receive the code.
pub fn leads_to_local_program(url: &Url) -> bool {
    url.scheme() != "https" || is_loopback(url) || is_relay(url)
}

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// The text is not a URI, or not in normal form.
    #[error("is not an absolute URI in normal form")]
    Form,

    /// The URI is longer than the limit.
    #[error("is longer than {MAX_LENGTH} bytes")]
    TooLong,

    /// A redirect URI must have no fragment (RFC 6749, section 3.1.2).
    #[error("has a fragment")]
    Fragment,

    /// `https://known.example@evil.example/` is not at the known one.
    #[error("has a user name or password")]
    UserInformation,

    /// The URI is http and leaves the machine.
    #[error("is http on a host that is not 127.0.0.1, [::1] or localhost")]
    PlainHttp,

    /// The URI is https at a host that is not allowed.
    #[error(
        "is at a host that is not allowed; an administrator can add it to spec.clients.additionalRedirectHosts"
    )]
    Host,

    /// The administrator denies the URI's host.
    #[error("is at a host that the administrator of this server denies")]
    Denied,

    /// The URI is https at a vendor's host, but not the vendor's callback.
    #[error("is not the callback that this vendor uses")]
    VendorPath,

    /// The scheme is not allowed: `javascript:` and similar ones, and most private-use schemes.
    #[error("has a scheme that is not allowed")]
    Scheme,
}

/// Checks a redirect URI that the administrator wrote: any https host is theirs to name. The operator refuses what
/// fails here, and the sidecar does not start with it.
pub fn check_static(text: &str) -> Result<(), RedirectUriError> {
    let url = parse(text)?;
    if url.scheme() == "https" {
        Ok(())
    } else {
        check_local(&url)
    }
}

/// Checks a redirect URI that is not https: it must stay on the user's machine.
pub fn check_local(url: &Url) -> Result<(), RedirectUriError> {
    match url.scheme() {
        "http" if is_loopback(url) => Ok(()),
        "http" => Err(RedirectUriError::PlainHttp),
        _ if is_vendor_callback(url) => Ok(()),
        _ => Err(RedirectUriError::Scheme),
    }
}

/// Parses a URI that all parsers read alike. It refuses a URI that the URL standard writes differently (upper case,
/// default ports, dot segments, backslashes, white space, numbers as addresses).
pub fn parse(text: &str) -> Result<Url, RedirectUriError> {
    if text.len() > MAX_LENGTH {
        return Err(RedirectUriError::TooLong);
    }
    let url = Url::parse(text).map_err(|_| RedirectUriError::Form)?;
    if url.fragment().is_some() {
        return Err(RedirectUriError::Fragment);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectUriError::UserInformation);
    }
    // Only the slash of an empty path may be missing.
    let is_normal = url.as_str() == text || url.as_str().strip_suffix('/') == Some(text) && url.path() == "/";
    if is_normal {
        Ok(url)
    } else {
        Err(RedirectUriError::Form)
    }
}

/// Returns true for an address that stays on the user's machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_vendors_that_open_a_local_program() {
        for (uri, expected) in [
            ("https://vscode.dev/redirect", true),
            ("https://insiders.vscode.dev/redirect", true),
            ("https://oauth.pstmn.io/v1/callback", true),
            ("https://oauth.pstmn.io/v1/browser-callback", true),
            ("https://vscode.dev:8443/redirect", true),
            ("https://localhost/cb", true),
            ("warp://mcp/oauth2callback", true),
            ("https://claude.ai/api/mcp/auth_callback", false),
            ("https://chatgpt.com/connector/oauth/a", false),
            ("https://www.cursor.com/agents/mcp/oauth/callback", false),
            ("https://global.consent.azure-apim.net/redirect/a", false),
            ("https://ci.contoso.example/cb", false),
        ] {
            let url = Url::parse(uri).unwrap();
            assert_eq!(leads_to_local_program(&url), expected, "{uri}");
        }
    }

    #[test]
    fn the_administrator_may_name_any_https_host_in_normal_form_and_loopback() {
        let longest = format!("https://ci.example/{}", "a".repeat(MAX_LENGTH - 19));
        for (uri, expected) in [
            ("https://ci.example/cb", Ok(())),
            ("https://ci.example", Ok(())),
            ("https://ci.example:8443/cb?a=1", Ok(())),
            ("http://127.0.0.1/cb", Ok(())),
            ("http://[::1]:9000/cb", Ok(())),
            ("http://localhost/cb", Ok(())),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Ok(())),
            (&longest, Ok(())),
            (&format!("{longest}a"), Err(RedirectUriError::TooLong)),
            ("http://127.0.0.2/cb", Err(RedirectUriError::PlainHttp)),
            ("http://ci.example/cb", Err(RedirectUriError::PlainHttp)),
            ("https://CI.example/cb", Err(RedirectUriError::Form)),
            ("https://ci.example:443/cb", Err(RedirectUriError::Form)),
            ("https://ci.example/a/../cb", Err(RedirectUriError::Form)),
            ("/cb", Err(RedirectUriError::Form)),
            ("https://ci.example/cb#x", Err(RedirectUriError::Fragment)),
            (
                "https://ana@ci.example/cb",
                Err(RedirectUriError::UserInformation),
            ),
            ("javascript:alert(1)", Err(RedirectUriError::Scheme)),
        ] {
            assert_eq!(check_static(uri), expected, "{uri}");
        }
    }
}
