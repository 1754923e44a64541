//! Members of answers that several tools return: names, enumerations, branches and links. Does no I/O.

use crate::azure_devops::wire::{Link, Links, camel};
use crate::redact;

/// Maximum length of a name or reference in characters. A longer one is cut.
const MAX_NAME_LENGTH: usize = 300;

/// Maximum length of a link in bytes. A longer one is dropped.
const MAX_LINK_LENGTH: usize = 2_048;

/// Returns a name without mail addresses, cut at [`MAX_NAME_LENGTH`].
pub(super) fn name(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    (!text.is_empty()).then(|| redact::line(&redact::cut(text, MAX_NAME_LENGTH)))
}

/// Returns the value of an enumeration in camel case.
pub(super) fn enumeration(value: Option<&str>) -> Option<String> {
    value
        .filter(|value| !value.is_empty())
        .map(|value| redact::cut(&camel(value), MAX_NAME_LENGTH))
}

/// Returns `main` for `refs/heads/main`. Tags and pull requests keep their full name.
pub(super) fn branch(reference: &str) -> Option<String> {
    name(Some(reference.strip_prefix("refs/heads/").unwrap_or(reference)))
}

/// Returns the link for a browser.
pub(super) fn web(links: Option<&Links>) -> Option<String> {
    let Link { href } = links?.web.clone()?;
    link(href.as_deref())
}

/// Returns a link that carries no credential and no signature. Its query may only select a page of Azure DevOps.
pub(super) fn link(href: Option<&str>) -> Option<String> {
    let href = href.filter(|href| href.len() <= MAX_LINK_LENGTH)?;
    let url = url::Url::parse(href).ok()?;
    let harmless = matches!(url.scheme(), "https" | "http")
        && url.username().is_empty()
        && url.password().is_none()
        && url
            .query_pairs()
            .all(|(name, _)| matches!(&*name, "buildId" | "releaseId" | "view" | "_a" | "environmentId"));
    harmless.then(|| href.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://dev.azure.com/x?sig=abc")]
    #[case("https://ana:pat@dev.azure.com/x")]
    #[case("javascript:alert(1)")]
    #[case("not a link")]
    fn drops_a_link_that_may_carry_a_credential(#[case] href: &str) {
        assert_eq!(link(Some(href)), None);
    }
}
