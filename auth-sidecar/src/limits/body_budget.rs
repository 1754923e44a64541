//! Reads the bodies of requests, within limits of memory and time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Maximum time for a whole message, which may have 4 MiB. A slower sender would only occupy a connection.
const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// Maximum time for a whole form. It fits into a few packets.
const FORM_TIME: Duration = Duration::from_secs(5);

/// Maximum size of a form in bytes. The largest is a consent form: a request of at most 4 KiB, and a token. A
/// registration with ten redirect URIs is shorter, because its client id has at most 1 KiB. All connections and
/// HTTP/2 streams together have at most 8064 forms, 63 MiB: forms need no common budget, so slow senders of some
/// forms cannot keep out others. A request that waits for the MCP server reads as much of its answer ahead.
pub(super) const MAX_FORM_BYTES: usize = 8 * 1024;

const MIB: usize = 1024 * 1024;

/// Maximum memory for the messages of all users in bytes: 14 of the largest messages.
pub(super) const FOR_MESSAGES: usize = 56 * MIB;

/// Maximum memory for the messages of one user in bytes, through all sessions: two of the largest messages.
const FOR_USER: usize = 8 * MIB;

/// A budget of memory for messages, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct MessageMemory(Arc<Semaphore>);

/// A part of a [`MessageMemory`]. Its drop returns it.
#[derive(Debug)]
pub(crate) struct Reservation(OwnedSemaphorePermit);

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The body exceeds its limit.
    #[error("the body is too large")]
    TooLarge,

    /// The body did not end in time.
    #[error("the body did not arrive in time")]
    TimedOut,

    /// The connection ended before the body did.
    #[error("the body could not be read to its end")]
    Broken,
}

/// Why a message was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// The message itself could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),

    /// The messages of all users use all the memory.
    #[error("the memory for messages is in use")]
    NoMemory,

    /// The messages of this user use all the memory of one user.
    #[error("this user's memory for messages is in use")]
    NoMemoryOfUser,
}

/// Reads the body of an OAuth endpoint.
pub(crate) async fn read_form(body: Body) -> Result<Bytes, ReadError> {
    // The first bytes allocate the whole buffer, because a buffer that grows may take twice its bytes.
    let mut bytes = BytesMut::new();
    let keep = |data: &Bytes| -> Result<(), ReadError> {
        bytes.reserve(MAX_FORM_BYTES - bytes.len());
        bytes.extend_from_slice(data);
        Ok(())
    };
    timeout(FORM_TIME, collect(body, MAX_FORM_BYTES, keep))
        .await
        .map_err(|_| ReadError::TimedOut)??;
    Ok(bytes.freeze())
}

impl MessageMemory {
    /// The memory for the messages of all users.
    pub(crate) fn of_all() -> Self {
        Self::new(FOR_MESSAGES)
    }

    /// The memory for the messages of one user.
    pub(crate) fn of_user() -> Self {
        Self::new(FOR_USER)
    }

    fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Reads a message of at most `largest` bytes, and charges it to this budget and to that of `user`. It charges the
    /// bytes that arrive, not the announced length. Without enough memory it fails at once.
    pub(crate) async fn read(
        &self,
        user: &Self,
        body: Body,
        largest: usize,
    ) -> Result<(Bytes, [Reservation; 2]), MessageError> {
        let full = MessageError::NoMemory;
        let full_of_user = MessageError::NoMemoryOfUser;
        let mut reservations = [user.reserve(0, full_of_user)?, self.reserve(0, full)?];
        // Parts are copied: they share the read buffer of their connection, which is larger and stays with them.
        let mut bytes = BytesMut::new();
        let keep = |data: &Bytes| -> Result<(), MessageError> {
            let [of_user, of_all] = &mut reservations;
            of_user.0.merge(user.reserve(data.len(), full_of_user)?.0);
            of_all.0.merge(self.reserve(data.len(), full)?.0);
            bytes.extend_from_slice(data);
            Ok(())
        };
        timeout(MESSAGE_TIME, collect(body, largest, keep))
            .await
            .map_err(|_| ReadError::TimedOut)??;
        Ok((bytes.freeze(), reservations))
    }

