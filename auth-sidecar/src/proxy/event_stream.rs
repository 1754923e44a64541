//! Begins an event stream whose first event is not there yet with a comment.
//!
//! nginx forwards the head of an answer over HTTP/2 with the first byte of its body, also with `proxy_buffering off`, and answers
//! 504 if that byte does not come. Clients ignore a comment (HTML, section 9.2.6).

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

const COMMENT: &[u8] = b":\n\n";

/// The body of an event stream, with a comment at its beginning if the server sends its first event later.
pub(super) struct WithLeadingComment<B> {
    body: B,
    may_add: bool,
}

impl<B: HttpBody> WithLeadingComment<B> {
    /// `headers` are those of the answer. A body that is encoded, or whose length is announced, stays as it is.
    pub(super) fn new(body: B, headers: &HeaderMap) -> Self {
        let may_add = !headers.contains_key(CONTENT_ENCODING) && body.size_hint().exact().is_none();
        Self { body, may_add }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for WithLeadingComment<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let may_add = std::mem::take(&mut self.may_add);
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if frame.is_pending() && may_add {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(COMMENT)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if self.may_add
            && let Some(upper) = hint.upper()
        {
            hint.set_upper(upper.saturating_add(COMMENT.len() as u64));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::http::HeaderValue;
    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;

    use super::*;

    /// The first frame of a body whose first event comes after `pauses` polls.
    async fn first_frame(pauses: usize, headers: &HeaderMap) -> Bytes {
        let mut left = pauses;
        let pause = stream::poll_fn(move |context: &mut Context<'_>| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        });
        let events = pause.chain(stream::iter([Ok::<_, Infallible>(Bytes::from_static(
            b"data: 1\n\n",
        ))]));
        let mut body = WithLeadingComment::new(Body::from_stream(events), headers);
        body.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn only_a_stream_without_a_first_event_begins_with_a_comment() {
        let plain = HeaderMap::new();
        assert_eq!(first_frame(1, &plain).await, ":\n\n");
        assert_eq!(first_frame(0, &plain).await, "data: 1\n\n");
        let encoded = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(first_frame(1, &encoded).await, "data: 1\n\n");
    }
}
