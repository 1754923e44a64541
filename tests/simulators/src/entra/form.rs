//! The parameters of a request: form bodies and query strings.

use http::{HeaderMap, header};
use url::form_urlencoded;

use super::failure::Failure;

/// Parameters in the order they came. An empty value counts as absent.
#[derive(Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// A form body; any other content type has no parameters, as with Entra.
    pub(super) fn from_body(headers: &HeaderMap, body: &[u8]) -> Self {
        let is_form = headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .is_some_and(|kind| {
                kind.trim()
                    .eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        if is_form {
            Self::decode(body)
        } else {
            Self::default()
        }
    }

    /// A query string or form body.
    pub(super) fn decode(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// The parameter's first value that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The parameter's value, or 900144.
    pub(super) fn required(&self, name: &str) -> Result<&str, Failure> {
        self.get(name).ok_or_else(|| Failure::missing(name))
    }

    /// A copy of the parameter's value.
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Names of all parameters, sorted, each cut to a length no secret value fits into unseen.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .0
            .iter()
            .map(|(name, _)| name.chars().take(32).collect())
            .collect();
        names.sort();
        names.dedup();
        names
    }
}
