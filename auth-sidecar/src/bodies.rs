//! Bodies of requests: how much memory they may take, each and together, and how long they may take to come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For the whole body of a request. Messages and forms are small; whoever sends slower holds a connection.
const TIME: Duration = Duration::from_secs(30);

const MIB: usize = 1024 * 1024;

/// For messages of users who have signed in: 14 of the largest.
const FOR_MESSAGES: usize = 56 * MIB;

/// For what anybody may send: 256 of the largest forms. A share of its own, so that strangers cannot take
/// the room of the signed-in.
const FOR_FORMS: usize = 8 * MIB;

/// The memory for all bodies on their way in at the public port, 64 MiB.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// `/mcp`.
    pub(crate) messages: Share,

    /// The OAuth endpoints.
    pub(crate) forms: Share,
}

/// A part of the memory.
#[derive(Debug)]
pub(crate) struct Share(Arc<Semaphore>);

/// A part of a share, in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Given back with the value.
    _bytes: OwnedSemaphorePermit,
}

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// One body beyond its bound.
    #[error("the body is too large")]
    TooLarge,

    /// Not whole in time.
    #[error("the body did not arrive in time")]
    Late,

    /// The sender stopped.
    #[error("the body could not be read to its end")]
    Broken,

    /// All bodies together.
    #[error("the server is reading as much as it has memory for; try again")]
    NoMemory,
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self {
            messages: Share::of(FOR_MESSAGES),
            forms: Share::of(FOR_FORMS),
        }
    }
}

impl Share {
    fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Reads a body of at most `largest` bytes. Memory is taken as bytes come, so that announcing them takes
    /// none; when there is no more, nobody waits.
    pub(crate) async fn read(&self, body: Body, largest: usize) -> Result<(Bytes, Taken), ReadError> {
        tokio::time::timeout(TIME, self.collect(body, largest))
            .await
            .map_err(|_| ReadError::Late)?
    }

    async fn collect(&self, mut body: Body, largest: usize) -> Result<(Bytes, Taken), ReadError> {
        let mut bytes = BytesMut::new();
        let mut taken = self.take(0)?;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
                continue;
            };
            if bytes.len().saturating_add(data.len()) > largest {
                return Err(ReadError::TooLarge);
            }
            taken.merge(self.take(data.len())?);
            bytes.extend_from_slice(&data);
        }
        Ok((bytes.freeze(), Taken { _bytes: taken }))
    }

    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ReadError> {
        let bytes = u32::try_from(bytes).map_err(|_| ReadError::TooLarge)?;
        Arc::clone(&self.0)
            .try_acquire_many_owned(bytes)
            .map_err(|_| ReadError::NoMemory)
    }
}

/// A body that gives its memory back when it has been sent.
pub(crate) fn passed_on(bytes: Bytes, taken: Taken) -> Body {
    Body::new(PassedOn {
        body: Full::new(bytes),
        _taken: taken,
    })
}

struct PassedOn {
    body: Full<Bytes>,
    _taken: Taken,
}

impl HttpBody for PassedOn {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(share: &Share) -> usize {
        share.0.available_permits()
    }

    #[tokio::test]
    async fn memory_comes_back_however_a_body_ends() {
        let share = Share::of(10);
        let (bytes, taken) = share.read(Body::from("12345678"), 8).await.unwrap();
        assert_eq!((&*bytes, left(&share)), (&b"12345678"[..], 2));
        let more = share.read(Body::from("123"), 8).await;
        assert_eq!(more.unwrap_err(), ReadError::NoMemory);
        let body = passed_on(bytes, taken);
        assert_eq!((HttpBody::size_hint(&body).exact(), left(&share)), (Some(8), 2));
        drop(body);
        assert_eq!(left(&share), 10);
        let large = share.read(Body::from("123456789"), 8).await;
        assert_eq!(large.unwrap_err(), ReadError::TooLarge);
        assert_eq!(left(&share), 10);
    }
}
