//! Bodies of requests: how much memory they may take, each and together, and how long they may take to come.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::BodyExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum time for a whole message, which may have 4 MiB. A slower sender would only occupy a connection.
const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// For the whole of a form. It fits into a few packets.
const FORM_TIME: Duration = Duration::from_secs(5);

const MIB: usize = 1024 * 1024;

/// For messages of users who have signed in: 14 of the largest.
const FOR_MESSAGES: usize = 56 * MIB;

/// For the messages of one user, through all sessions: two of the largest.
const FOR_USER: usize = 8 * MIB;

/// For the part of forms beyond [`BEGIN`], which anybody may send. A share of its own, so that strangers cannot
/// take the room of the signed-in.
const FOR_FORMS: usize = 4 * MIB;

/// The begin of a form, which counts apart: what honest clients send to `/token` and `/revoke` fits here, so
/// that they are served when strangers have taken all that large forms may have.
const BEGIN: usize = 4 * 1024;

/// For the begins of forms: as many as there may be connections (`run.rs`), so that who would take them all
/// needs hundreds of connections that send all the time.
const FOR_BEGINS: usize = 4096 * BEGIN;

/// The memory for all bodies on their way in at the public port, 96 MiB.
#[derive(Debug)]
pub(crate) struct BodyMemory {
    /// `/mcp`.
    pub(crate) messages: Share,

    /// `/token` and `/revoke`.
    pub(crate) grants: Share,

    /// The other OAuth endpoints.
    pub(crate) forms: Share,
}

/// A part of the memory.
#[derive(Debug, Clone)]
pub(crate) struct Share {
    bytes: Arc<Semaphore>,
    /// For the first `begin` bytes of each body.
    begins: Arc<Semaphore>,
    begin: usize,
    time: Duration,
}

/// A part of a share, in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Of the begins, and of the rest; given back with the value.
    bytes: [OwnedSemaphorePermit; 2],
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

    /// All bodies of one user together.
    #[error("you are sending as much at once as one user may; try again")]
    NoMemoryOfUser,
}

impl Default for BodyMemory {
    fn default() -> Self {
        Self {
            messages: Share::of_messages(FOR_MESSAGES),
            grants: Share::of_forms(FOR_FORMS, FOR_BEGINS),
            forms: Share::of_forms(FOR_FORMS, FOR_BEGINS),
        }
    }
}

impl Share {
    fn of_messages(bytes: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            begins: Arc::new(Semaphore::new(0)),
            begin: 0,
            time: MESSAGE_TIME,
        }
    }

    fn of_forms(bytes: usize, begins: usize) -> Self {
        Self {
            bytes: Arc::new(Semaphore::new(bytes)),
            begins: Arc::new(Semaphore::new(begins)),
            begin: BEGIN,
            time: FORM_TIME,
        }
    }

    /// What one user's messages may take of their share.
    pub(crate) fn of_user() -> Self {
        Self::of_messages(FOR_USER)
    }

    /// Reads a body of at most `largest` bytes. Memory is taken as bytes come, so that announcing them takes
    /// none; when there is no more, nobody waits.
    pub(crate) async fn read(&self, body: Body, largest: usize) -> Result<(Bytes, Taken), ReadError> {
        let mut taken = self.nothing()?;
        let count = |part| self.take(&mut taken, part);
        let bytes = self.collect(body, largest, count).await?;
        Ok((bytes, taken))
    }

    /// The same for a body that counts as one user's too.
    pub(crate) async fn read_of(
        &self,
        user: &Self,
        body: Body,
        largest: usize,
    ) -> Result<(Bytes, [Taken; 2]), ReadError> {
        let (mut users, mut taken) = (user.nothing()?, self.nothing()?);
        let count = |part: Range<usize>| {
            user.take(&mut users, part.clone())
                .map_err(|_| ReadError::NoMemoryOfUser)?;
            self.take(&mut taken, part)
        };
        let bytes = self.collect(body, largest, count).await?;
        Ok((bytes, [users, taken]))
    }

    async fn collect(
        &self,
        body: Body,
        largest: usize,
        count: impl FnMut(Range<usize>) -> Result<(), ReadError> + Send,
    ) -> Result<Bytes, ReadError> {
        tokio::time::timeout(self.time, collect(body, largest, count))
            .await
            .map_err(|_| ReadError::Late)?
    }

    fn nothing(&self) -> Result<Taken, ReadError> {
        Ok(Taken {
            bytes: [permits(&self.begins, 0)?, permits(&self.bytes, 0)?],
        })
    }

    /// Takes what a part of a body needs.
    fn take(&self, taken: &mut Taken, part: Range<usize>) -> Result<(), ReadError> {
        let border = self.begin.clamp(part.start, part.end);
        let [begin, rest] = &mut taken.bytes;
        begin.merge(permits(&self.begins, border - part.start)?);
        rest.merge(permits(&self.bytes, part.end - border)?);
        Ok(())
    }
}

