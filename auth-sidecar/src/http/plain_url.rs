//! URLs that are nothing but an address.

use url::Url;

/// True for a URL without user, password, query and fragment.
pub(crate) fn is_plain(url: &Url) -> bool {
    url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none()
}
