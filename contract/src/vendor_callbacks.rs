//! The callbacks of the known vendors of clients.

use url::Url;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redirect_uri::leads_to_local_program;

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
}
