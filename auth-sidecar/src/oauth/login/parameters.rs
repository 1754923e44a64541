//! Parameters of a query or a form.

use url::form_urlencoded;
use zeroize::Zeroizing;

/// More than any request of these protocols has.
const MOST: usize = 40;

/// Parameters in the order they came. Codes, verifiers and tokens are among them.
pub(crate) struct Parameters(Vec<(String, Zeroizing<String>)>);

/// A parameter that came more than once (RFC 6749, sections 3.1 and 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parameter {0} is repeated")]
pub(crate) struct Repeated(pub(crate) &'static str);

/// More parameters than are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are more than {MOST} parameters")]
pub(crate) struct TooMany;

impl Parameters {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, TooMany> {
        let mut pairs = Vec::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            if pairs.len() == MOST {
                return Err(TooMany);
            }
            pairs.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(pairs))
    }

    /// Every value of a parameter that may be repeated. Empty ones count as left out (RFC 6749,
    /// section 3.1).
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(other, value)| other == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may come once.
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
    fn reads_one_none_and_refuses_two() {
        let parameters = Parameters::parse(b"a=1&b=2&b=3&c=&d=%C3%A9+x").unwrap();
        assert_eq!(parameters.one("a"), Ok(Some("1")));
        assert_eq!(parameters.one("b"), Err(Repeated("b")));
        assert_eq!(parameters.one("c"), Ok(None));
        assert_eq!(parameters.one("d"), Ok(Some("é x")));
        assert_eq!(parameters.all("b").collect::<Vec<_>>(), ["2", "3"]);
    }

    #[test]
    fn refuses_more_than_it_would_look_at() {
        assert!(Parameters::parse("a=1&".repeat(MOST).as_bytes()).is_ok());
        assert!(Parameters::parse("a=1&".repeat(MOST + 1).as_bytes()).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let parameters = Parameters::parse(b"a=%FF%00&%ZZ=%\xff").unwrap();
        assert_eq!(parameters.one("a"), Ok(Some("\u{fffd}\0")));
    }
}
