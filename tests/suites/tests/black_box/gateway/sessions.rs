//! Sessions that call a tool and refresh their tokens until the fault run ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use behalf_demo::mcp_client::{SignedIn, call_with};
use behalf_simulators::people::EVERYBODY;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use reqwest::StatusCode;
use tokio::task::JoinSet;
use url::Url;

use super::tally::Tally;
use super::{Gateway, access_token, is_result};
use crate::ensure;
use crate::world::TestResult;

/// Time between an answer and the next call of a session.
const PAUSE: Duration = Duration::from_millis(250);

/// Time between two refreshes of a session.
const REFRESH: Duration = Duration::from_secs(30);

/// Maximum time in which a session works again after the last fault.
const RECOVERED: Duration = Duration::from_mins(1);

/// A signed-in client with connections of its own.
#[derive(Clone)]
pub(super) struct Session {
    number: usize,
    signed_in: SignedIn,
    http: reqwest::Client,
    mcp: Url,
}

/// Signs in the users in turn, some of them at a time.
pub(super) async fn sign_in(gateway: &Gateway<'_>, sessions: usize) -> TestResult<Vec<Session>> {
    stream::iter(EVERYBODY.iter().cycle().take(sessions).enumerate())
        .map(async |(number, person)| {
            TestResult::Ok(Session {
                number,
                signed_in: gateway.sign_in(person).await?,
                http: gateway.http()?,
                mcp: gateway.mcp.clone(),
            })
        })
        .buffer_unordered(8)
        .try_collect()
        .await
}

/// Calls in the background. They go on while a test waits for a program.
pub(super) struct Calls {
    tasks: JoinSet<()>,
    ended: Arc<AtomicBool>,
}

impl Calls {
    pub(super) fn begin(sessions: &[Session], tally: &Arc<Tally>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for session in sessions {
            tasks.spawn(keep_calling(
                session.clone(),
                Arc::clone(tally),
                Arc::clone(&ended),
            ));
        }
        Self { tasks, ended }
    }

    /// Waits until every session has its last answer.
    pub(super) async fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
    }
}

async fn keep_calling(session: Session, tally: Arc<Tally>, ended: Arc<AtomicBool>) {
    // The sessions refresh one after the other.
    let stagger = REFRESH / 10 * u32::try_from(session.number % 10).unwrap_or(0);
    let mut next_refresh = Instant::now() + stagger;
    while !ended.load(Ordering::Relaxed) {
        if Instant::now() > next_refresh {
            match session.refresh().await {
                Ok(has_tokens) => {
                    tally.refreshed(has_tokens);
                    let pause = if has_tokens {
                        REFRESH
                    } else {
                        Duration::from_secs(1)
                    };
                    next_refresh = Instant::now() + pause;
                }
                Err(error) => {
                    tally.wrong(&format!("refresh of session {}: {error}", session.number));
                    next_refresh = Instant::now() + REFRESH;
                }
            }
        }
        let token = match access_token(&session.signed_in).await {
            Ok(token) => token,
            Err(error) => return tally.wrong(&format!("no token in session {}: {error}", session.number)),
        };
        let began = Instant::now();
        let answer = call_with(&session.http, &session.mcp, &token).await;
        let wait = tally
            .count(began, answer)
            .await
            .map_or(PAUSE, Duration::from_secs);
        tokio::time::sleep(wait).await;
    }
}

impl Session {
    /// Refreshes the tokens. Returns false if the client must try again later.
    async fn refresh(&self) -> TestResult<bool> {
        match self.signed_in.manager().lock().await.refresh_token().await {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("temporarily_unavailable") => Ok(false),
            Err(error) => Err(behalf_runtime::error_chain(&error).into()),
        }
    }

    /// Refreshes and calls once more: the session has survived.
    pub(super) async fn still_works(&self, gateway: &Gateway<'_>) -> TestResult {
        let began = Instant::now();
        while !self.refresh().await? {
            ensure!(began.elapsed() < RECOVERED, "refreshes are still answered 503");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        gateway.world.remember_unrecorded(&self.signed_in).await?;
        loop {
            let token = access_token(&self.signed_in).await?;
            let answer = gateway.call(&self.http, &token).await?;
            let status = answer.status();
            let body = answer.text().await?;
            if status == StatusCode::OK && is_result(&body) {
                return Ok(());
            }
            ensure!(
                status == StatusCode::SERVICE_UNAVAILABLE && began.elapsed() < RECOVERED,
                "session {} was answered {status} at the end: {body:.300}",
                self.number
            );
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
