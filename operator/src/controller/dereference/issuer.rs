//! The issuer of the cluster's `ServiceAccount` tokens.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::error::DereferenceError;
use crate::error_chain::chain;

/// The path of the API server's discovery document (OpenID Connect Discovery 1.0, section 4). Every `ServiceAccount` may read it, by the
/// built-in binding `system:service-account-issuer-discovery`.
const PATH: &str = "/.well-known/openid-configuration";

/// Time until a known issuer is read again. It almost never changes.
const REFRESH: SignedDuration = SignedDuration::from_hours(1);

/// Time until the issuer is read again after the API server did not show it. An administrator may grant the right.
const REFRESH_UNKNOWN: SignedDuration = SignedDuration::from_mins(1);

/// Maximum duration of a request for the issuer. A known issuer serves if it takes longer.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// Maximum length of an issuer, as in the schema of the status.
const MAX_ISSUER_LENGTH: usize = 512;

/// Caches the issuer that the API server publishes. It becomes part of a command that an administrator
/// of the tenant runs, so it never comes from a Pod, which could report any issuer.
#[derive(Debug, Default)]
pub struct Issuer(Mutex<Option<KnownIssuer>>);

#[derive(Debug, Clone)]
struct KnownIssuer {
    issuer: Option<String>,
    read_at: Timestamp,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

impl Issuer {
    /// Returns the issuer, or `None` if the API server publishes none or does not show it. Fails only if the API server does
    /// not answer and no issuer is known yet.
    pub async fn get(&self, client: &Client, now: Timestamp) -> Result<Option<String>, DereferenceError> {
        let mut known = self.0.lock().await;
        if let Some(known) = known.as_ref()
            && now.duration_since(known.read_at)
                < if known.issuer.is_some() {
                    REFRESH
                } else {
                    REFRESH_UNKNOWN
                }
        {
            return Ok(known.issuer.clone());
        }
        let read = async {
            read(client).await.map_err(|error| DereferenceError::Request {
                kind: "OpenID configuration",
                name: PATH.to_owned(),
                source: Box::new(error),
            })
        };
        let late = DereferenceError::TimedOut {
            what: "the cluster's issuer",
            limit: READ_LIMIT,
        };
        let read = tokio::time::timeout(READ_LIMIT, read).await;
        let issuer = match (read.unwrap_or(Err(late)), known.as_ref()) {
            (Ok(issuer), _) => issuer,
            (Err(_), Some(known)) => known.issuer.clone(),
            (Err(error), None) => return Err(error),
        };
        *known = Some(KnownIssuer {
            issuer: issuer.clone(),
            read_at: now,
        });
        Ok(issuer)
    }
}

async fn read(client: &Client) -> Result<Option<String>, kube::Error> {
    let request = http::Request::get(PATH)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    match client.request::<Discovery>(request).await {
        Ok(discovery) => {
            Ok(Some(discovery.issuer)
                .filter(|issuer| !issuer.is_empty() && issuer.len() <= MAX_ISSUER_LENGTH))
        }
        Err(error @ kube::Error::Api(_)) if refused(&error) => {
            tracing::warn!(
                error = %chain(&error),
                "API server does not show its issuer at {PATH}, so objects cannot tell the command for Entra; \
                 bind ClusterRole system:service-account-issuer-discovery to the operator"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn refused(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 401 | 403 | 404))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::{Request, Response};
    use kube::client::Body;
    use tower_test::mock;

    use super::*;
    use crate::testing::time;

    /// Answers one request and returns what was asked.
    async fn answer(
        issuer: &Issuer,
        now: i64,
        status: u16,
        body: &str,
    ) -> (String, Result<Option<String>, DereferenceError>) {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let body = body.to_owned();
        let api_server = async move {
            let (request, send) = pin!(&mut handle).next_request().await.unwrap();
            let line = format!("{} {}", request.method(), request.uri());
            let response = Response::builder()
                .status(status)
                .body(Body::from(body.into_bytes()));
            send.send_response(response.unwrap());
            line
        };
        futures::future::join(api_server, issuer.get(&client, time(now))).await
    }

    fn discovery(issuer: &str) -> String {
        serde_json::json!({"issuer": issuer, "jwks_uri": "https://x/keys"}).to_string()
    }

    #[tokio::test]
    async fn is_read_from_the_api_server_and_kept_for_a_while() {
        let issuer = Issuer::default();
        let (line, first) = answer(&issuer, 0, 200, &discovery("https://one.contoso.example/")).await;
        assert_eq!(line, "GET /.well-known/openid-configuration");
        assert_eq!(first.unwrap().as_deref(), Some("https://one.contoso.example/"));

        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let client = Client::new(service, "default");
        let again = issuer.get(&client, time(3599)).await.unwrap();
        assert_eq!(again.as_deref(), Some("https://one.contoso.example/"));
        drop(client);
        assert!(
            pin!(&mut handle).next_request().await.is_none(),
            "it was read again"
        );

        let (_, later) = answer(&issuer, 3600, 200, &discovery("https://two.contoso.example/")).await;
        assert_eq!(later.unwrap().as_deref(), Some("https://two.contoso.example/"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_keeps_the_known_issuer() {
        let issuer = Issuer::default();
        let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
        let silent = Client::new(service, "default");
        let unknown = issuer.get(&silent, time(0)).await;
        assert_eq!(
            unknown.unwrap_err().to_string(),
            "failed to read the cluster's issuer within 5 s: the API server does not answer"
        );
        let (_, read) = answer(&issuer, 0, 200, &discovery("https://one.contoso.example/")).await;
        assert!(read.is_ok());
        let kept = issuer.get(&silent, time(3600)).await;
        assert_eq!(kept.unwrap().as_deref(), Some("https://one.contoso.example/"));
    }

    #[tokio::test]
    async fn an_outage_keeps_the_known_issuer_and_a_refusal_is_no_outage() {
        let issuer = Issuer::default();
        let (_, unknown) = answer(&issuer, 0, 503, "later").await;
        assert!(unknown.is_err(), "nothing is known yet");
        let (_, read) = answer(&issuer, 0, 200, &discovery("https://one.contoso.example/")).await;
        assert!(read.is_ok());
        let (_, kept) = answer(&issuer, 3600, 503, "later").await;
        assert_eq!(kept.unwrap().as_deref(), Some("https://one.contoso.example/"));
        let hidden = Issuer::default();
        let (_, refused) = answer(&hidden, 0, 403, "forbidden").await;
        assert_eq!(refused.unwrap(), None);
        let (_, shown) = answer(&hidden, 60, 200, &discovery("https://one.contoso.example/")).await;
        assert!(shown.unwrap().is_some(), "asked again soon");
    }
}
