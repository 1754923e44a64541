//! The requests of one tool call of one user: with the token, with waits, and repeated after failures.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::Secret;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::answer_budget::{AnswerShare, OF_OBJECT, Reserved};
use super::classify::{self, Unexpected};
use super::client::AzureDevOps;
use super::failure::Failure;
use super::retry_budget::RetryBudget;
use super::transport::{self, Request};
use crate::metrics::RequestOutcome;
use crate::token::UserToken;

/// The requests of one tool call of one user.
pub(crate) struct Call {
    pub(super) client: AzureDevOps,
    token: Arc<dyn UserToken>,
    /// The memory that the answers to this call may use.
    answers: AnswerShare,
    state: Mutex<State>,
}

struct State {
    token: Secret,
    /// True after the first refused token was replaced.
    renewed: bool,
    retries: RetryBudget,
    /// The memory of answers that the call still uses.
    kept: Vec<Reserved>,
}

/// The requested answer.
pub(super) struct Answer {
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// True if bytes in front of `body` are missing.
    pub(super) cut: bool,
    /// The memory reserved for `body`.
    pub(super) reserved: Reserved,
}

/// A parsed JSON answer.
pub(super) struct Parsed<T> {
    pub(super) headers: HeaderMap,
    /// `None` if the answer has no body.
    pub(super) value: Option<T>,
    /// The memory reserved for `value`.
    pub(super) reserved: Reserved,
}

/// The outcome of sending a request once.
enum Attempt {
    Done(Answer),
    Repeat,
}

impl Call {
    /// Begins a call with the current token of the user.
    pub(crate) async fn begin(client: &AzureDevOps, token: Arc<dyn UserToken>) -> Result<Self, Failure> {
        let current = token.current().await?;
        let answers = client.answers(token.user());
        let state = State {
            token: current,
            renewed: false,
            retries: RetryBudget::default(),
            kept: Vec::new(),
        };
        Ok(Self {
            client: client.clone(),
            token,
            answers,
            state: Mutex::new(state),
        })
    }

    /// Returns the client that all calls share.
    pub(crate) fn client(&self) -> &AzureDevOps {
        &self.client
    }

    /// Sends a request, and repeats it until the answer is the requested one or no repetition helps.
    pub(super) async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        loop {
            let token = self.wait_for_turn().await?;
            match self.attempt(request, &token).await? {
                Attempt::Done(answer) => return Ok(answer),
                Attempt::Repeat => {}
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
            mut reserved,
            ..
        } = self.send(request).await?;
        let text = transport::without_bom(&body);
        let objects = transport::count_objects(text)
            .and_then(|objects| reserved.grow_to_parse(text.len(), objects).map(|()| objects))
            // The service has executed a write.
            .map_err(|failure| {
                if request.is_safe() {
                    failure
                } else {
                    Failure::OutcomeUnknown
                }
            })?;
        let value = if text.iter().all(u8::is_ascii_whitespace) {
            None
        } else {
            let parsed = serde_json::from_slice(text);
            Some(parsed.map_err(|_| Failure::Malformed("its JSON does not have the documented shape"))?)
        };
        reserved.shrink_to(body.len().max(objects * OF_OBJECT));
        Ok(Parsed {
            headers,
            value,
            reserved,
        })
    }

