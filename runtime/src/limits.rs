//! The limits of a listener.

use std::time::Duration;

/// The limits of one listener. Every wait for a client is bounded by one of them.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of open connections.
    pub connections: usize,

    /// What happens to a new connection when `connections` are open.
    pub when_full: WhenFull,

    /// Maximum time until the first bytes of a connection tell its version of HTTP.
    pub first_bytes: Duration,

    /// Maximum time for the head of an HTTP/1.1 request. With `keep_alive` the wait for the next request counts.
    pub head: Duration,

    /// Maximum size of the head of a request, and of what is read ahead of an HTTP/1.1 body, in bytes.
    pub head_bytes: u32,

    /// True when an HTTP/1.1 connection may carry several requests.
    pub keep_alive: bool,

    /// A client that reads nothing of an answer for this long loses the connection, or its HTTP/2 stream.
    pub write: Duration,

    /// How long open requests may continue after the process is told to stop.
    pub finish: Duration,

    /// The limits of HTTP/2 connections. Without them the listener speaks HTTP/1.1 alone.
    pub http2: Option<Http2Limits>,
}

/// What a listener does when all its connections are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The connection that has been without a request for longest is closed. While every one has a request under
    /// way, new connections wait.
    CloseIdle,

    /// The oldest connection is closed, so that a new one always gets in.
    CloseOldest,
}

/// The limits of HTTP/2 connections.
#[derive(Debug, Clone, Copy)]
pub struct Http2Limits {
    /// Maximum number of open HTTP/2 connections: each may take more than a MiB. For one more the connection that
    /// has been without a stream for longest is closed; while every one has a stream, it waits, for `first_bytes`
    /// at most.
    pub connections: usize,

    /// How often the peer is pinged, and how long it may take to answer. A peer that does not answer in time is
    /// dead or hostile; its connection is closed.
    pub ping: Duration,

    /// A connection without a stream for this long is closed, also when its peer answers pings.
    pub idle: Duration,
}

impl Limits {
    /// For a port that the kubelet, Prometheus and the operator ask. They send one short request on a connection
    /// of its own. Nobody else may keep a probe out.
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
