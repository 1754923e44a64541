//! A browser without a screen: cookies, redirects, and the headers a real one sends.

use std::fmt;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use reqwest::redirect::Policy;
use url::Url;

use super::error::SignInError;
use super::page::Page;
use super::policy::{Initiator, site};
use super::shown_page::ShownPage;
use super::trace;

/// Redirects a browser follows before it gives up.
const REDIRECT_LIMIT: usize = 20;

/// A browser profile: cookies live as long as it does.
#[derive(Clone)]
pub struct Browser {
    http: reqwest::Client,
}

impl fmt::Debug for Browser {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Browser(..)")
    }
}

/// The page at which a navigation ended.
pub(super) enum Arrival {
    /// A page is shown.
    Page(Box<ShownPage>),
    /// A redirect led to the address the caller waits for; it was not fetched.
    Left(Url),
}

/// A form that is being sent.
pub(super) struct Submission<'a> {
    pub(super) from: &'a ShownPage,
    pub(super) post: bool,
    pub(super) pairs: Vec<(String, String)>,
}

impl Browser {
    /// A fresh profile that trusts what the system trusts.
    pub fn new() -> Result<Self, SignInError> {
        Self::build(&[])
    }

    /// A fresh profile that trusts these certificate authorities (PEM), too.
    pub fn trusting(roots_pem: &[&str]) -> Result<Self, SignInError> {
        Self::build(roots_pem)
    }

    fn build(roots_pem: &[&str]) -> Result<Self, SignInError> {
        let mut roots = Vec::new();
        for pem in roots_pem {
            roots
                .extend(reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(SignInError::Browser)?);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .cookie_store(true)
            .redirect(Policy::none())
            .timeout(Duration::from_secs(30))
            .tls_certs_merge(roots)
            .build()
            .map_err(SignInError::Browser)?;
        Ok(Self { http })
    }

    /// Opens an address as if it were typed in, and follows redirects to a page.
    pub async fn open(&self, url: &Url) -> Result<ShownPage, SignInError> {
        let mut steps = Vec::new();
        match self.navigate(url.clone(), None, &|_| false, &mut steps).await? {
            Arrival::Page(shown) => Ok(*shown),
            Arrival::Left(url) => Err(SignInError::Loop {
                url: trace::shown(&url),
            }),
        }
    }

    /// Goes to `target` until there is a page, or a redirect that `leaves`.
    pub(super) async fn navigate(
        &self,
        target: Url,
        form: Option<Submission<'_>>,
        leaves: &(dyn Fn(&Url) -> bool + Sync),
        steps: &mut Vec<String>,
    ) -> Result<Arrival, SignInError> {
        let initiator = form.as_ref().map(|form| &form.from.initiator);
        let mut post = form.as_ref().is_some_and(|form| form.post);
        let mut chain = vec![target];
        for _ in 0..REDIRECT_LIMIT {
            let Some(url) = chain.last().cloned() else { break };
            if let Some(page) = initiator
                && !page.lets_form_go_to(&url)
            {
                return Err(SignInError::FormBlocked {
                    page: trace::shown(&page.url),
                    target: trace::shown(&url),
                });
            }
            let method = if post { Method::POST } else { Method::GET };
            let mut request = self
                .http
                .request(method.clone(), url.clone())
                .header(header::ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8")
                .header("sec-fetch-dest", "document")
                .header("sec-fetch-mode", "navigate")
                .header("sec-fetch-user", "?1")
                .header("sec-fetch-site", site(initiator.map(|page| &page.url), &chain));
            if let Some(form) = form.as_ref().filter(|_| post) {
                request = request
                    .header(header::ORIGIN, origin(&form.from.initiator, &chain))
                    .form(&form.pairs);
            }
            let response = request.send().await.map_err(|source| SignInError::Unreachable {
                url: trace::shown(&url),
                source: source.without_url(),
            })?;
            let status = response.status();
            let headers = response.headers().clone();
            let location = headers.get(header::LOCATION).filter(|_| status.is_redirection());
            let Some(location) = location else {
                let text = response.text().await.map_err(|source| SignInError::Unreachable {
                    url: trace::shown(&url),
                    source: source.without_url(),
                })?;
                let page = Page::parse(&text);
                steps.push(trace::page(&method, &url, status, &page));
                let initiator = Initiator::new(url.clone(), &headers);
                let status = status.as_u16();
                return Ok(Arrival::Page(Box::new(ShownPage {
                    url,
                    status,
                    headers,
                    page,
                    initiator,
                })));
            };
            let next = location
                .to_str()
                .ok()
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| SignInError::BadRedirect {
                    url: trace::shown(&url),
                })?;
            steps.push(trace::redirect(&method, &url, status, &next));
            if leaves(&next) {
                return Ok(Arrival::Left(next));
            }
            // 307 and 308 repeat the request, the others turn it into a GET (Fetch, HTTP-redirect fetch).
            post = post && matches!(status.as_u16(), 307 | 308);
            chain.push(next);
        }
        let url = chain.last().map(trace::shown).unwrap_or_default();
        Err(SignInError::Loop { url })
    }
}

/// `Origin` of a form post: hidden by the page's policy, or lost on a way through another origin.
fn origin(page: &Initiator, chain: &[Url]) -> HeaderValue {
    let here = page.url.origin();
    let lost = chain.iter().rev().skip(1).any(|passed| passed.origin() != here);
    let text = if page.hides_origin || lost {
        "null".to_owned()
    } else {
        here.ascii_serialization()
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("null"))
}