    /// Sends a request as [`Call::json`] does. The memory of the value stays reserved until the call ends.
    pub(super) async fn keep_json<T: DeserializeOwned>(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<T>, Failure> {
        let Parsed { value, reserved, .. } = self.json(request).await?;
        self.keep(reserved).await;
        Ok(value)
    }

    /// Keeps the memory of an answer reserved until the call ends.
    pub(super) async fn keep(&self, reserved: Reserved) {
        self.state.lock().await.kept.push(reserved);
    }

    /// Waits until the service accepts requests of this user again, and returns the token.
    async fn wait_for_turn(&self) -> Result<Secret, Failure> {
        let mut state = self.state.lock().await;
        let token = state.token.clone();
        if let Some(wait) = self.client.paused(&token).await {
            let Some(wait) = state.retries.spend(wait) else {
                return Err(Failure::Throttled { after: Some(wait) });
            };
            drop(state);
            tracing::debug!(
                pause_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "Waiting before the next request, as Azure DevOps asked"
            );
            tokio::time::sleep(wait).await;
        }
        Ok(token)
    }

    /// Sends a request once.
    async fn attempt(&self, request: &Request<'_>, token: &Secret) -> Result<Attempt, Failure> {
        let mut reserved = self.answers.reserve()?;
        let began = Instant::now();
        let count = |outcome| {
            let metrics = &self.client.inner.metrics;
            metrics.request(request.operation, outcome, began.elapsed());
        };
        let response = match transport::transmit(&self.client, request, token).await {
            Ok(response) => response,
            Err(error) => {
                count(RequestOutcome::Unavailable);
                return self.after_broken_connection(request, error).await;
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        let success = status.is_success() && status != StatusCode::NON_AUTHORITATIVE_INFORMATION;
        let read = transport::read(response, request.wanted, success, &mut reserved).await;
        if let Err(failure) = &read {
            count(match failure {
                Failure::Unreachable(_) => RequestOutcome::Unavailable,
                _ => RequestOutcome::Unread,
            });
        }
        let body = match read {
            Ok(body) => body,
            Err(Failure::NoMemory | Failure::TooLarge) if !request.is_safe() => {
                return Err(Failure::OutcomeUnknown);
            }
            Err(Failure::Unreachable(error)) => return self.after_broken_connection(request, error).await,
            Err(other) => return Err(other),
        };
        tracing::debug!(
            http.request.method = %request.method,
            http.response.status_code = status.as_u16(),
            http.response.body.size_bytes = body.bytes.len(),
            azure_devops.activity_id = transport::activity_id(&headers),
            "Azure DevOps answered a request for {}",
            request.what,
        );
        let classified = classify::classify(status, &headers, request.wanted, &body.bytes);
        count(match &classified {
            Ok(()) => RequestOutcome::Success,
            Err(Unexpected::Throttled { .. }) => RequestOutcome::Throttled,
            Err(Unexpected::Unavailable { .. }) => RequestOutcome::Unavailable,
            Err(_) => RequestOutcome::Refused,
        });
        let unexpected = match classified {
            Ok(()) => {
                // A successful answer of a user who is about to be throttled has `Retry-After`, too.
                if let Some(wait) = classify::retry_after(&headers).filter(|wait| !wait.is_zero()) {
                    self.client.pause(token, wait).await;
                }
                return Ok(Attempt::Done(Answer {
                    headers,
                    body: body.bytes,
                    cut: body.cut,
                    reserved,
                }));
            }
            // A server that answered 200 may have executed the request. A retry would execute it twice.
            Err(Unexpected::TokenRefused { .. })
                if !request.is_safe()
                    && status.is_success()
                    && !classify::is_sign_in_page(status, &headers) =>
            {
                return Err(Failure::OutcomeUnknown);
            }
            Err(unexpected) => unexpected,
        };
        self.after_unexpected(request, token, unexpected).await
    }

    /// Repeats a read. It is not known whether a write arrived, unless no connection was made.
    async fn after_broken_connection(
        &self,
        request: &Request<'_>,
        error: reqwest::Error,
    ) -> Result<Attempt, Failure> {
        let error = error.without_url();
        if !request.is_safe() && !error.is_connect() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Azure DevOps did not answer a write ({}), which may have been done; the user is told to check",
                request.operation.as_str()
            );
            return Err(Failure::OutcomeUnknown);
        }
        if error.is_timeout() {
            return Err(Failure::TimedOut);
        }
        match self.wait(None).await {
            Some(()) => Ok(Attempt::Repeat),
            None => Err(Failure::Unreachable(error)),
        }
    }

    async fn after_unexpected(
        &self,
        request: &Request<'_>,
        token: &Secret,
        unexpected: Unexpected,
    ) -> Result<Attempt, Failure> {
        match unexpected {
            Unexpected::TokenRefused { claims } => self.renew(token, claims).await.map(|()| Attempt::Repeat),
            Unexpected::Throttled { after } => {
                if let Some(after) = after {
                    self.client.pause(token, after).await;
                    // `wait_for_turn` waits, or gives up if the wait is too long.
                    if !self.count_retry().await {
                        return Err(Failure::Throttled { after: Some(after) });
                    }
                    return Ok(Attempt::Repeat);
                }
                self.wait(None)
                    .await
                    .map(|()| Attempt::Repeat)
                    .ok_or(Failure::Throttled { after })
            }
            Unexpected::Unavailable { .. } if !request.is_safe() => Err(Failure::OutcomeUnknown),
            Unexpected::Unavailable { status, after } => self
                .wait(after)
                .await
                .map(|()| Attempt::Repeat)
                .ok_or(Failure::Unavailable { status, after }),
            other => Err(self.describe(request, other).await),
        }
    }

    /// Returns the failure that tells the model about an answer that no repetition changes.
    async fn describe(&self, request: &Request<'_>, unexpected: Unexpected) -> Failure {
        let organization = self.client.organization().to_owned();
        match unexpected {
            Unexpected::TenantMismatch => Failure::TenantMismatch {
                organization,
                tenant: self.client.organization_tenant().await,
            },
            Unexpected::NeverSignedIn => Failure::NeverSignedIn { organization },
            Unexpected::NoProject => Failure::NoProject {
                organization,
                project: request.project.to_owned(),
            },
            Unexpected::NotFound(message) => Failure::NotFound {
                what: request.what.to_owned(),
                message,
            },
            Unexpected::Denied(message) => Failure::Denied { message },
            Unexpected::Invalid { status, message } => Failure::Invalid { status, message },
            // `after_unexpected` handles these.
            Unexpected::TokenRefused { .. } => Failure::Malformed("a refused token"),
            Unexpected::Throttled { after } => Failure::Throttled { after },
            Unexpected::Unavailable { status, after } => Failure::Unavailable { status, after },
        }
    }

    async fn wait(&self, asked: Option<Duration>) -> Option<()> {
        let wait = self.state.lock().await.retries.next_wait(asked)?;
        tokio::time::sleep(wait).await;
        Some(())
    }

    async fn count_retry(&self) -> bool {
        self.state
            .lock()
            .await
            .retries
            .next_wait(Some(Duration::ZERO))
            .is_some()
    }

    /// Replaces a refused token, once in a call. Concurrent requests that were refused with the same token share
    /// the new one.
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
