//! Messages between the replicas of one `McpServer`, through a channel of Redis.

use ::redis::{FromRedisValue as _, PushInfo, PushKind, Value};
use tokio::sync::broadcast;

use crate::session_id::SessionId;
use crate::store::Announcement;

/// Announcements that a slow receiver may be behind. It is told when it lost some.
const CAPACITY: usize = 1024;

/// Begins the message that a session has ended.
const ENDED: &str = "session-ended ";

/// Receives messages of the shared connection and passes them on in this process.
#[derive(Clone)]
pub(super) struct Announcements {
    channel: String,
    sender: broadcast::Sender<Announcement>,
}

impl Announcements {
    pub(super) fn new(channel: String) -> Self {
        Self {
            channel,
            sender: broadcast::Sender::new(CAPACITY),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Announcement> {
        self.sender.subscribe()
    }

    /// Handles a message that Redis sent without being asked, and the end of a connection.
    ///
    /// Messages that were sent before the subscription are lost. The client of a cluster connects and subscribes again by
    /// itself, so that only this message tells of it.
    pub(super) fn received(&self, push: PushInfo) {
        match push.kind {
            PushKind::Message => {
                if let Some(announcement) = self.read(push.data) {
                    self.pass_on(announcement);
                }
            }
            PushKind::Subscribe | PushKind::Disconnection => self.pass_on(Announcement::Lost),
            _ => {}
        }
    }

    fn read(&self, data: Vec<Value>) -> Option<Announcement> {
        let (channel, message) = <(String, String)>::from_redis_value(Value::Array(data)).ok()?;
        if channel != self.channel {
            return None;
        }
        // Another release of the sidecar may announce more kinds.
        let id = SessionId::parse(message.strip_prefix(ENDED)?)?;
        Some(Announcement::SessionEnded(id))
    }

    fn pass_on(&self, announcement: Announcement) {
        // Without a receiver nothing of this process depends on announcements yet.
        let _ = self.sender.send(announcement);
    }
}

/// The message that announces the end of a session.
pub(super) fn ended(id: &SessionId) -> String {
    format!("{ENDED}{id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SystemRandom;

    fn message(channel: &str, text: &str) -> PushInfo {
        PushInfo {
            kind: PushKind::Message,
            data: [channel, text]
                .map(|part| Value::BulkString(part.as_bytes().to_vec()))
                .to_vec(),
        }
    }

    #[test]
    fn messages_of_other_channels_and_other_kinds_are_ignored() {
        let announcements = Announcements::new("ours".to_owned());
        let mut receiver = announcements.subscribe();
        let id = SessionId::generate(&SystemRandom);
        announcements.received(message("theirs", &ended(&id)));
        announcements.received(message("ours", "keys-rotated 7"));
        announcements.received(message("ours", "session-ended no-id"));
        announcements.received(message("ours", &ended(&id)));
        assert_eq!(receiver.try_recv().unwrap(), Announcement::SessionEnded(id));
        assert!(receiver.try_recv().is_err());
    }
}
