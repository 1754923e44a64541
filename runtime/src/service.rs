//! The service behind a listener.

use std::convert::Infallible;

use axum::extract::Request;
use axum::response::Response;

/// Answers the requests of a listener: a router, or another service that cannot fail. A failure would close the connection
/// without an answer.
pub trait Service:
    tower::Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Service for S where
    S: tower::Service<Request, Response = Response, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}
