//! Why a sign-in did not come to its end.

use super::shown_page::ShownPage;

/// Why the person did not get back to the client.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The browser could not be made.
    #[error("failed to start the browser")]
    Browser(#[source] reqwest::Error),

    /// The authorize URL has no redirect URI to wait for.
    #[error("authorize URL carries no redirect_uri")]
    NoRedirectUri,

    /// Nothing answered.
    #[error("failed to load {url}")]
    Unreachable {
        /// Address with parameter names only.
        url: String,
        /// The error of the HTTP client.
        #[source]
        source: reqwest::Error,
    },

    /// A redirect without a usable address.
    #[error("{url} redirects to something that is no address")]
    BadRedirect {
        /// Address with parameter names only.
        url: String,
    },

    /// Too many redirects or pages.
    #[error("sign-in goes round in circles at {url}")]
    Loop {
        /// Address with parameter names only.
        url: String,
    },

    /// No page on the way has the checkbox that the person clears.
    #[error("no page has a checkbox {name} to clear")]
    NoCheckbox {
        /// The checkbox.
        name: String,
    },

    /// The page's own policy forbids where its form leads.
    #[error("form-action of {page} forbids the way to {target}")]
    FormBlocked {
        /// The page with the form.
        page: String,
        /// The address to which it led.
        target: String,
    },

    /// An error page without Entra's mark.
    #[error("{url} answered {status}: {text}")]
    Refused {
        /// Address with parameter names only.
        url: String,
        /// HTTP status.
        status: u16,
        /// The page's words.
        text: String,
    },

    /// Entra's own error page: no callback comes.
    #[error("Entra stopped with AADSTS{code}: {text}")]
    Entra {
        /// AADSTS code.
        code: u32,
        /// The page's words.
        text: String,
    },

    /// A page without a form to go on with.
    #[error("{url} shows a page with nothing to do on it: {title}")]
    DeadEnd {
        /// Address with parameter names only.
        url: String,
        /// The page's title.
        title: String,
    },

    /// The consent page has no button for the answer.
    #[error("{url} has no button that says {wanted}")]
    NoButton {
        /// Address with parameter names only.
        url: String,
        /// The missing part.
        wanted: &'static str,
    },

    /// The consent page does not name the client.
    #[error("{url} does not name the client {client_name}")]
    ClientNotNamed {
        /// Address with parameter names only.
        url: String,
        /// The name that was expected.
        client_name: String,
    },

    /// The visit was to stop at the consent page.
    #[error("sign-in stops at the consent page, as asked")]
    StoppedAtConsent {
        /// The page as it was shown.
        shown: Box<ShownPage>,
    },
}
