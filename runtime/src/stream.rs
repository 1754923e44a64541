//! A client's TCP connection that ends when the client does not read, and closes without a reset.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};

use crate::connection_state::{Busy, ConnectionState};

/// Maximum time between the end of the last answer and the close of the connection.
const LINGER: Duration = Duration::from_secs(10);

/// During that time, a client that sends nothing for this long has read the answer or never will.
const LINGER_SILENCE: Duration = Duration::from_secs(2);

/// Maximum number of bytes that the server reads and drops during that time: four of the largest messages.
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// A client's connection.
///
/// Closing a socket with unread bytes of the client resets the connection. The reset may destroy an answer
/// that the client has not read yet (RFC 9112, section 9.6). Therefore a connection ends in three steps:
/// close the sending half, read and drop further bytes within bounds, then close.
pub(crate) struct ClientStream {
    state: StreamState,
    write_limit: Duration,
    connection: ConnectionState,
    /// The timer that runs while the client reads nothing. A pending write keeps the connection busy.
    stalled: Option<(Pin<Box<Sleep>>, Busy)>,
}

enum StreamState {
    Open(TcpStream),
    Lingering(Pin<Box<dyn Future<Output = ()> + Send>>),
    Closed,
}

impl ClientStream {
    pub(crate) fn new(stream: TcpStream, write_limit: Duration, connection: ConnectionState) -> Self {
        Self {
            state: StreamState::Open(stream),
            write_limit,
            connection,
            stalled: None,
        }
    }

    fn write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let StreamState::Open(stream) = &mut self.state else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let written = write(Pin::new(stream), context);
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.write_limit;
        let connection = &self.connection;
        let (stalled, _) = self
            .stalled
            .get_or_insert_with(|| (Box::pin(sleep(limit)), connection.busy()));
        stalled.as_mut().poll(context).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client does not read",
            ))
        })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().state {
            StreamState::Open(stream) => Pin::new(stream).poll_read(context, buffer),
            StreamState::Lingering(_) | StreamState::Closed => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut()
            .write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().write(context, |stream, context| {
            stream.poll_write_vectored(context, slices)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The kernel sends written bytes without a flush.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.state = match std::mem::replace(&mut this.state, StreamState::Closed) {
            StreamState::Open(stream) => StreamState::Lingering(Box::pin(linger(stream))),
            other => other,
        };
        if let StreamState::Lingering(lingering) = &mut this.state {
            std::task::ready!(lingering.as_mut().poll(context));
            this.state = StreamState::Closed;
        }
        Poll::Ready(Ok(()))
    }
}

async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        // The client has closed both halves already.
        return;
    }
    let drop_rest = async {
        let mut bytes = [0; 4096];
        let mut left = LINGER_BYTES;
        while left > 0 {
            match timeout(LINGER_SILENCE, stream.read(&mut bytes)).await {
                Ok(Ok(length)) if length > 0 => left = left.saturating_sub(length),
                _ => return,
            }
        }
    };
    let _ = timeout(LINGER, drop_rest).await;
}
