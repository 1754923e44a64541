//! The claims of a token whose signature is verified.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use crate::token_rules::{TokenRejection, TokenRules};

/// Maximum difference between clocks: **a security invariant**, the maximum of Entra's documentation.
pub const LEEWAY: SignedDuration = SignedDuration::from_mins(5);

/// The calling user, from a validated access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserClaims {
    /// Id of the tenant. With `oid` the key of the user; never `sub`, which differs from client to client.
    pub tid: String,

    /// Object id of the user in the tenant.
    pub oid: String,

    /// Time at which Entra issued the token.
    pub iat: Option<Timestamp>,

    /// Expiry of the token.
    pub exp: Timestamp,

    /// The client that the token was issued to.
    pub azp: Option<String>,
}

/// The user who signed in, from a validated id token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserIdentity {
    /// Id of the tenant.
    pub tid: String,

    /// Object id of the user in the tenant.
    pub oid: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Claims {
    iss: Option<String>,
    aud: Option<String>,
    tid: Option<String>,
    ver: Option<String>,
    iat: Option<i64>,
    nbf: Option<i64>,
    exp: Option<i64>,
    scp: Option<String>,
    idtyp: Option<String>,
    oid: Option<String>,
    azp: Option<String>,
    nonce: Option<String>,
}

/// The values that every token must have.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) tenant_id: String,
}

impl Claims {
    /// Checks the rules of every token: issuer, audience, tenant, version, time.
    fn common(&self, expected: &Expected, now: Timestamp) -> Result<Timestamp, TokenRejection> {
        // The version is checked first. A token of version 1 also has another issuer and audience, and this error
        // says how to fix it.
        if self.ver.as_deref() != Some("2.0") {
            return Err(TokenRejection::Version);
        }
        if self.iss.as_deref() != Some(&expected.issuer) {
            return Err(TokenRejection::Issuer);
        }
        if self.aud.as_deref() != Some(&expected.audience) {
            return Err(TokenRejection::Audience);
        }
        if self.tid.as_deref() != Some(&expected.tenant_id) {
            return Err(TokenRejection::Tenant);
        }
        let not_before = self.nbf.map(timestamp).transpose()?;
        if not_before.is_some_and(|not_before| not_before.duration_since(now) > LEEWAY) {
            return Err(TokenRejection::NotYetValid);
        }
        let expires_at = self.exp.ok_or(TokenRejection::Malformed).and_then(timestamp)?;
        if now.duration_since(expires_at) >= LEEWAY {
            return Err(TokenRejection::Expired);
        }
        Ok(expires_at)
    }

    /// Returns the calling user, by the rules of an access token.
    pub(crate) fn user(
        self,
        expected: &Expected,
        rules: &TokenRules,
        now: Timestamp,
    ) -> Result<UserClaims, TokenRejection> {
        let exp = self.common(expected, now)?;
        let Some(scp) = self.scp.filter(|_| self.idtyp.as_deref() != Some("app")) else {
            return Err(TokenRejection::AppOnly);
        };
        if !scp
            .split_ascii_whitespace()
            .any(|scope| scope == rules.required_scope)
        {
            return Err(TokenRejection::Scope {
                required: rules.required_scope.clone(),
            });
        }
        let allowed = &rules.allowed_clients;
        if !allowed.is_empty() && !self.azp.as_ref().is_some_and(|azp| allowed.contains(azp)) {
            return Err(TokenRejection::Client);
        }
        Ok(UserClaims {
            tid: expected.tenant_id.clone(),
            oid: user(self.oid)?,
            iat: self.iat.map(timestamp).transpose()?,
            exp,
            azp: self.azp,
        })
    }

    /// The user who signed in, by the rules of an id token (OpenID Connect Core 1.0, section 3.1.3.7).
    pub(crate) fn identity(
        self,
        expected: &Expected,
        nonce: &str,
        now: Timestamp,
    ) -> Result<UserIdentity, TokenRejection> {
        self.common(expected, now)?;
        let same: bool = self
            .nonce
            .unwrap_or_default()
            .as_bytes()
            .ct_eq(nonce.as_bytes())
            .into();
        if !same || nonce.is_empty() {
            return Err(TokenRejection::Nonce);
        }
        // OpenID Connect Core 1.0, section 3.1.3.7, rule 5.
        if self.azp.is_some_and(|azp| azp != expected.audience) {
            return Err(TokenRejection::Client);
        }
        Ok(UserIdentity {
            tid: expected.tenant_id.clone(),
            oid: user(self.oid)?,
        })
    }
}

fn user(oid: Option<String>) -> Result<String, TokenRejection> {
    oid.filter(|oid| (1..=64).contains(&oid.len()))
        .ok_or(TokenRejection::User)
}

