//! The parameters of a query or a form.

use url::form_urlencoded;

/// Maximum number of parameters. No request of OAuth or OpenID Connect needs as many.
const MAX_PARAMETERS: usize = 40;

/// The parameters in the order of the request. Some are codes, verifiers and tokens.
pub(crate) struct Parameters(Vec<(String, String)>);

/// A parameter occurs more than once (RFC 6749, sections 3.1 and 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {0} is repeated")]
pub(crate) struct Repeated(pub(crate) &'static str);

/// The request has more than [`MAX_PARAMETERS`] parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {MAX_PARAMETERS} parameters")]
pub(crate) struct TooMany;

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TooMany> {
        let mut pairs = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            if pairs.len() == MAX_PARAMETERS {
                return Err(TooMany);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// Returns every value of a parameter that may be repeated. An empty value counts as absent (RFC 6749, section
    /// 3.1).
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Returns the value of a parameter that must not be repeated.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, Repeated> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(Repeated(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_value_or_none_and_refuses_two() {
        let parameters = Parameters::parse(b"a=1&b=2&b=3&c=&d=%C3%A9+x").unwrap();
        assert_eq!(parameters.one("a"), Ok(Some("1")));
        assert_eq!(parameters.one("b"), Err(Repeated("b")));
        assert_eq!(parameters.one("c"), Ok(None));
        assert_eq!(parameters.one("d"), Ok(Some("é x")));
        assert_eq!(parameters.all("b").collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn refuses_more_than_forty_parameters() {
        assert!(Parameters::parse("a=1&".repeat(MAX_PARAMETERS).as_bytes()).is_ok());
        assert!(Parameters::parse("a=1&".repeat(MAX_PARAMETERS + 1).as_bytes()).is_err());
    }

    #[test]
    fn invalid_utf_8_becomes_replacement_characters() {
        let parameters = Parameters::parse(b"a=%FF%00&%ZZ=%\xff").unwrap();
        assert_eq!(parameters.one("a"), Ok(Some("\u{fffd}\0")));
    }
}
