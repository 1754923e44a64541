//! The layer that records a span for each request that a program answers.

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, Response};
use axum::middleware::Next;

use super::context::TraceContext;
use super::tracer::Tracer;
use crate::guarded_body;

/// The layer of a router that has a collector: [`traced`] with the path that the router matched.
pub async fn trace_request(State(tracer): State<Tracer>, request: Request, next: Next) -> Response<Body> {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    traced(&tracer, route, request, |request| next.run(request)).await
}

/// Begins the trace of a request to the path `route`. It is the [`current`](super::current) one until the answer begins. The span
/// ends with the last byte of the answer.
pub async fn traced<F: Future<Output = Response<Body>>>(
    tracer: &Tracer,
    route: Option<&str>,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response<Body> {
    let method = method_name(request.method());
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    let span = tracer.begin(name, TraceContext::of(request.headers()));
    let trace = span.trace();
    trace.set("http.request.method", method);
    if let Some(route) = route {
        trace.set("http.route", route);
    }
    let response = trace.clone().scope(answer(request)).await;
    let status = response.status();
    trace.set("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        trace.fail();
    }
    response.map(|body| guarded_body(body, span))
}

/// Returns the method as OpenTelemetry names it. Clients choose the text of unknown methods.
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}
