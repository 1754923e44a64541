//! One tool call of one user: sending, waiting, asking again.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::Secret;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use url::Url;

use super::answer_budget::{AnswerShare, Taken};
use super::error::Failure;
use super::failure::{self, Unwanted, Wanted};
use super::patience::Patience;
use super::service::{self, AzureDevOps};
use crate::token::UserToken;

/// The largest JSON that is read: a timeline of 2,750 records has 2.1 MB.
const LARGEST_JSON: usize = 8 * 1024 * 1024;

/// The most that is read of a log before its end is given up.
const LARGEST_LOG: usize = 32 * 1024 * 1024;

/// How much of the end of a text is kept.
const KEPT_TEXT: usize = 256 * 1024;

/// The most that is read of an error.
const LARGEST_ERROR: usize = 64 * 1024;

/// One tool call of one user.
pub(crate) struct Call {
    pub(super) service: AzureDevOps,
    token: Arc<dyn UserToken>,
    /// The memory that the answers to this call may use.
    answers: AnswerShare,
    state: Mutex<State>,
}

struct State {
    token: Secret,
    renewed: bool,
    patience: Patience,
    /// The memory of answers that the call still uses.
    kept: Vec<Taken>,
}

/// A request, in the terms of the API.
pub(super) struct Request<'request> {
    pub(super) method: Method,
    pub(super) address: Url,
    pub(super) wanted: Wanted,
    pub(super) body: Option<&'request serde_json::Value>,
    /// The project it is about, for messages.
    pub(super) project: &'request str,
    /// What is looked for, for messages.
    pub(super) what: &'request str,
}

/// An answer that is what was asked for.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Something in front of `body` was left out.
    pub(super) cut: bool,
    /// The memory reserved for `body`.
    pub(super) taken: Taken,
}

/// A parsed JSON answer.
pub(super) struct Parsed<T> {
    pub(super) headers: HeaderMap,
    /// `None` when the answer has no body.
    pub(super) value: Option<T>,
    /// The memory reserved for `value`.
    pub(super) taken: Taken,
}

/// What one try came to.
enum Try {
    Done(Answer),
    Again,
}

impl Call {
    pub(super) fn new(
        service: AzureDevOps,
        token: Arc<dyn UserToken>,
        current: Secret,
        budget: Duration,
    ) -> Self {
        let answers = service.answers(&current);
        let state = State {
            token: current,
            renewed: false,
            patience: Patience::new(budget),
            kept: Vec::new(),
        };
        Self {
            service,
            token,
            answers,
            state: Mutex::new(state),
        }
    }

    /// Azure DevOps, as all users see it.
    pub(crate) fn service(&self) -> &AzureDevOps {
        &self.service
    }

