//! The limits of a listener.

use std::time::Duration;

/// The limits of one listener. One of them bounds every wait for a client.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,

    /// Behavior for a new connection when `connections` are open.
    pub when_full: WhenFull,

    /// Maximum time until the first bytes of a connection show its version of HTTP.
    pub first_bytes: Duration,

    /// Maximum time for the head of an HTTP/1.1 request. With `keep_alive` it includes the wait for the next
    /// request.
    pub head: Duration,

    /// Maximum size of the head of a request, and of the bytes read ahead of an HTTP/1.1 body, in bytes.
    pub head_bytes: u32,

    /// True when an HTTP/1.1 connection may carry several requests.
    pub keep_alive: bool,

    /// Maximum time in which a client reads nothing of an answer. After that the connection, or its HTTP/2
    /// stream, closes.
    pub write: Duration,

    /// Maximum time that open requests may continue after the process is told to stop.
    pub finish: Duration,

    /// The limits of HTTP/2 connections. Without them the listener only speaks HTTP/1.1.
    pub http2: Option<Http2Limits>,
}

/// Behavior of a listener when all its connections are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Closes the connection that has been without a request for longest. While every connection has a
    /// request in flight, new connections wait.
    CloseIdle,

    /// Closes the oldest connection, so that a new one always gets in.
    CloseOldest,
}

/// The limits of HTTP/2 connections.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Maximum number of open HTTP/2 connections, because each may take more than a MiB. A further connection
    /// closes the one that has been without a stream for longest. While every connection has a stream, the
    /// further one waits, for at most `first_bytes`.
    pub connections: usize,

    /// Interval of HTTP/2 pings, and the time that the peer has to answer. A peer that does not answer in
    /// time is dead or hostile; its connection is closed.
    pub ping: Duration,

    /// Maximum time without a stream. After that the connection closes, even when its peer answers pings.
    pub idle: Duration,
}

impl Http2Limits {
    /// Maximum number of open streams of one connection. A gateway that needs more opens another connection.
    pub const STREAMS: u32 = 32;

    /// Number of bytes that a client may send ahead of the reader, on all streams of a connection together.
    pub const CONNECTION_WINDOW: u32 = 256 * 1024;

    /// Maximum number of bytes of an answer that a stream keeps while its connection cannot be written. The client's
    /// own windows would permit hyper's default, 400 KiB: 50 MiB on each connection.
    pub const STREAM_UNSENT: usize = 16 * 1024;
}

impl Limits {
    /// Limits for a port that the kubelet, Prometheus and the operator request. Each sends one short request
    /// on its own connection. No other client may block a probe.
    pub fn probes(finish: Duration) -> Self {
        Self {
            connections: 64,
            when_full: WhenFull::CloseOldest,
            // The kubelet itself gives up after 2 s.
            first_bytes: Duration::from_secs(3),
            head: Duration::from_secs(3),
            head_bytes: 16 * 1024,
            keep_alive: false,
            write: Duration::from_secs(5),
            finish,
            http2: None,
        }
    }
}
