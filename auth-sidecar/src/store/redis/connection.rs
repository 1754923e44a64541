//! The one connection that all requests share. It opens on demand and closes at the first failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::ConnectionLike as _;
use ::redis::{Pipeline, RedisError, Value, cmd};
use tokio::sync::{Mutex, broadcast};
use tokio::time::Instant;

use super::announcements::Announcements;
use super::client::RedisConnection;
use super::error::{foreign, unreachable};
use super::outage_log::OutageLog;
use super::scan::{self, ScanPosition};
use super::settings::Settings;
use crate::store::{Announcement, StoreError};

/// Pause after the second of several consecutive failures. It doubles with each further one. After the first failure
/// there is none, because the connection may only have been idle for too long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Maximum time that commands wait for Redis, from the beginning of an outage: a restart or a fail-over is shorter. The kubelet
/// takes the Pods out of the Service only later. A sidecar that stops leaves its last requests more time.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(5);

/// Pause between two attempts of a command that waits.
const WAITING: Duration = Duration::from_millis(100);

/// A connection that all callers share.
///
/// The first caller opens it; the others wait for the result. After a failed command the next caller opens another one,
/// so that a promoted replica, changed credentials and a restarted server need no rule of their own.
///
/// An outage begins with a failure and ends with the next command that succeeds. After its second failure all callers fail at
/// once until a pause ends. In its first [`MAX_WAIT`], [`SharedConnection::run_or_wait`] tries again.
pub(super) struct SharedConnection {
    settings: Settings,
    announcements: Announcements,
    state: Mutex<ConnectionState>,

    /// True from a failure until the next command that succeeds. Read without the lock.
    is_failing: AtomicBool,
}

struct ConnectionState {
    connection: Option<RedisConnection>,

    /// Counts the connections, so that a late failure of an earlier one does not close the current one.
    number: u64,

    failure: Option<Outage>,
    outages: OutageLog,
    full: OutageLog,
}

impl ConnectionState {
    /// Logs that Redis is full, at most once a minute. Reads still succeed, so that nothing shows the end.
    fn report_full(&mut self, error: &RedisError) {
        if self.full.began(Instant::now()) {
            self.full.ended();
            let cause: &dyn std::error::Error = error;
            tracing::warn!(
                error = cause,
                "The session store is full; raise maxmemory of the Redis"
            );
        }
    }
}

/// The last failure of an outage.
struct Outage {
    error: StoreError,

    /// Time of the first failure of the outage.
    began: Instant,

    /// Pause after the next failure.
    next_pause: Duration,

    /// Callers fail at once before this time.
    until: Instant,
}

