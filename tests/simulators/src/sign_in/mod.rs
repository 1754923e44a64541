//! The person in the browser: opens an authorize URL, answers the consent page, signs in, and comes back
//! with the redirect to the client.
//!
//! The browser is an HTTP client with cookies, not a rendering engine, but it sends what a browser sends
//! (`Sec-Fetch-*`, `Origin`) and refuses what Chromium refuses (`form-action` over redirects), so a page
//! that passes here is not stopped there for those reasons.

mod browser;
mod error;
mod page;
mod policy;
mod shown_page;
mod trace;

use std::fmt;

use url::Url;

pub use self::browser::Browser;
use self::browser::{Arrival, Submission};
pub use self::error::SignInError;
pub use self::page::{Button, Field, Form, Page};
pub use self::shown_page::ShownPage;
use crate::entra::ERROR_META;
use crate::people::Person;

/// Pages a sign-in may show before it counts as going round in circles.
const PAGE_LIMIT: usize = 8;

/// The user's action on a page that asks for consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Presses the button that agrees.
    Allow,
    /// Presses the button that refuses.
    Deny,
    /// Presses nothing: the sign-in ends with [`SignInError::StoppedAtConsent`].
    Skip,
}

/// One sign-in to do.
#[derive(Debug, Clone)]
pub struct Visit {
    /// The URL to which the client sends the browser. The sign-in waits for its `redirect_uri`.
    pub authorize_url: Url,

    /// Name of the user.
    pub user: String,

    /// The answer on Behalf's consent page.
    pub consent: Answer,

    /// The answer on Entra's consent page, should it come.
    pub entra_consent: Answer,

    /// The client's name that Behalf's consent page must show.
    pub client_name: Option<String>,

    /// Names of checkboxes that the person clears before pressing a button.
    pub unticked: Vec<String>,
}

impl Visit {
    /// This user agrees to everything.
    pub fn new(authorize_url: Url, user: &str) -> Self {
        Self {
            authorize_url,
            user: user.to_owned(),
            consent: Answer::Allow,
            entra_consent: Answer::Allow,
            client_name: None,
            unticked: Vec::new(),
        }
    }

    /// With this answer on Behalf's consent page.
    #[must_use]
    pub fn consent(mut self, answer: Answer) -> Self {
        self.consent = answer;
        self
    }

    /// With this answer on Entra's consent page.
    #[must_use]
    pub fn entra_consent(mut self, answer: Answer) -> Self {
        self.entra_consent = answer;
        self
    }

    /// Clears the checkbox with this name.
    #[must_use]
    pub fn untick(mut self, name: &str) -> Self {
        self.unticked.push(name.to_owned());
        self
    }

    /// Behalf's consent page must show this client name.
    #[must_use]
    pub fn client_name(mut self, name: &str) -> Self {
        self.client_name = Some(name.to_owned());
        self
    }
}

/// The redirect back to the client. Not fetched: that is the client's business.
#[derive(Clone)]
pub struct SignedIn {
    /// The whole address, secrets included.
    pub redirect: Url,

    /// `code`.
    pub code: Option<String>,

    /// `state`.
    pub state: Option<String>,

    /// `iss` (RFC 9207).
    pub issuer: Option<String>,

    /// `error`.
    pub error: Option<String>,

    /// `error_description`.
    pub error_description: Option<String>,

    /// Every request and form, in order, without secret values.
    pub trace: Vec<String>,
}

