//! The request that causes the audit lines of the running task: when it arrived, and its trace.
//!
//! The lines of a login or of an ended session are written far from the request. Each of them finds its request here.

use std::cell::Cell;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use behalf_runtime::trace::{self, TraceContext, TraceId};
use tokio::task::futures::TaskLocalFuture;
use tokio::time::Instant;

tokio::task_local! {
    static CURRENT: Cell<RequestCause>;
}

/// A request that this process answers, or has answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestCause {
    /// The time of its arrival.
    pub(crate) began: Instant,

    /// Its trace. Without a collector it is the one that the client names, if it names one.
    pub(crate) trace: Option<TraceId>,
}

impl RequestCause {
    /// A request with these headers that has just arrived.
    pub(crate) fn arrived(headers: &HeaderMap) -> Self {
        let of_client = || TraceContext::of(headers).map(|context| context.trace_id());
        Self {
            began: Instant::now(),
            trace: trace::current().map(|trace| trace.trace_id()).or_else(of_client),
        }
    }

    /// Runs `future` on behalf of this request.
    pub(crate) fn scope<F: Future>(self, future: F) -> TaskLocalFuture<Cell<Self>, F> {
        CURRENT.scope(Cell::new(self), future)
    }
}

/// Returns the request on whose behalf this task runs. `None` for work that the process does by itself.
pub(crate) fn current() -> Option<RequestCause> {
    CURRENT.try_with(Cell::get).ok()
}

/// The message of the request on whose behalf this task runs names this trace.
pub(crate) fn set_trace(id: TraceId) {
    // Work without a request has no trace to replace.
    let _ = CURRENT.try_with(|current| {
        current.set(RequestCause {
            trace: Some(id),
            ..current.get()
        });
    });
}

/// Runs `future` on behalf of the request of the calling task, for a task of its own.
pub(crate) fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let cause = current();
    async move {
        match cause {
            Some(cause) => cause.scope(future).await,
            None => future.await,
        }
    }
}

/// The layer of a router whose requests cause audit lines.
pub(crate) async fn remember_request(request: Request, next: Next) -> Response {
    let cause = RequestCause::arrived(request.headers());
    cause.scope(next.run(request)).await
}
