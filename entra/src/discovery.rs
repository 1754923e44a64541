//! The authority's discovery document, which names all other addresses.

use serde::Deserialize;
use url::Url;

use crate::settings::is_https_or_loopback;

/// The members of the discovery document that this crate uses. They are checked when the document is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// Issuer of this tenant's v2 tokens.
    pub issuer: String,

    /// Address of the authorize request, opened in the user's browser.
    pub authorization_endpoint: Url,

    /// Address of the four token requests.
    pub token_endpoint: Url,

    /// Address of the signing keys.
    pub jwks_uri: Url,
}

/// Why a discovery document is refused. An administrator must correct the authority or the tenant id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// OpenID Connect Discovery 1.0, section 4.3: the issuer must be the one that was asked for.
    #[error("it speaks for issuer {found:?} instead of {expected:?}: correct the authority or the tenant id")]
    Issuer {
        /// The issuer that follows from the settings.
        expected: String,

        /// The issuer in the document.
        found: String,
    },

    /// An address is not https. Credentials must not be sent unencrypted.
    #[error("its {name} is neither https nor a loopback address: correct the authority")]
    Endpoint {
        /// Name of the member in the document.
        name: &'static str,
    },
}

impl Discovery {
    pub(crate) fn check(self, expected_issuer: &str) -> Result<Self, DiscoveryError> {
        if self.issuer != expected_issuer {
            let found = self
                .issuer
                .chars()
                .filter(|character| !character.is_control())
                .take(200)
                .collect();
            return Err(DiscoveryError::Issuer {
                expected: expected_issuer.to_owned(),
                found,
            });
        }
        let endpoints = [
            ("authorization_endpoint", &self.authorization_endpoint),
            ("token_endpoint", &self.token_endpoint),
            ("jwks_uri", &self.jwks_uri),
        ];
        for (name, url) in endpoints {
            if !is_https_or_loopback(url) {
                return Err(DiscoveryError::Endpoint { name });
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const ISSUER: &str = "https://login.contoso.example/tenant/v2.0";

    fn document() -> Discovery {
        let url = |path| {
            Url::parse("https://login.contoso.example")
                .unwrap()
                .join(path)
                .unwrap()
        };
        Discovery {
            issuer: ISSUER.to_owned(),
            authorization_endpoint: url("/authorize"),
            token_endpoint: url("/token"),
            jwks_uri: url("/keys"),
        }
    }

    #[test]
    fn accepts_a_document_of_the_expected_issuer() {
        assert!(document().check(ISSUER).is_ok());
    }

    #[rstest]
    #[case("https://login.contoso.example/tenant/v2.0/")]
    #[case("https://login.contoso.example/{tenantid}/v2.0")]
    #[case("https://login.CONTOSO.example/tenant/v2.0")]
    #[case("https://login.fabrikam.example/tenant/v2.0")]
    fn refuses_a_foreign_issuer(#[case] issuer: &str) {
        let document = Discovery {
            issuer: issuer.to_owned(),
            ..document()
        };
        assert!(matches!(
            document.check(ISSUER),
            Err(DiscoveryError::Issuer { .. })
        ));
    }

    #[test]
    fn a_browser_may_be_sent_to_loopback() {
        let authorization_endpoint = Url::parse("http://127.0.0.1:8080/authorize").unwrap();
        assert!(
            Discovery {
                authorization_endpoint,
                ..document()
            }
            .check(ISSUER)
            .is_ok()
        );
    }

    #[test]
    fn refuses_an_endpoint_without_tls() {
        let clear = Url::parse("http://login.contoso.example/x").unwrap();
        let documents = [
            (
                Discovery {
                    authorization_endpoint: clear.clone(),
                    ..document()
                },
                "authorization_endpoint",
            ),
            (
                Discovery {
                    token_endpoint: clear.clone(),
                    ..document()
                },
                "token_endpoint",
            ),
            (
                Discovery {
                    jwks_uri: clear,
                    ..document()
                },
                "jwks_uri",
            ),
        ];
        for (document, name) in documents {
            assert_eq!(document.check(ISSUER), Err(DiscoveryError::Endpoint { name }));
        }
    }
}