    /// Sends until there is an answer or a reason to stop.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        loop {
            let token = self.ready().await?;
            match self.try_once(request, &token).await? {
                Try::Done(answer) => return Ok(answer),
                Try::Again => {}
            }
        }
    }

    /// Sends a request as [`Call::send`] does and parses the answer as JSON.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> Result<Parsed<T>, Failure> {
        let Answer {
            headers,
            body,
            mut taken,
            ..
        } = self.send(request).await?;
        let text = failure::without_bom(&body);
        let value = if text.iter().all(u8::is_ascii_whitespace) {
            None
        } else {
            let parsed = serde_json::from_slice(text);
            Some(parsed.map_err(|_| Failure::Malformed("its JSON has another shape"))?)
        };
        taken.shrink_to(body.len());
        Ok(Parsed {
            headers,
            value,
            taken,
        })
    }

    /// Sends a request as [`Call::json`] does. The memory of the value stays reserved until the call ends.
    pub(super) async fn keep_json<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<T>, Failure> {
        let Parsed { value, taken, .. } = self.json(request).await?;
        self.keep(taken).await;
        Ok(value)
    }

    /// Keeps the memory of an answer reserved until the call ends.
    pub(super) async fn keep(&self, taken: Taken) {
        self.state.lock().await.kept.push(taken);
    }

    /// The token, when the service wants to hear from this user again.
    async fn ready(&self) -> Result<Secret, Failure> {
        let mut state = self.state.lock().await;
        let token = state.token.clone();
        if let Some(wait) = self.service.paused(&token).await {
            let Some(wait) = state.patience.take(wait) else {
                return Err(Failure::Throttled { after: Some(wait) });
            };
            drop(state);
            tracing::debug!(
                wait_ms = wait.as_millis(),
                "Waiting before the next request, as Azure DevOps asked"
            );
            tokio::time::sleep(wait).await;
        }
        Ok(token)
    }

    async fn try_once(&self, request: &Request<'_>, token: &Secret) -> Result<Try, Failure> {
        let mut space = self.answers.take()?;
        let response = match self.transmit(request, token).await {
            Ok(response) => response,
            Err(error) => return self.after_broken_connection(request, error).await,
        };
        let status = response.status();
        let headers = response.headers().clone();
        let success = status.is_success() && status != StatusCode::NON_AUTHORITATIVE_INFORMATION;
        let body = match read(response, request.wanted, success, &mut space).await {
            Ok(body) => body,
            Err(Failure::NoRoom | Failure::TooLarge) if !is_safe(request) => {
                return Err(Failure::OutcomeUnknown);
            }
            Err(Failure::Unreachable(error)) => return self.after_broken_connection(request, error).await,
            Err(other) => return Err(other),
        };
        tracing::debug!(
            http.request.method = %request.method,
            http.response.status_code = status.as_u16(),
            http.response.body.size_bytes = body.bytes.len(),
            azure_devops.activity_id = activity(&headers),
            "Azure DevOps answered a request for {}",
            request.what,
        );
        let unwanted = match failure::judge(status, &headers, request.wanted, &body.bytes) {
            Ok(()) => {
                // A delayed answer may carry the wish to slow down.
                if let Some(wait) = failure::retry_after(&headers).filter(|wait| !wait.is_zero()) {
                    self.service.pause(token, wait).await;
                }
                return Ok(Try::Done(Answer {
                    headers,
                    body: body.bytes,
                    cut: body.cut,
                    taken: space,
                }));
            }
            // A server that answered 200 may have executed the request. A retry would execute it twice.
            Err(Unwanted::SignIn { .. })
                if !is_safe(request)
                    && status.is_success()
                    && !failure::is_sign_in_page(status, &headers) =>
            {
                return Err(Failure::OutcomeUnknown);
            }
            Err(unwanted) => unwanted,
        };
        self.after_unwanted(request, token, unwanted).await
    }

    async fn transmit(
        &self,
        request: &Request<'_>,
        token: &Secret,
    ) -> Result<reqwest::Response, reqwest::Error> {
        let shared = &self.service.shared;
        let accept = match request.wanted {
            Wanted::Json => "application/json",
            Wanted::Text => "text/plain",
        };
        let mut builder = shared
            .http
            .client()
            .request(request.method.clone(), request.address.clone())
            .header(AUTHORIZATION, bearer(token))
            .header(ACCEPT, accept)
            .header(USER_AGENT, service::USER_AGENT);
        if shared.options.suppress_sign_in_page {
            builder = builder.header("x-tfs-fedauthredirect", "Suppress");
        }
        if let Some(body) = request.body {
            builder = builder.json(body);
        }
        builder.send().await
    }

    /// Nobody knows whether a write arrived, unless there was no connection at all; a read is asked again.
    async fn after_broken_connection(
        &self,
        request: &Request<'_>,
        error: reqwest::Error,
    ) -> Result<Try, Failure> {
        let error = error.without_url();
        if !is_safe(request) && !error.is_connect() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Azure DevOps gave no answer to a write"
            );
            return Err(Failure::OutcomeUnknown);
        }
        if error.is_timeout() {
            return Err(Failure::TimedOut);
        }
        match self.wait(None).await {
            Some(()) => Ok(Try::Again),
            None => Err(Failure::Unreachable(error)),
        }
    }

    async fn after_unwanted(
        &self,
        request: &Request<'_>,
        token: &Secret,
        unwanted: Unwanted,
    ) -> Result<Try, Failure> {
        match unwanted {
            Unwanted::SignIn { claims } => self.renew(token, claims).await.map(|()| Try::Again),
            Unwanted::Throttled { after } => {
                if let Some(after) = after {
                    self.service.pause(token, after).await;
                    // `ready` waits, or gives up when it is too long.
                    if !self.count_retry().await {
                        return Err(Failure::Throttled { after: Some(after) });
                    }
                    return Ok(Try::Again);
                }
                self.wait(None)
                    .await
                    .map(|()| Try::Again)
                    .ok_or(Failure::Throttled { after })
            }
            Unwanted::Unavailable { .. } if !is_safe(request) => Err(Failure::OutcomeUnknown),
            Unwanted::Unavailable { status, after } => self
                .wait(after)
                .await
                .map(|()| Try::Again)
                .ok_or(Failure::Unavailable { status, after }),
            other => Err(self.describe(request, other).await),
        }
    }

    /// A refusal in words.
    async fn describe(&self, request: &Request<'_>, unwanted: Unwanted) -> Failure {
        let organization = self.service.organization().to_owned();
        match unwanted {
            Unwanted::TenantMismatch => Failure::TenantMismatch {
                organization,
                tenant: self.service.organization_tenant().await,
            },
            Unwanted::NeverSignedIn => Failure::NeverSignedIn { organization },
            Unwanted::NoProject => Failure::NoProject {
                organization,
                project: request.project.to_owned(),
            },
            Unwanted::NotFound(message) => Failure::NotFound {
                what: request.what.to_owned(),
                message,
            },
            Unwanted::Denied(message) => Failure::Denied { message },
            Unwanted::Invalid { status, message } => Failure::Invalid { status, message },
            // Handled by the caller.
            Unwanted::SignIn { .. } => Failure::Malformed("a refused token"),
            Unwanted::Throttled { after } => Failure::Throttled { after },
            Unwanted::Unavailable { status, after } => Failure::Unavailable { status, after },
        }
    }

    async fn wait(&self, asked: Option<Duration>) -> Option<()> {
        let wait = self.state.lock().await.patience.before_retry(asked)?;
        tokio::time::sleep(wait).await;
        Some(())
    }

    async fn count_retry(&self) -> bool {
        self.state
            .lock()
            .await
            .patience
            .before_retry(Some(Duration::ZERO))
            .is_some()
    }

    /// One fresh token in a call. Requests that run side by side and were refused with the same token share
    /// it.
    async fn renew(&self, refused: &Secret, claims: Option<String>) -> Result<(), Failure> {
        let mut state = self.state.lock().await;
        if state.token != *refused {
            return Ok(());
        }
        if state.renewed {
            return Err(self.token.give_up(claims).into());
        }
        state.renewed = true;
        state.token = self.token.renew(claims.as_deref()).await?;
        Ok(())
    }
}