    fn reserve(&self, bytes: usize, full: MessageError) -> Result<Reservation, MessageError> {
        let bytes = u32::try_from(bytes).map_err(|_| ReadError::TooLarge)?;
        let permit = Arc::clone(&self.0).try_acquire_many_owned(bytes);
        permit.map(Reservation).map_err(|_| full)
    }
}

/// Passes each part of `body` to `keep`.
async fn collect<E: From<ReadError>>(
    mut body: Body,
    largest: usize,
    mut keep: impl FnMut(&Bytes) -> Result<(), E> + Send,
) -> Result<(), E> {
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length > largest {
            return Err(ReadError::TooLarge.into());
        }
        keep(&data)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::HttpBody as _;
    use behalf_runtime::guarded_body;
    use futures::stream;

    use super::*;

    fn left(memory: &MessageMemory) -> usize {
        memory.0.available_permits()
    }

    #[tokio::test]
    async fn memory_is_free_again_after_each_end_of_a_message() {
        let [all, user] = [(); 2].map(|()| MessageMemory::new(10));
        let (bytes, reservations) = all.read(&user, Body::from("12345678"), 8).await.unwrap();
        assert_eq!((&*bytes, left(&all)), (&b"12345678"[..], 2));
        let other = MessageMemory::new(10);
        let more = all.read(&other, Body::from("123"), 8).await;
        assert_eq!(more.unwrap_err(), MessageError::NoMemory);
        let body = guarded_body(Body::from(bytes), reservations);
        assert_eq!((body.size_hint().exact(), left(&all)), (Some(8), 2));
        drop(body);
        assert_eq!((left(&all), left(&user), left(&other)), (10, 10, 10));
        let large = all.read(&user, Body::from("123456789"), 8).await;
        assert_eq!(large.unwrap_err(), MessageError::Read(ReadError::TooLarge));
        assert_eq!((left(&all), left(&user)), (10, 10));
    }

    #[tokio::test]
    async fn a_message_keeps_no_part_alive_and_is_whole() {
        let memory = || MessageMemory::new(10);
        let part = Bytes::from("1234");
        let (whole, _) = memory()
            .read(&memory(), Body::from(part.clone()), 8)
            .await
            .unwrap();
        assert_ne!(whole.as_ptr(), part.as_ptr());
        for count in [0, 2, 3] {
            let parts = stream::iter(
                ["12", "34", "56"]
                    .into_iter()
                    .take(count)
                    .map(Ok::<_, Infallible>),
            );
            let body = Body::from_stream(parts);
            let (whole, _) = memory().read(&memory(), body, 8).await.unwrap();
            assert_eq!(whole, "123456"[..2 * count]);
        }
    }

    #[tokio::test]
    async fn a_user_without_memory_leaves_the_memory_of_others() {
        let all = MessageMemory::new(10);
        let [one, other] = [(); 2].map(|()| MessageMemory::new(4));
        let held = all.read(&one, Body::from("123"), 8).await.unwrap();
        let more = all.read(&one, Body::from("12"), 8).await;
        assert_eq!(more.unwrap_err(), MessageError::NoMemoryOfUser);
        assert!(all.read(&other, Body::from("1234"), 8).await.is_ok());
        assert_eq!((left(&all), left(&one)), (7, 1));
        drop(held);
        assert_eq!((left(&all), left(&one)), (10, 4));
    }

    #[tokio::test]
    async fn a_form_of_up_to_eight_kib_is_read_whole_in_any_parts() {
        let parts = |lengths: &[usize]| {
            let parts = lengths
                .iter()
                .map(|length| Ok::<_, Infallible>(Bytes::from(vec![b'a'; *length])));
            Body::from_stream(stream::iter(parts.collect::<Vec<_>>()))
        };
        for lengths in [
            &[MAX_FORM_BYTES][..],
            &[1, MAX_FORM_BYTES - 1],
            &[5000, MAX_FORM_BYTES - 5000],
        ] {
            let form = read_form(parts(lengths)).await.unwrap();
            assert_eq!(form.len(), MAX_FORM_BYTES);
        }
        for lengths in [&[MAX_FORM_BYTES + 1][..], &[MAX_FORM_BYTES, 1]] {
            let large = read_form(parts(lengths)).await;
            assert_eq!(large.unwrap_err(), ReadError::TooLarge);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_five_seconds() {
        let began = tokio::time::Instant::now();
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(read_form(never).await.unwrap_err(), ReadError::TimedOut);
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }
}