impl SignedIn {
    fn new(redirect: Url, trace: Vec<String>) -> Self {
        let get = |name: &str| {
            redirect
                .query_pairs()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let [code, state, issuer, error, error_description] =
            ["code", "state", "iss", "error", "error_description"].map(get);
        Self {
            redirect,
            code,
            state,
            issuer,
            error,
            error_description,
            trace,
        }
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SignedIn")
            .field("redirect", &trace::shown(&self.redirect))
            .field("error", &self.error)
            .field("error_description", &self.error_description)
            .finish_non_exhaustive()
    }
}

/// Signs `person` in with a fresh browser, agreeing to everything.
pub async fn sign_in(authorize_url: &Url, person: &Person) -> Result<SignedIn, SignInError> {
    Browser::new()?
        .sign_in(&Visit::new(authorize_url.clone(), person.user_name))
        .await
}

impl Browser {
    /// Plays the person until the browser is sent back to the client.
    ///
    /// The steps up to an error are lost with it; the error names the page.
    pub async fn sign_in(&self, visit: &Visit) -> Result<SignedIn, SignInError> {
        let redirect_uri = visit
            .authorize_url
            .query_pairs()
            .find(|(name, _)| name == "redirect_uri")
            .and_then(|(_, value)| Url::parse(&value).ok())
            .ok_or(SignInError::NoRedirectUri)?;
        let leaves = |url: &Url| {
            // For schemes such as `vscode:` the origin is unique to each URL, so the parts are compared.
            url.scheme() == redirect_uri.scheme()
                && url.host() == redirect_uri.host()
                && url.port() == redirect_uri.port()
                && url.path() == redirect_uri.path()
        };
        let mut steps = Vec::new();
        let mut to_clear = visit.unticked.clone();
        let mut arrival = self
            .navigate(visit.authorize_url.clone(), None, &leaves, &mut steps)
            .await?;
        for _ in 0..PAGE_LIMIT {
            let shown = match arrival {
                Arrival::Left(url) => return signed_in(url, steps, &to_clear),
                Arrival::Page(shown) => shown,
            };
            let (mut form, typed, button) = act(visit, &shown)?;
            to_clear.retain(|name| !form.fields.iter().any(|field| field.name == *name));
            form.fields.retain(|field| !visit.unticked.contains(&field.name));
            let target = shown
                .url
                .join(&form.action)
                .map_err(|_| SignInError::BadRedirect {
                    url: trace::shown(&shown.url),
                })?;
            steps.push(format!("pressed \"{}\"", button.label.trim()));
            let typed = typed.as_ref().map(|name| (name.as_str(), visit.user.as_str()));
            let submission = Submission {
                from: &shown,
                post: form.method == "post",
                pairs: form.submission(typed, &button),
            };
            arrival = self
                .navigate(target, Some(submission), &leaves, &mut steps)
                .await?;
        }
        match arrival {
            Arrival::Left(url) => signed_in(url, steps, &to_clear),
            Arrival::Page(shown) => Err(SignInError::Loop {
                url: trace::shown(&shown.url),
            }),
        }
    }
}

/// The end of a visit. Every checkbox that the person clears was on some page.
fn signed_in(url: Url, steps: Vec<String>, to_clear: &[String]) -> Result<SignedIn, SignInError> {
    match to_clear.first() {
        None => Ok(SignedIn::new(url, steps)),
        Some(name) => Err(SignInError::NoCheckbox { name: name.clone() }),
    }
}

const ALLOW: [&str; 6] = ["allow", "approve", "accept", "continue", "yes", "grant"];
const DENY: [&str; 6] = ["deny", "cancel", "decline", "refuse", "no", "reject"];
const NEXT: [&str; 3] = ["next", "sign", "continue"];

/// The next action on this page: the form, the field to type the user name into, the button to press.
fn act(visit: &Visit, shown: &ShownPage) -> Result<(Form, Option<String>, Button), SignInError> {
    let url = trace::shown(&shown.url);
    let page = &shown.page;
    if let Some(code) = page.meta(ERROR_META) {
        let code = code.parse().unwrap_or_default();
        return Err(SignInError::Entra {
            code,
            text: page.text.clone(),
        });
    }
    if shown.status >= 400 {
        return Err(SignInError::Refused {
            url,
            status: shown.status,
            text: page.text.clone(),
        });
    }
    let posted = page
        .forms
        .iter()
        .find(|form| form.method == "post" && !form.buttons.is_empty());
    let Some(form) = posted.cloned() else {
        return Err(SignInError::DeadEnd {
            url,
            title: page.title.clone(),
        });
    };
    let press = |words: &[&str], wanted| {
        let button = form.buttons.iter().find(|button| button.says(words)).cloned();
        button.ok_or(SignInError::NoButton {
            url: url.clone(),
            wanted,
        })
    };
    let at_behalf = shown.url.origin() == visit.authorize_url.origin();
    if let Some(field) = form.typed_field() {
        let field = field.name.clone();
        let button = press(&NEXT, "next")?;
        return Ok((form, Some(field), button));
    }
    if let Some(name) = visit.client_name.as_ref().filter(|_| at_behalf)
        && !page.text.contains(name)
    {
        return Err(SignInError::ClientNotNamed {
            url,
            client_name: name.clone(),
        });
    }
    let button = match if at_behalf {
        visit.consent
    } else {
        visit.entra_consent
    } {
        Answer::Allow => press(&ALLOW, "allow")?,
        Answer::Deny => press(&DENY, "deny")?,
        Answer::Skip => {
            return Err(SignInError::StoppedAtConsent {
                shown: Box::new(shown.clone()),
            });
        }
    };
    Ok((form, None, button))
}
