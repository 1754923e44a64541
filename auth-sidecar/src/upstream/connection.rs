//! An HTTP/1.1 connection to the server.
//!
//! The task of a request drives the connection: it writes the request, and reads the answer. A task of its own for each
//! connection would cost two switches between tasks for each call.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::UpstreamError;

/// Maximum time to connect. A loopback connection succeeds or fails at once, but for one case: while the server's queue of new
/// connections is full, the kernel drops the request for a connection, and sends it again after a second.
const CONNECT_LIMIT: Duration = Duration::from_millis(1500);

/// Maximum number of bytes of an answer that a connection reads ahead of its reader, and of the head of an answer. It is the
/// smallest buffer of hyper, whose default is 400 KiB.
///
/// A client that reads slowly fills this buffer, so that every request can have a full one. No budget counts them: a request waits
/// for its own body or for the server's answer, so that this buffer has the place of a form
/// ([`body_budget`](crate::limits::body_budget)), which is as large.
const MAX_READ_AHEAD: usize = 8 * 1024;

/// Connects to the server's port.
pub(super) async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    timeout(CONNECT_LIMIT, TcpStream::connect(address)).await?
}

/// An open connection.
pub(super) struct UpstreamConnection {
    sender: SendRequest<Body>,
    /// Reads and writes the socket. `None` once the connection has ended.
    driver: Option<http1::Connection<TokioIo<TcpStream>, Body>>,
}

impl UpstreamConnection {
    pub(super) async fn open(address: SocketAddr) -> Result<Self, UpstreamError> {
        let stream = connect(address).await.map_err(UpstreamError::Connect)?;
        // Without it a small request would wait for an acknowledgement (Nagle). A failure only costs time.
        let _ = stream.set_nodelay(true);
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_READ_AHEAD);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await?;
        Ok(Self {
            sender,
            driver: Some(driver),
        })
    }

    /// Sends the request, and returns once the head of the answer has arrived. The error contains the request if no byte of it
    /// was sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        poll_fn(|context| {
            self.drive(context);
            answer.as_mut().poll(context)
        })
        .await
    }

    /// Reads and writes as far as possible without waiting.
    pub(super) fn drive(&mut self, context: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(context).is_ready()
        {
            // The drop tells the error to the request or the body that waits for it.
            self.driver = None;
        }
    }

    /// True if the connection is open, and the last answer has been read to its end.
    pub(super) fn is_reusable(&mut self) -> bool {
        // The last answer's end may still have to be noticed. No task waits for it.
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}
