//! The headers that a browser adds to a navigation, and the navigations that it refuses: `Sec-Fetch-*`, `Origin`, CSP `form-action`.

use http::HeaderMap;
use url::{Host, Url};

/// The page a navigation starts from.
#[derive(Debug, Clone)]
pub(super) struct Initiator {
    pub(super) url: Url,
    /// The page's `Referrer-Policy` hides its origin, so a form post says `Origin: null`.
    pub(super) hides_origin: bool,
    /// Sources of the page's `form-action`, one list for each policy.
    form_action: Vec<Vec<String>>,
}

impl Initiator {
    pub(super) fn new(url: Url, headers: &HeaderMap) -> Self {
        let values = |name: &str| {
            headers
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| {
                    value
                        .split(',')
                        .map(str::trim)
                        .map(str::to_owned)
                        .collect::<Vec<_>>()
                })
                .collect::<Vec<_>>()
        };
        let hides_origin = values("referrer-policy")
            .last()
            .is_some_and(|policy| policy == "no-referrer");
        let form_action = values("content-security-policy")
            .iter()
            .filter_map(|policy| {
                policy.split(';').find_map(|directive| {
                    let mut words = directive.split_ascii_whitespace();
                    let name = words.next()?;
                    name.eq_ignore_ascii_case("form-action")
                        .then(|| words.map(str::to_owned).collect())
                })
            })
            .collect();
        Self {
            url,
            hides_origin,
            form_action,
        }
    }

    /// Whether a form of this page may lead to `target`; Chromium asks that of every redirect, too.
    pub(super) fn lets_form_go_to(&self, target: &Url) -> bool {
        self.form_action.iter().all(|sources| {
            sources.iter().any(|source| match source.as_str() {
                "'self'" => self.url.origin() == target.origin(),
                "'none'" => false,
                "*" => true,
                scheme if scheme.ends_with(':') => scheme.trim_end_matches(':') == target.scheme(),
                origin => Url::parse(origin).is_ok_and(|allowed| {
                    allowed.origin() == target.origin()
                        && (allowed.path() == "/" || allowed.path() == target.path())
                }),
            })
        })
    }
}

/// `Sec-Fetch-Site` of the last address of a navigation.
pub(super) fn site(initiator: Option<&Url>, chain: &[Url]) -> &'static str {
    let Some(initiator) = initiator else { return "none" };
    if chain.iter().all(|url| url.origin() == initiator.origin()) {
        "same-origin"
    } else if chain.iter().all(|url| same_site(url, initiator)) {
        "same-site"
    } else {
        "cross-site"
    }
}

/// Same scheme and registrable domain; ports do not count. The last two labels stand for the public suffix
/// list, which the suites' names do not need.
fn same_site(one: &Url, other: &Url) -> bool {
    let domain = |url: &Url| match url.host() {
        Some(Host::Domain(name)) => {
            let mut labels: Vec<_> = name.rsplit('.').take(2).collect();
            labels.reverse();
            labels.join(".")
        }
        Some(address) => address.to_string(),
        None => String::new(),
    };
    one.scheme() == other.scheme() && domain(one) == domain(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn site_is_the_worst_of_the_chain() {
        let here = url("http://localhost:8080/consent");
        assert_eq!(site(None, &[url("http://localhost:8080/")]), "none");
        assert_eq!(
            site(Some(&here), &[url("http://localhost:8080/a")]),
            "same-origin"
        );
        assert_eq!(
            site(
                Some(&here),
                &[url("http://localhost:8080/a"), url("http://localhost:9/b")]
            ),
            "same-site"
        );
        assert_eq!(
            site(Some(&here), &[url("https://entra.example/a"), here.clone()]),
            "cross-site"
        );
    }

    #[test]
    fn form_action_binds_redirects_too() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "content-security-policy",
            "default-src 'none'; form-action 'self' http://localhost:9"
                .parse()
                .unwrap(),
        );
        headers.insert("referrer-policy", "no-referrer".parse().unwrap());
        let page = Initiator::new(url("http://localhost:8080/authorize"), &headers);
        assert!(page.hides_origin);
        assert!(page.lets_form_go_to(&url("http://localhost:8080/consent")));
        assert!(page.lets_form_go_to(&url("http://localhost:9/tenant/authorize")));
        assert!(!page.lets_form_go_to(&url("http://localhost:10/callback")));
        let free = Initiator::new(url("http://localhost:8080/authorize"), &HeaderMap::new());
        assert!(free.lets_form_go_to(&url("https://entra.example/")));
    }
}
