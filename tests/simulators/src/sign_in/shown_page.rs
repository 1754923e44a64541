//! A page on the screen.

use std::fmt;

use http::HeaderMap;
use url::Url;

use super::page::Page;
use super::policy::Initiator;
use super::trace;

/// A page on the screen.
#[derive(Clone)]
pub struct ShownPage {
    /// Its address.
    pub url: Url,

    /// HTTP status.
    pub status: u16,

    /// Response headers.
    pub headers: HeaderMap,

    /// Its words and forms.
    pub page: Page,

    pub(super) initiator: Initiator,
}

impl fmt::Debug for ShownPage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ShownPage")
            .field("url", &trace::shown(&self.url))
            .field("status", &self.status)
            .field("page", &self.page)
            .finish_non_exhaustive()
    }
}
