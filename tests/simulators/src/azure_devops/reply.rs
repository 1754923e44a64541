//! Good answers: bare objects, the list envelope and the continuation header.

use axum::{
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures::{StreamExt, TryStreamExt, stream};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

/// A page of a list.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    /// Token of the next page; absent on the last.
    pub(super) continuation: Option<String>,
}

impl Page {
    pub(super) fn whole(items: Vec<Value>) -> Self {
        Self {
            items,
            continuation: None,
        }
    }

    /// `size` items from `offset` on, and the token that `token_of` makes for the offset of the next page.
    pub(super) fn cut(
        items: Vec<Value>,
        offset: usize,
        size: usize,
        token_of: impl FnOnce(usize) -> String,
    ) -> Self {
        let total = items.len();
        let next = offset.saturating_add(size);
        Self {
            items: items.into_iter().skip(offset).take(size).collect(),
            continuation: (next < total).then(|| token_of(next)),
        }
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let mut response = json_response(&json!({"count": self.items.len(), "value": self.items}));
        if let Some(value) = self
            .continuation
            .and_then(|token| HeaderValue::from_str(&token).ok())
        {
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-ms-continuationtoken"), value);
        }
        response
    }
}

/// A bare object.
pub(super) fn json_response(value: &Value) -> Response {
    let mut response = (StatusCode::OK, value.to_string()).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json; charset=utf-8; api-version=7.1"),
    );
    response
}

/// A body of some type.
pub(super) fn typed(status: StatusCode, content_type: &str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    let value =
        HeaderValue::from_str(content_type).unwrap_or_else(|_| HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

/// The sign-in page that the service sends in place of an answer.
pub(super) fn sign_in_page(status: StatusCode) -> Response {
    typed(
        status,
        "text/html; charset=utf-8",
        "<!DOCTYPE html><html lang=\"en-US\"><head><title>Azure DevOps Services | Sign In</title></head>\
         <body><p>Sign in to your account to continue.</p></body></html>",
    )
}

pub(super) fn is_json(response: &Response) -> bool {
    response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/json"))
}

/// Puts a byte order mark in front.
pub(super) fn with_byte_order_mark(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let mark = stream::once(async { Ok::<_, axum::Error>(Bytes::from_static(b"\xEF\xBB\xBF")) });
    Response::from_parts(parts, Body::from_stream(mark.chain(body.into_data_stream())))
}

/// Lets the body come in small pieces with pauses.
pub(super) fn slowly(response: Response, piece: usize, pause: std::time::Duration) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let pieces = body.into_data_stream().flat_map(move |data| {
        let pieces: Vec<Result<Bytes, axum::Error>> = match data {
            Ok(data) => data
                .chunks(piece.max(1))
                .map(|piece| Ok(Bytes::copy_from_slice(piece)))
                .collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(pieces)
    });
    let paused = pieces.then(move |piece| async move {
        tokio::time::sleep(pause).await;
        piece
    });
    Response::from_parts(parts, Body::from_stream(paused))
}

/// Breaks the body off after some bytes, as a lost connection does.
pub(super) fn cut_off(response: Response, after: usize) -> Response {
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut left = after;
    let beginning = body
        .into_data_stream()
        .map_err(std::io::Error::other)
        .and_then(move |mut data| {
            let kept = data.split_to(left.min(data.len()));
            left -= kept.len();
            async move { Ok(kept) }
        })
        .take_while(|piece| {
            let more = piece.as_ref().is_ok_and(|piece| !piece.is_empty());
            async move { more }
        });
    let broken = stream::once(async {
        // After a pause hyper sends the bytes that it has buffered. An immediate error would discard them.
        tokio::task::yield_now().await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    Response::from_parts(parts, Body::from_stream(beginning.chain(broken)))
}
