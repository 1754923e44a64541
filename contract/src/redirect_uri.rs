//! Redirect URIs: how they must be written, and which an administrator may name. The operator refuses an object with
//! any other, since its sidecar would not start.

use url::{Host, Url};

/// Maximum length of a redirect URI in bytes.
const LONGEST: usize = 512;

/// The known vendors' callbacks. Every installation allows them unless `vendorRedirects` is `Disabled`. Other
/// pages of these hosts must not receive codes, and some show text that anybody wrote.
///
/// Private-use schemes are open to any program on the user's machine (RFC 8252, section 8.6). Cursor registers its own
/// beside others, and refusing one refuses all. Its releases before 1.0 named the server in the path.
const VENDORS: [Vendor; 14] = [
    Vendor::local_program("https://vscode.dev", Callback::Path("/redirect")),
    Vendor::local_program("https://insiders.vscode.dev", Callback::Path("/redirect")),
    Vendor::service("https://claude.ai", Callback::Path("/api/mcp/auth_callback")),
    Vendor::service("https://claude.com", Callback::Path("/api/mcp/auth_callback")),
    Vendor::service("https://chatgpt.com", Callback::Named("/connector/oauth/", "")),
    Vendor::service(
        "https://chatgpt.com",
        Callback::Path("/connector_platform_oauth_redirect"),
    ),
    Vendor::service(
        "https://www.cursor.com",
        Callback::Path("/agents/mcp/oauth/callback"),
    ),
    Vendor::local_program("cursor://anysphere.cursor-mcp", Callback::Path("/oauth/callback")),
    Vendor::local_program(
        "cursor://anysphere.cursor-retrieval",
        Callback::Path("/oauth/callback"),
    ),
    Vendor::local_program(
        "cursor://anysphere.cursor-retrieval",
        Callback::Named("/oauth/", "/callback"),
    ),
    // Copilot Studio: the name of the connector, which stays.
    Vendor::service(
        "https://global.consent.azure-apim.net",
        Callback::Named("/redirect/", ""),
    ),
    // Postman: the app, and the browser.
    Vendor::local_program("https://oauth.pstmn.io", Callback::Path("/v1/callback")),
    Vendor::local_program("https://oauth.pstmn.io", Callback::Path("/v1/browser-callback")),
    Vendor::local_program("warp://mcp", Callback::Path("/oauth2callback")),
];

/// A callback of a vendor.
#[derive(Clone, Copy, Debug)]
struct Vendor {
    /// Scheme and host of the callback.
    origin: &'static str,

    callback: Callback,

    receiver: Receiver,
}

/// The program that gets the code from a vendor's callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receiver {
    /// A service of the vendor, which no other program can replace.
    Service,

    /// A program on the user's machine. The callback has the program's own scheme, or is a page that opens a link with that
    /// scheme. Any other local program can claim the scheme.
    LocalProgram,
}

impl Vendor {
    const fn service(origin: &'static str, callback: Callback) -> Self {
        Self {
            origin,
            callback,
            receiver: Receiver::Service,
        }
    }

    const fn local_program(origin: &'static str, callback: Callback) -> Self {
        Self {
            origin,
            callback,
            receiver: Receiver::LocalProgram,
        }
    }
}

/// The paths at a vendor's origin that are callbacks.
#[derive(Clone, Copy, Debug)]
enum Callback {
    /// Exactly this path.
    Path(&'static str),

    /// One segment between these texts: the vendor has a callback for each connector or server.
    Named(&'static str, &'static str),
}

impl Callback {
    fn is(self, url: &Url) -> bool {
        let fits = match self {
            Self::Path(path) => url.path() == path,
            Self::Named(before, after) => url
                .path()
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(is_name),
        };
        fits && url.query().is_none()
    }
}

/// Returns true for a segment that every server interprets in the same way.
fn is_name(segment: &str) -> bool {
    !segment.is_empty()
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Returns the callbacks of the vendor at this host, whichever port the address names.
fn vendors_at(url: &Url) -> impl Iterator<Item = &'static Vendor> {
    let origin = format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default());
    VENDORS.iter().filter(move |vendor| vendor.origin == origin)
}

/// Returns the callbacks of the vendor at this origin.
fn callbacks(url: &Url) -> impl Iterator<Item = Callback> {
    vendors_at(url)
        .map(|vendor| vendor.callback)
        .filter(|_| url.port().is_none())
}

/// Returns true for an https address at a known vendor's host.
pub fn is_vendor(url: &Url) -> bool {
    url.scheme() == "https" && callbacks(url).next().is_some()
}

/// Returns true for a known vendor's callback, with https or with the vendor's own scheme.
pub fn is_vendor_callback(url: &Url) -> bool {
    callbacks(url).any(|callback| callback.is(url))
}

/// Returns true for an https address at the host of a known vendor whose pages pass the code to a program on the user's
/// machine, through a link with the program's own scheme. Any local program can claim that scheme.
pub fn is_relay(url: &Url) -> bool {
    url.scheme() == "https" && vendors_at(url).any(|vendor| vendor.receiver == Receiver::LocalProgram)
}

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
    #[error("is longer than {LONGEST} bytes")]
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
    if text.len() > LONGEST {
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
    fn every_callback_of_a_vendor_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/clients.md");
        let text = std::fs::read_to_string(path).unwrap();
        for Vendor { origin, callback, .. } in VENDORS {
            let host = origin.strip_prefix("https://").unwrap_or(origin);
            let is_callback = |text: &str| match callback {
                Callback::Path(path) => text == path,
                Callback::Named(before, after) => text
                    .strip_prefix(before)
                    .and_then(|rest| rest.strip_suffix(after))
                    .is_some_and(|name| name.starts_with('<') && name.ends_with('>')),
            };
            let documents = |row: &str| {
                row.split_once(&format!("`{host}`"))
                    .is_some_and(|(_, rest)| rest.split('`').any(is_callback))
            };
            assert!(
                text.lines().any(documents),
                "docs/clients.md does not list {callback:?} of {origin}"
            );
        }
    }

    #[test]
    fn every_vendor_that_relays_leads_to_a_local_program_and_no_other() {
        for vendor in VENDORS {
            let path = match vendor.callback {
                Callback::Path(path) => path.to_owned(),
                Callback::Named(before, after) => format!("{before}name{after}"),
            };
            let url = Url::parse(&format!("{}{path}", vendor.origin)).unwrap();
            assert!(is_vendor_callback(&url), "{url}");
            let is_local = vendor.receiver == Receiver::LocalProgram;
            assert_eq!(leads_to_local_program(&url), is_local, "{url}");
            assert_eq!(is_relay(&url), is_local && url.scheme() == "https", "{url}");
            // A private-use scheme always leads to a local program.
            assert!(is_local || url.scheme() == "https", "{url}");
        }
    }

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
        let longest = format!("https://ci.example/{}", "a".repeat(LONGEST - 19));
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