impl SharedConnection {
    pub(super) fn new(settings: Settings, announcements: Announcements) -> Self {
        let state = ConnectionState {
            connection: None,
            number: 0,
            failure: None,
            outages: OutageLog::default(),
            full: OutageLog::default(),
        };
        Self {
            settings,
            announcements,
            state: Mutex::new(state),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Sends commands that all concern one key, and returns their answers. Every command may arrive twice.
    ///
    /// If no answer comes, it sends them once more at once: the first try may find a connection that the server closed
    /// meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Unreachable`] without an answer, [`StoreError::Full`] if Redis has no memory left.
    pub(super) async fn run(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        match self.try_once(commands).await {
            Err(StoreError::Unreachable(_)) => self.try_once(commands).await,
            answer => answer,
        }
    }

    /// Sends commands like [`Self::run`]. At the beginning of an outage it waits for Redis and sends them again. When another
    /// command has succeeded meanwhile, Redis answers and only this command fails, so that waiting does not help.
    pub(super) async fn run_or_wait(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut answer = self.run(commands).await;
        let outage = self.outage().await;
        while matches!(answer, Err(StoreError::Unreachable(_)))
            && let Some(began) = outage
            && began.elapsed() < MAX_WAIT
        {
            tokio::time::sleep(WAITING).await;
            answer = self.try_once(commands).await;
            if self.outage().await != outage {
                // This attempt may have been earlier than the success that ended the outage.
                return self.run(commands).await;
            }
        }
        answer
    }

    /// Returns the time at which the current outage began.
    async fn outage(&self) -> Option<Instant> {
        let state = self.state.lock().await;
        state.failure.as_ref().map(|failure| failure.began)
    }

    /// Sends commands once.
    pub(super) async fn try_once(&self, commands: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let (number, mut connection) = self.open().await?;
        let answer = commands.query_async(&mut connection).await;
        self.finish(number, answer).await
    }

    /// Succeeds if a server answers. In a cluster any node may answer.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let (number, mut connection) = self.open().await?;
        let answer = connection.ask_any_node(cmd("PING")).await;
        self.finish(number, answer).await.map(drop)
    }

    /// `INFO memory`; in a cluster, of every node.
    pub(super) async fn information(&self) -> Result<Value, StoreError> {
        let (_, mut connection) = self.open().await?;
        let mut information = cmd("INFO");
        information.arg("memory");
        let answer = connection.req_packed_command(&information).await;
        answer.map_err(unreachable)
    }

    /// Returns the names of some keys that match `pattern`, and the position to continue at.
    pub(super) async fn scan(
        &self,
        pattern: &str,
        position: ScanPosition,
    ) -> Result<(Vec<String>, Option<ScanPosition>), StoreError> {
        let (number, mut connection) = self.open().await?;
        match scan::step(&mut connection, pattern, position).await {
            // A user without this right still reads and writes sessions over the connection.
            Err(error) if has_code(&error, "NOPERM") => Err(unreachable(error)),
            answer => self.finish(number, answer).await,
        }
    }

    /// Sends a message to every replica, this one included.
    pub(super) async fn publish(&self, message: &str) -> Result<(), StoreError> {
        let (number, mut connection) = self.open().await?;
        let mut publish = cmd("PUBLISH");
        publish.arg(self.announcements.channel()).arg(message);
        let answer = connection.req_packed_command(&publish).await;
        self.finish(number, answer).await.map(drop)
    }

    /// Returns the announcements from now on.
    pub(super) fn announcements(&self) -> broadcast::Receiver<Announcement> {
        self.announcements.subscribe()
    }

    async fn open(&self) -> Result<(u64, RedisConnection), StoreError> {
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
                state.number = state.number.wrapping_add(1);
                state.connection = Some(connection.clone());
                Ok((state.number, connection))
            }
            Err(error) => Err(self.fail(&mut state, error)),
        }
    }

    /// Ends the outage if the command succeeded, and closes the connection if it failed.
    async fn finish<T>(&self, number: u64, answer: Result<T, RedisError>) -> Result<T, StoreError> {
        let error = match answer {
            Ok(answer) => {
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    let mut state = self.state.lock().await;
                    state.failure = None;
                    if state.outages.ended() {
                        tracing::info!("The session store answers again");
                    }
                }
                return Ok(answer);
            }
            Err(error) => error,
        };
        if has_code(&error, "OOM") {
            self.state.lock().await.report_full(&error);
            return Err(StoreError::Full);
        }
        if has_code(&error, "WRONGTYPE") {
            return Err(foreign(error));
        }
        let mut state = self.state.lock().await;
        // Of several commands that fail on one connection, the first closes it.
        if state.number == number && state.connection.take().is_some() {
            return Err(self.fail(&mut state, error));
        }
        Err(unreachable(error))
    }

    /// Records a failure, and begins a pause if it is not the first of the outage.
    fn fail(&self, state: &mut ConnectionState, error: RedisError) -> StoreError {
        let (pause, next_pause) = match &state.failure {
            None => (Duration::ZERO, FIRST_PAUSE),
            Some(failure) => {
                let cause: &dyn std::error::Error = &error;
                if state.outages.began(Instant::now()) {
                    tracing::warn!(
                        error = cause,
                        "The session store does not answer; clients wait for 5 s, and then get 503 until it does"
                    );
                }
                (failure.next_pause, (failure.next_pause * 2).min(MAX_PAUSE))
            }
        };
        let error = unreachable(error);
        let outage_began = state.failure.as_ref().map(|failure| failure.began);
        state.failure = Some(Outage {
            error: error.clone(),
            began: outage_began.unwrap_or_else(Instant::now),
            next_pause,
            until: Instant::now() + pause,
        });
        self.is_failing.store(true, Ordering::Relaxed);
        error
    }
}

/// True if Redis answered with an error of this code.
fn has_code(error: &RedisError, code: &str) -> bool {
    let answers = error.clone().into_server_errors();
    answers.is_some_and(|answers| answers.iter().any(|(_, answer)| answer.code() == code))
}
