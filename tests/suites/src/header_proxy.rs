//! A reverse proxy on loopback that adds an access token to each request: for clients that cannot carry one.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::uri::{Authority, Scheme};
use http::{HeaderValue, StatusCode, Uri, header};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use url::Url;

/// The reason why the proxy does not run.
#[derive(Debug, thiserror::Error)]
pub enum HeaderProxyError {
    /// The proxy could not listen on a loopback port.
    #[error("failed to listen on a loopback port")]
    Listen(#[source] std::io::Error),

    /// The target is not a plain HTTP address, or the token is not a valid header value.
    #[error("target must be an http address and the token visible ASCII")]
    Target,
}

/// A running proxy. It ends when the value is dropped.
#[derive(Debug)]
pub struct HeaderProxy {
    port: u16,
    task: AbortHandle,
}

struct Target {
    /// Host and port that requests are sent to.
    authority: Authority,

    /// The names of this proxy in a client's `Host`. The proxy replaces such a `Host` by the target's.
    own: Vec<String>,
    authorization: HeaderValue,
    http: Client<HttpConnector, Body>,
}

impl HeaderProxy {
    /// Forwards every request to `target` with this access token. All other headers pass unchanged, including
    /// `Origin` and a foreign `Host`.
    pub async fn start(target: &Url, access_token: &str) -> Result<Self, HeaderProxyError> {
        let authority = match (target.host_str(), target.port()) {
            (Some(host), Some(port)) if target.scheme() == "http" => format!("{host}:{port}"),
            _ => return Err(HeaderProxyError::Target),
        };
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {access_token}")).map_err(|_| HeaderProxyError::Target)?;
        authorization.set_sensitive(true);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(HeaderProxyError::Listen)?;
        let port = listener.local_addr().map_err(HeaderProxyError::Listen)?.port();
        let state = Arc::new(Target {
            authority: authority.parse().map_err(|_| HeaderProxyError::Target)?,
            own: ["localhost", "127.0.0.1"]
                .map(|host| format!("{host}:{port}"))
                .to_vec(),
            authorization,
            http: Client::builder(TokioExecutor::new()).build_http(),
        });
        let router = Router::new().fallback(forward).with_state(state);
        let task = tokio::spawn(async move {
            // The task serves until it is aborted.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self {
            port,
            task: task.abort_handle(),
        })
    }

    /// Returns the URL of this path at the proxy, with the name of the loopback host.
    pub fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }
}

impl Drop for HeaderProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(State(target): State<Arc<Target>>, mut request: Request) -> Response {
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(target.authority.clone());
    let (Ok(uri), Ok(host)) = (
        Uri::from_parts(parts),
        HeaderValue::from_str(target.authority.as_str()),
    ) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, target.authorization.clone());
    let names_us = headers
        .get(header::HOST)
        .is_some_and(|value| target.own.iter().any(|own| value == own.as_str()));
    if names_us {
        headers.insert(header::HOST, host);
    }
    match target.http.request(request).await {
        Ok(response) => response.map(Body::new),
        Err(error) => (
            StatusCode::BAD_GATEWAY,
            format!("the target does not answer: {error}"),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::any;
    use http::HeaderMap;

    use super::*;

    /// Answers with the three request headers that the test checks.
    async fn echo(headers: HeaderMap) -> String {
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("-")
                .to_owned()
        };
        format!(
            "{} {} {}",
            text(header::AUTHORIZATION),
            text(header::HOST),
            text(header::ORIGIN)
        )
    }

    #[tokio::test]
    async fn adds_the_token_and_leaves_a_foreign_host_and_origin_alone() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(echo))).await });
        let proxy = HeaderProxy::start(&target.parse().unwrap(), "token")
            .await
            .unwrap();

        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = |host: Option<&'static str>| {
            let request = http.get(proxy.url("/mcp")).bearer_auth("another");
            match host {
                Some(host) => request
                    .header("host", host)
                    .header("origin", "http://evil.example"),
                None => request,
            }
        };
        let own = get(None).send().await.unwrap().text().await.unwrap();
        assert_eq!(
            own,
            format!("Bearer token {} -", target.trim_start_matches("http://"))
        );
        let foreign = get(Some("evil.example"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert_eq!(foreign, "Bearer token evil.example http://evil.example");
    }
}
