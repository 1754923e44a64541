//! Parses Entra's answers.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::EntraError;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// Maximum size of an answer in bytes. A token with 200 groups is about 12 KiB.
const MAX_ANSWER_BYTES: usize = 512 * 1024;

/// Maximum token life in seconds. A longer `expires_in` counts as this one. CAE tokens live up to 28 hours.
const MAX_LIFE_SECONDS: u64 = 48 * 60 * 60;

/// The tokens of a successful request.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token.
    pub access_token: Secret,

    /// Time at which the access token expires, counted from before the request was sent.
    pub expires_at: Timestamp,

    /// Replaces the refresh token of the request. Present if the scope contained `offline_access`.
    pub refresh_token: Option<Secret>,

    /// Present if the scope contained `openid`.
    pub id_token: Option<Secret>,
}

#[derive(Deserialize)]
struct TokenBody {
    token_type: String,
    access_token: Secret,
    expires_in: u64,
    refresh_token: Option<Secret>,
    id_token: Option<Secret>,
}

/// Status, `Retry-After` and body of an answer.
pub(crate) struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    /// Reads the whole answer, up to the maximum size.
    pub(crate) async fn read(mut response: reqwest::Response, now: Timestamp) -> Result<Self, EntraError> {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), now);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(EntraError::transport)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(EntraError::Malformed {
                    status,
                    what: "longer than any answer of this protocol",
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self {
            status,
            retry_after,
            body,
        })
    }

    /// Parses the tokens, or returns Entra's refusal.
    pub(crate) fn tokens(&self, asked_at: Timestamp) -> Result<TokenSet, EntraError> {
        let body: TokenBody = self.json("no token response")?;
        if !body.token_type.eq_ignore_ascii_case("Bearer") {
            return Err(self.malformed("token_type is not Bearer"));
        }
        if body.access_token.is_empty() {
            return Err(self.malformed("access_token is empty"));
        }
        let life = i64::try_from(body.expires_in.min(MAX_LIFE_SECONDS)).unwrap_or_default();
        let expires_at = asked_at
            .checked_add(SignedDuration::from_secs(life))
            .map_err(|_| self.malformed("expires_in is out of range"))?;
        Ok(TokenSet {
            access_token: body.access_token,
            expires_at,
            refresh_token: body.refresh_token.filter(|token| !token.is_empty()),
            id_token: body.id_token.filter(|token| !token.is_empty()),
        })
    }

    /// Parses a JSON document. The message of `serde_json` is dropped, because it quotes the document.
    pub(crate) fn json<T: DeserializeOwned>(&self, otherwise: &'static str) -> Result<T, EntraError> {
        if self.status != 200 {
            return Err(self.failure());
        }
        serde_json::from_slice(&self.body).map_err(|_| self.malformed(otherwise))
    }

    fn failure(&self) -> EntraError {
        match self.status {
            429 => EntraError::Throttled {
                retry_after: self.retry_after,
            },
            408 | 500..=599 => EntraError::Unavailable {
                status: self.status,
                retry_after: self.retry_after,
            },
            status => Refusal::from_body(self.retry_after, &self.body)
                .filter(|_| (400..500).contains(&status))
                .map_or_else(
                    || self.malformed("neither tokens nor an OAuth error"),
                    |refusal| EntraError::Refused(Box::new(refusal)),
                ),
        }
    }

    fn malformed(&self, what: &'static str) -> EntraError {
        EntraError::Malformed {
            status: self.status,
            what,
        }
    }
}

/// Parses `Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-02T09:14:05Z".parse().unwrap()
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            retry_after: None,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn reads_the_tokens() {
        let body = r#"{"token_type":"Bearer","scope":"a b","expires_in":4210,"ext_expires_in":4210,
            "access_token":"at","refresh_token":"rt","id_token":"it"}"#;
        let tokens = answer(200, body).tokens(now()).unwrap();
        assert_eq!(tokens.access_token.expose(), "at");
        assert_eq!(tokens.refresh_token.unwrap().expose(), "rt");
        assert_eq!(tokens.id_token.unwrap().expose(), "it");
        assert_eq!(tokens.expires_at, "2026-11-02T10:24:15Z".parse().unwrap());
    }

    #[rstest]
    #[case("")]
    #[case("<html>Sign in to the proxy</html>")]
    #[case(r#"{"token_type":"Bearer","expires_in":4210}"#)]
    #[case(r#"{"token_type":"Bearer","access_token":"","expires_in":4210}"#)]
    #[case(r#"{"token_type":"mac","access_token":"at","expires_in":4210}"#)]
    #[case(r#"{"token_type":"Bearer","access_token":"at","expires_in":"soon"}"#)]
    #[case(r#"{"token_type":"Bearer","access_token":"at","expires_in":-1}"#)]
    #[case(r#"{"token_type":"Bearer","access_token":7,"expires_in":4210}"#)]
    fn refuses_a_malformed_success(#[case] body: &str) {
        assert!(matches!(
            answer(200, body).tokens(now()),
            Err(EntraError::Malformed { status: 200, .. })
        ));
    }

    #[test]
    fn an_excessive_lifetime_is_capped() {
        let body = format!(
            r#"{{"token_type":"Bearer","access_token":"at","expires_in":{}}}"#,
            u64::MAX
        );
        let tokens = answer(200, &body).tokens(now()).unwrap();
        assert_eq!(tokens.expires_at, "2026-11-04T09:14:05Z".parse().unwrap());
    }

    #[test]
    fn an_unreadable_answer_is_not_quoted() {
        let body = r#"{"token_type":"Bearer","access_token":"at","expires_in":"eyJsecret"}"#;
        let error = answer(200, body).tokens(now()).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("eyJ"));
    }

    #[rstest]
    #[case(400, "<html></html>")]
    #[case(404, "")]
    #[case(302, r#"{"error":"invalid_grant"}"#)]
    #[case(201, r#"{"error":"invalid_grant"}"#)]
    fn an_answer_outside_the_protocol_is_malformed(#[case] status: u16, #[case] body: &str) {
        assert!(matches!(
            answer(status, body).failure(),
            EntraError::Malformed { .. }
        ));
    }

    #[rstest]
    #[case(500)]
    #[case(502)]
    #[case(503)]
    #[case(504)]
    #[case(408)]
    fn a_server_error_is_an_outage_with_any_body(#[case] status: u16) {
        let failure = answer(status, r#"{"error":"invalid_grant"}"#).failure();
        assert!(matches!(failure, EntraError::Unavailable { .. }));
    }

    #[rstest]
    #[case("7", Some(7))]
    #[case(" 0 ", Some(0))]
    #[case("Mon, 02 Nov 2026 09:14:15 GMT", Some(10))]
    #[case("Mon, 02 Nov 2026 09:14:00 GMT", Some(0))]
    #[case("soon", None)]
    #[case("-3", None)]
    fn reads_retry_after_as_seconds_or_date(#[case] value: &'static str, #[case] seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        assert_eq!(retry_after(&headers, now()), seconds.map(Duration::from_secs));
    }
}
