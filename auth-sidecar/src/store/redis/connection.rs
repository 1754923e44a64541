//! The one connection that all requests share. It opens on demand and closes at the first failure.

use std::time::Duration;

use ::redis::aio::ConnectionLike as _;
use ::redis::{Pipeline, RedisError, Value, cmd};
use tokio::sync::{Mutex, broadcast};
use tokio::time::Instant;

use super::announcements::Announcements;
use super::settings::{Connection, Settings};
use super::unreachable;
use crate::store::{Announcement, StoreError};

/// Shortest and longest pause after a failed attempt to connect. It doubles with each failure.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// A connection that all callers share.
///
/// The first caller opens it; the others wait for the result. After a failed command the next caller opens
/// another one, so that a promoted replica, changed credentials and a restarted server need no rule of their own.
/// After a failed attempt all callers fail at once until the pause ends.
pub(super) struct SharedConnection {
    settings: Settings,
    announcements: Announcements,
    state: Mutex<State>,
}

struct State {
    connection: Option<Connection>,

    /// Counts the connections, so that a late failure of an earlier one does not close the current one.
    number: u64,

    failure: Option<Failure>,
}

/// The last attempt to connect, if it failed.
struct Failure {
    error: StoreError,
    pause: Duration,
    until: Instant,
}

impl SharedConnection {
    pub(super) fn new(settings: Settings, announcements: Announcements) -> Self {
        let state = State {
            connection: None,
            number: 0,
            failure: None,
        };
        Self {
            settings,
            announcements,
            state: Mutex::new(state),
        }
    }

    /// Sends commands that all concern one key, and returns their answers.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] without an answer, [`StoreError::Full`] if Redis has no memory left.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let (number, mut connection) = self.open().await?;
        let answer = commands.query_async(&mut connection).await;
        self.settle(number, answer).await
    }

    /// Succeeds if a server answers; in a cluster, any node.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let (number, mut connection) = self.open().await?;
        let answer = connection.ask_any_node(cmd("PING")).await;
        self.settle(number, answer).await.map(drop)
    }

    /// `INFO memory`; in a cluster, of every node.
    pub(super) async fn information(&self) -> Result<Value, StoreError> {
        let (_, mut connection) = self.open().await?;
        let mut information = cmd("INFO");
        information.arg("memory");
        let answer = connection.req_packed_command(&information).await;
        answer.map_err(unreachable)
    }

    /// Sends a message to every replica, this one included.
    pub(super) async fn publish(&self, message: &str) -> Result<(), StoreError> {
        let (number, mut connection) = self.open().await?;
        let mut publish = cmd("PUBLISH");
        publish.arg(self.announcements.channel()).arg(message);
        let answer = connection.req_packed_command(&publish).await;
        self.settle(number, answer).await.map(drop)
    }

    /// Returns the announcements from now on.
    pub(super) fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.announcements.subscribe()
    }

    async fn open(&self) -> Result<(u64, Connection), StoreError> {
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection {
            return Ok((state.number, connection.clone()));
        }
        if let Some(failure) = &state.failure
            && Instant::now() < failure.until
        {
            return Err(failure.error.clone());
        }
        match self.settings.open(&self.announcements).await {
            Ok(connection) => {
                if state.failure.take().is_some() {
                    tracing::info!("Connected to the session store again");
                }
                state.number = state.number.wrapping_add(1);
                state.connection = Some(connection.clone());
                Ok((state.number, connection))
            }
            Err(error) => {
                let cause: &dyn std::error::Error = &error;
                if state.failure.is_none() {
                    tracing::warn!(error = cause, "Unable to connect to the session store");
                }
                let error = unreachable(error);
                let last = state.failure.take().map_or(PAUSE.0, |failure| failure.pause * 2);
                let pause = last.min(PAUSE.1);
                state.failure = Some(Failure {
                    error: error.clone(),
                    pause,
                    until: Instant::now() + pause,
                });
                Err(error)
            }
        }
    }

    /// Closes the connection if the command failed on it.
    async fn settle<T>(&self, number: u64, answer: Result<T, RedisError>) -> Result<T, StoreError> {
        let error = match answer {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if is_full(&error) {
            return Err(StoreError::Full);
        }
        let mut state = self.state.lock().await;
        if state.number == number {
            state.connection = None;
        }
        Err(unreachable(error))
    }
}

/// Redis refuses a write because of `maxmemory` and a policy that does not evict.
fn is_full(error: &RedisError) -> bool {
    let answers = error.clone().into_server_errors();
    answers.is_some_and(|answers| answers.iter().any(|(_, answer)| answer.code() == "OOM"))
}