fn permits(of: &Arc<Semaphore>, bytes: usize) -> Result<OwnedSemaphorePermit, ReadError> {
    let bytes = u32::try_from(bytes).map_err(|_| ReadError::TooLarge)?;
    Arc::clone(of)
        .try_acquire_many_owned(bytes)
        .map_err(|_| ReadError::NoMemory)
}

/// Collects `body`, and has each part counted before it is kept.
async fn collect(
    mut body: Body,
    largest: usize,
    mut count: impl FnMut(Range<usize>) -> Result<(), ReadError> + Send,
) -> Result<Bytes, ReadError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| ReadError::Broken)?.into_data() else {
            continue;
        };
        let length = bytes.len().saturating_add(data.len());
        if length > largest {
            return Err(ReadError::TooLarge);
        }
        count(bytes.len()..length)?;
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::HttpBody as _;
    use behalf_runtime::guarded_body;
    use futures::stream;

    use super::*;

    fn left(share: &Share) -> usize {
        share.bytes.available_permits()
    }

    #[tokio::test]
    async fn memory_comes_back_however_a_body_ends() {
        let share = Share::of_messages(10);
        let (bytes, taken) = share.read(Body::from("12345678"), 8).await.unwrap();
        assert_eq!((&*bytes, left(&share)), (&b"12345678"[..], 2));
        let more = share.read(Body::from("123"), 8).await;
        assert_eq!(more.unwrap_err(), ReadError::NoMemory);
        let body = guarded_body(Body::from(bytes), taken);
        assert_eq!((body.size_hint().exact(), left(&share)), (Some(8), 2));
        drop(body);
        assert_eq!(left(&share), 10);
        let large = share.read(Body::from("123456789"), 8).await;
        assert_eq!(large.unwrap_err(), ReadError::TooLarge);
        assert_eq!(left(&share), 10);
    }

    #[tokio::test]
    async fn the_begin_of_a_form_counts_apart_however_it_comes() {
        const B: usize = BEGIN;
        let share = Share::of_forms(3, 2 * B);
        let parts = |lengths: &[usize]| {
            let parts = lengths
                .iter()
                .map(|length| Ok::<_, Infallible>(Bytes::from(vec![b'a'; *length])));
            Body::from_stream(stream::iter(parts.collect::<Vec<_>>()))
        };
        for (lengths, begin, rest) in [
            (&[B][..], B, 0),
            (&[2, 1], 3, 0),
            (&[B + 1], B, 1),
            (&[B - 1, 3, 1], B, 3),
        ] {
            let (_, held) = share.read(parts(lengths), 2 * B).await.unwrap();
            let begins_left = share.begins.available_permits();
            assert_eq!((begins_left, left(&share)), (2 * B - begin, 3 - rest));
            drop(held);
        }
        let large = share.read(parts(&[B + 4]), 2 * B).await;
        assert_eq!(large.unwrap_err(), ReadError::NoMemory);
        let held = [(); 2].map(|()| share.read(parts(&[B]), B));
        let held = futures::future::join_all(held).await;
        let more = share.read(parts(&[1]), B).await;
        assert_eq!(more.unwrap_err(), ReadError::NoMemory, "begins are bounded, too");
        drop(held);
        assert!(share.read(parts(&[1]), B).await.is_ok());
    }

    #[tokio::test]
    async fn what_one_user_has_taken_is_missing_to_that_user_first() {
        let (all, [one, other]) = (Share::of_messages(10), [(); 2].map(|()| Share::of_messages(4)));
        let held = all.read_of(&one, Body::from("123"), 8).await.unwrap();
        let more = all.read_of(&one, Body::from("12"), 8).await;
        assert_eq!(more.unwrap_err(), ReadError::NoMemoryOfUser);
        assert!(all.read_of(&other, Body::from("1234"), 8).await.is_ok());
        assert_eq!((left(&all), left(&one)), (7, 1));
        drop(held);
        assert_eq!((left(&all), left(&one)), (10, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_has_five_seconds() {
        let memory = BodyMemory::default();
        let began = tokio::time::Instant::now();
        for share in [&memory.grants, &memory.forms] {
            let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
            assert_eq!(share.read(never, 8).await.unwrap_err(), ReadError::Late);
        }
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}
