//! What all requests have together: memory for their messages, and places for tool calls.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::layer::LARGEST_BODY;
use super::message::Message;
use super::refusal::Refusal;

/// What a value takes at most while its message is handled.
const VALUE: usize = 1024;

/// The memory for all messages from here to their answers, in bytes: less than a third of the container's. The
/// sidecar lets one user have 16 calls under way; with the largest messages they take less than half.
const MEMORY: usize = 80 * 1024 * 1024;

/// Tool calls under way at a time. Each holds its arguments, an answer of Azure DevOps and a connection; beyond
/// it a client is told to come again, for a queue would only hide that the server has too much to do.
const MOST_CALLS: usize = 64;

/// What is left of both.
#[derive(Debug)]
pub(super) struct Room {
    calls: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// What a request takes of what all have together.
#[derive(Default)]
pub(super) struct Place {
    _memory: Option<OwnedSemaphorePermit>,
    /// A tool call's place among those under way.
    _call: Option<OwnedSemaphorePermit>,
}

impl Place {
    /// Of a message that goes on, and of the call that it is.
    pub(super) fn of(memory: OwnedSemaphorePermit, call: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            _memory: Some(memory),
            _call: call,
        }
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MOST_CALLS)),
            memory: Arc::new(Semaphore::new(MEMORY)),
        }
    }
}

impl Room {
    /// Reserves the memory for a message of `length` bytes, of any method.
    pub(super) fn memory(&self, message: &Message, length: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let needed = 2 * length + VALUE * message.values;
        let permits = u32::try_from(needed).map_err(|_| Refusal::TooLarge(LARGEST_BODY))?;
        Arc::clone(&self.memory)
            .try_acquire_many_owned(permits)
            .map_err(|_| {
                tracing::warn!("Refused a message: those under way take {MEMORY} bytes");
                Refusal::Busy
            })
    }

    /// A place for a tool call. Before its token is looked at: that may ask Entra.
    pub(super) fn call(&self, message: &Message) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if !message.is_tool_call() {
            return Ok(None);
        }
        if let Ok(place) = Arc::clone(&self.calls).try_acquire_owned() {
            return Ok(Some(place));
        }
        tracing::warn!("Refused a tool call: {MOST_CALLS} are under way");
        Err(Refusal::Busy)
    }
}