/// Reads change nothing, so they may be repeated.
fn is_safe(request: &Request<'_>) -> bool {
    request.method.is_safe()
}

fn bearer(token: &Secret) -> HeaderValue {
    let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
    // Tokens are visible ASCII: the places that take them in see to it.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

/// The id by which Microsoft's support finds a request. `x-vss-userdata`, which comes beside it, names the
/// user and is not touched.
fn activity(headers: &HeaderMap) -> &str {
    ["activityid", "x-vss-e2eid"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .filter(|id| id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        .unwrap_or_default()
}

struct Body {
    bytes: Vec<u8>,
    cut: bool,
}

/// Reads a body within bounds: JSON whole or not at all, of a text the end, of an error the beginning.
async fn read(
    mut response: reqwest::Response,
    wanted: Wanted,
    success: bool,
    taken: &mut Taken,
) -> Result<Body, Failure> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut total = 0_usize;
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(Failure::Unreachable)? {
        total = total.saturating_add(chunk.len());
        taken.grow_to(bytes.len() + chunk.len())?;
        bytes.extend_from_slice(&chunk);
        match (success, wanted) {
            (false, _) if bytes.len() > LARGEST_ERROR => {
                bytes.truncate(LARGEST_ERROR);
                return Ok(Body { bytes, cut: true });
            }
            (true, Wanted::Json) if bytes.len() > LARGEST_JSON => return Err(Failure::TooLarge),
            (true, Wanted::Text) => {
                if bytes.len() > 2 * KEPT_TEXT {
                    bytes.drain(..bytes.len() - KEPT_TEXT);
                    cut = true;
                }
                if total > LARGEST_LOG {
                    return Err(Failure::TooLarge);
                }
            }
            _ => {}
        }
    }
    Ok(Body { bytes, cut })
}
