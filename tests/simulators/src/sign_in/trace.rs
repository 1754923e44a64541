//! The step-by-step trace: what was asked and what came back, without any value that is a secret.

use http::{Method, StatusCode};
use url::Url;

use super::page::Page;

/// An address with the names of its parameters, not their values.
pub(super) fn shown(url: &Url) -> String {
    let names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    if names.is_empty() {
        bare.to_string()
    } else {
        format!("{bare}?{}", names.join("&"))
    }
}

pub(super) fn redirect(method: &Method, url: &Url, status: StatusCode, next: &Url) -> String {
    format!(
        "{method} {} -> {} to {}",
        shown(url),
        status.as_u16(),
        shown(next)
    )
}

pub(super) fn page(method: &Method, url: &Url, status: StatusCode, page: &Page) -> String {
    format!(
        "{method} {} -> {}, page \"{}\"",
        shown(url),
        status.as_u16(),
        page.title
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_names_and_no_values() {
        let url = Url::parse("http://localhost:1/cb?code=SECRET&state=ALSO#frag").unwrap();
        assert_eq!(shown(&url), "http://localhost:1/cb?code&state");
    }
}
