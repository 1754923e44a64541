//! The limits that all requests share: memory for messages, and tool calls in progress.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::message::{MAX_BODY_BYTES, Message};
use super::refusal::HopRefusal;

/// Maximum memory in bytes for one JSON value while its message is handled.
const VALUE: usize = 1024;

/// Memory in bytes for all messages until they are answered: less than a third of the container's limit. The
/// sidecar lets one user have 16 calls in progress. With the largest messages these take less than half.
const MEMORY: usize = 80 * 1024 * 1024;

/// Maximum number of tool calls in progress. Each has arguments, answers of Azure DevOps and a connection.
/// Further calls are refused at once, because a queue would only hide the overload.
const MAX_CALLS: usize = 64;

/// The memory and the calls that are left.
#[derive(Debug)]
pub(super) struct Capacity {
    calls: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

/// The reservation of one request. Dropping the value releases it.
#[derive(Default)]
pub(super) struct Reservation {
    _memory: Option<OwnedSemaphorePermit>,
    _call: Option<OwnedSemaphorePermit>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
            memory: Arc::new(Semaphore::new(MEMORY)),
        }
    }
}

impl Capacity {
    /// Reserves the memory for a message, and for a tool call its place among the calls in progress.
    pub(super) fn reserve(&self, message: &Message) -> Result<Reservation, HopRefusal> {
        Ok(Reservation {
            _memory: Some(self.memory(message)?),
            _call: self.call(message)?,
        })
    }

    fn memory(&self, message: &Message) -> Result<OwnedSemaphorePermit, HopRefusal> {
        let needed = 2 * message.length + VALUE * message.values;
        let permits = u32::try_from(needed).map_err(|_| HopRefusal::TooLarge(MAX_BODY_BYTES))?;
        Arc::clone(&self.memory)
            .try_acquire_many_owned(permits)
            .map_err(|_| {
                tracing::warn!(
                    "Refused a message: the messages in progress take {MEMORY} bytes; if this happens often, raise the number of \
                     replicas or make fewer calls at once"
                );
                HopRefusal::Busy
            })
    }

    fn call(&self, message: &Message) -> Result<Option<OwnedSemaphorePermit>, HopRefusal> {
        if !message.is_tool_call() {
            return Ok(None);
        }
        if let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() {
            return Ok(Some(permit));
        }
        tracing::warn!(
            "Refused a tool call: {MAX_CALLS} are in progress; if this happens often, raise the number of replicas or make fewer \
             calls at once"
        );
        Err(HopRefusal::Busy)
    }
}
