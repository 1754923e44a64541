//! The signals that end a process.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio_util::sync::CancellationToken;

/// A signal that asks the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `SIGTERM`: the kubelet ends the Pod.
    Terminate,

    /// `SIGINT`: a person at the terminal ends the process.
    Interrupt,
}

/// Listens for both signals.
///
/// A process creates it before it does anything else: the first process of a container has no default action
/// for `SIGTERM`, so that a signal before this is lost.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Installs the handlers. Fails if the operating system refuses them.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }

    /// A token that the first signal cancels.
    pub fn into_token(mut self) -> CancellationToken {
        let token = CancellationToken::new();
        let cancel = token.clone();
        tokio::spawn(async move {
            self.next().await;
            cancel.cancel();
        });
        token
    }
}