fn timestamp(seconds: i64) -> Result<Timestamp, TokenRejection> {
    Timestamp::from_second(seconds).map_err(|_| TokenRejection::Malformed)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const CLIENT: &str = "7d0c2f1e-1111-4222-8333-944445555666";

    fn expected() -> Expected {
        Expected {
            issuer: "https://login.contoso.example/t/v2.0".to_owned(),
            audience: CLIENT.to_owned(),
            tenant_id: "t".to_owned(),
        }
    }

    fn good() -> Claims {
        let text = |text: &str| Some(text.to_owned());
        Claims {
            iss: text("https://login.contoso.example/t/v2.0"),
            aud: text(CLIENT),
            tid: text("t"),
            ver: text("2.0"),
            iat: Some(NOW - 60),
            nbf: Some(NOW - 60),
            exp: Some(NOW + 3_600),
            scp: text("access_as_user other"),
            idtyp: None,
            oid: text("ana"),
            azp: text(CLIENT),
            nonce: text("n1"),
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn user(claims: Claims) -> Result<UserClaims, TokenRejection> {
        claims.user(&expected(), &TokenRules::default(), now())
    }

    #[test]
    fn accepts_a_token_of_a_user_for_this_application() {
        let user = user(good()).unwrap();
        assert_eq!((user.tid.as_str(), user.oid.as_str()), ("t", "ana"));
        assert_eq!(user.iat.map(Timestamp::as_second), Some(NOW - 60));
    }

    /// One claim changed, and the rejection that has to follow.
    macro_rules! refuses {
        ($($name:ident: $field:ident = $value:expr => $rejection:pat,)*) => {
            $(
                #[test]
                fn $name() {
                    let rejection = user(Claims { $field: $value, ..good() }).unwrap_err();
                    assert!(matches!(rejection, $rejection), "{rejection:?}");
                }
            )*
        };
    }

    refuses! {
        refuses_a_foreign_issuer: iss = Some("https://login.contoso.example/other/v2.0".to_owned())
            => TokenRejection::Issuer,
        refuses_an_issuer_with_a_slash_more: iss = Some("https://login.contoso.example/t/v2.0/".to_owned())
            => TokenRejection::Issuer,
        refuses_no_issuer: iss = None => TokenRejection::Issuer,
        refuses_a_foreign_audience: aud = Some("499b84ac-1321-427f-aa17-267ca6975798".to_owned())
            => TokenRejection::Audience,
        refuses_an_audience_as_uri: aud = Some(format!("api://{CLIENT}")) => TokenRejection::Audience,
        refuses_no_audience: aud = None => TokenRejection::Audience,
        refuses_a_foreign_tenant: tid = Some("other".to_owned()) => TokenRejection::Tenant,
        refuses_no_tenant: tid = None => TokenRejection::Tenant,
        refuses_version_1: ver = Some("1.0".to_owned()) => TokenRejection::Version,
        refuses_no_version: ver = None => TokenRejection::Version,
        refuses_a_token_of_the_future: nbf = Some(NOW + 301) => TokenRejection::NotYetValid,
        refuses_an_expired_token: exp = Some(NOW - 300) => TokenRejection::Expired,
        refuses_no_expiry: exp = None => TokenRejection::Malformed,
        refuses_an_expiry_beyond_time: exp = Some(i64::MAX) => TokenRejection::Malformed,
        refuses_a_token_without_scope: scp = None => TokenRejection::AppOnly,
        refuses_an_app_token_with_a_scope: idtyp = Some("app".to_owned()) => TokenRejection::AppOnly,
        refuses_another_scope: scp = Some("access_as_user_too".to_owned()) => TokenRejection::Scope { .. },
        refuses_an_empty_scope: scp = Some(String::new()) => TokenRejection::Scope { .. },
        refuses_no_user: oid = None => TokenRejection::User,
        refuses_an_empty_user: oid = Some(String::new()) => TokenRejection::User,
    }

    #[rstest]
    #[case(Claims { nbf: Some(NOW + 300), ..good() })]
    #[case(Claims { exp: Some(NOW - 299), ..good() })]
    #[case(Claims { nbf: None, ..good() })]
    #[case(Claims { idtyp: Some("user".to_owned()), ..good() })]
    fn clocks_may_differ_by_five_minutes(#[case] claims: Claims) {
        assert!(user(claims).is_ok());
    }

    #[rstest]
    #[case(Some("aebc6443-996d-45c2-90f0-388ff96faa56"))]
    #[case(None)]
    fn refuses_a_client_that_is_not_listed(#[case] azp: Option<&str>) {
        let rules = TokenRules {
            allowed_clients: vec![CLIENT.to_owned()],
            ..TokenRules::default()
        };
        let claims = Claims {
            azp: azp.map(str::to_owned),
            ..good()
        };
        assert!(matches!(
            claims.user(&expected(), &rules, now()),
            Err(TokenRejection::Client)
        ));
        assert!(good().user(&expected(), &rules, now()).is_ok());
    }

    #[test]
    fn accepts_the_id_token_of_this_login() {
        let identity = good().identity(&expected(), "n1", now()).unwrap();
        assert_eq!(
            identity,
            UserIdentity {
                tid: "t".to_owned(),
                oid: "ana".to_owned()
            }
        );
    }

    #[rstest]
    #[case(Claims { nonce: Some("n2".to_owned()), ..good() }, "n1")]
    #[case(Claims { nonce: None, ..good() }, "n1")]
    #[case(Claims { nonce: None, ..good() }, "")]
    fn refuses_the_id_token_of_another_login(#[case] claims: Claims, #[case] nonce: &str) {
        assert!(matches!(
            claims.identity(&expected(), nonce, now()),
            Err(TokenRejection::Nonce)
        ));
    }

    #[rstest]
    #[case(Claims { iss: None, ..good() })]
    #[case(Claims { aud: Some("other".to_owned()), ..good() })]
    #[case(Claims { tid: Some("other".to_owned()), ..good() })]
    #[case(Claims { exp: Some(NOW - 300), ..good() })]
    #[case(Claims { nbf: Some(NOW + 301), ..good() })]
    #[case(Claims { oid: None, ..good() })]
    #[case(Claims { azp: Some("other".to_owned()), ..good() })]
    fn an_id_token_follows_the_same_rules(#[case] claims: Claims) {
        assert!(claims.identity(&expected(), "n1", now()).is_err());
    }
}
