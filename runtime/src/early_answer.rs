//! Answers a request whose handler panics, and reads the rest of a request's body when the answer is ready before its end.
//!
//! hyper closes an HTTP/1.1 connection whose body was not read to its end, without an announcement in the
//! answer. The client notices at its next request, or loses the answer to a reset. Therefore the rest of the
//! body is read and dropped first. Where that would take too long, the answer says `Connection: close`, and
//! `stream` lets the client read it. All HTTP/1.1 servers have this problem; the bounds follow nginx's
//! `lingering_close`.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONNECTION, EXPECT};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;
use tower::ServiceExt as _;

use crate::service::Service;

/// Maximum number of bytes that are read and dropped to keep a connection: the largest message of `/mcp`.
const REST_BYTES: u64 = 4 * 1024 * 1024;

/// Maximum time that an answer waits for the rest of the body. A body that is sent with its head arrives
/// within milliseconds.
const REST_TIME: Duration = Duration::from_secs(1);

/// Runs the request, and answers after its body was read or given up.
pub(crate) async fn after_body(service: impl Service, request: Request) -> Response {
    if request.body().is_end_stream() {
        return run(service, request).await;
    }
    let is_http1 = request.version() < Version::HTTP_2;
    let waits_for_continue = request
        .headers()
        .get(EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let unread = UnreadBody::default();
    let request = request.map(|body| {
        Body::new(RecoverableBody {
            body: Some(body),
            is_begun: false,
            unread: unread.clone(),
        })
    });
    let mut response = run(service, request).await;
    let Some(Rest { body, is_begun }) = unread.take() else {
        return response;
    };
    // Reading would send `100 Continue` and request a body that the handler does not need (RFC 9110, section
    // 10.1.1).
    let may_read = is_begun || !waits_for_continue;
    if !(may_read && is_read_to_end(body).await) && is_http1 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Runs the request. One connection of a gateway carries the requests of many users, so that a panic in one of them is an
/// answer and does not end the connection.
async fn run(service: impl Service, request: Request) -> Response {
    match AssertUnwindSafe(service.oneshot(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("it has no message");
            tracing::error!("A request panicked; see the panic message above (stderr): {text}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Reads and drops the rest of a body. Returns false when it exceeds the limit of bytes or of time.
async fn is_read_to_end(mut body: Body) -> bool {
    if body.size_hint().lower() > REST_BYTES {
        return false;
    }
    let mut length = 0;
    let read = std::future::poll_fn(|context| {
        loop {
            match std::task::ready!(Pin::new(&mut body).poll_frame(context)) {
                Some(Ok(frame)) => length += frame.data_ref().map_or(0, |data| data.len() as u64),
                Some(Err(_)) => return Poll::Ready(false),
                None => return Poll::Ready(true),
            }
            if length > REST_BYTES {
                return Poll::Ready(false);
            }
        }
    });
    timeout(REST_TIME, read).await.unwrap_or(false)
}

/// The part of a body that a handler did not read.
struct Rest {
    body: Body,
    /// The handler has read a part of the body, or tried to.
    is_begun: bool,
}

/// Where a [`RecoverableBody`] puts the part of it that was not read.
#[derive(Clone, Default)]
struct UnreadBody(Arc<Mutex<Option<Rest>>>);

impl UnreadBody {
    fn put(&self, rest: Rest) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
    }

    fn take(&self) -> Option<Rest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A body that returns its rest when its reader stops before the end.
struct RecoverableBody {
    /// `None` after the end.
    body: Option<Body>,
    is_begun: bool,
    unread: UnreadBody,
}

impl HttpBody for RecoverableBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.is_begun = true;
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(body).poll_frame(context));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for RecoverableBody {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !body.is_end_stream()
        {
            let is_begun = self.is_begun;
            self.unread.put(Rest { body, is_begun });
        }
    }
}
