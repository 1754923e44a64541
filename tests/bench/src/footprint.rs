//! Measures the costs of a sidecar apart from calls at a rate: time until it is ready, memory of sessions, streams and large
//! answers, the CPU time of logins and refreshes, and what many sessions change for a call.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use behalf_contract::{Injection, StoreConfig};
use behalf_simulators::sign_in::Browser;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::sleep;

use crate::call::{self, TOOLS};
use crate::connection::Connection;
use crate::cores::SubjectCore;
use crate::error::{BenchError, Step as _};
use crate::generator::{Clients, Sample, Target};
use crate::subjects::sidecar::{self, Sidecar};
use crate::subjects::{Store, redis};
use crate::summary::median;
use crate::surroundings::{Surroundings, Tokens};

/// Number of sessions of one user. The sidecar ends the oldest beyond 64.
const OF_ONE_USER: u32 = 50;

/// Number of users who sign in at once, and of sessions that refresh at once.
const AT_ONCE: usize = 16;

/// The program is left alone for this long before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Calls per second when the cost of calls is compared.
pub(crate) const RATE: u32 = 1000;

/// The duration of these calls, and the number of their connections.
const CALLS: (Duration, usize) = (Duration::from_secs(3), 64);

/// Number of times that this is measured. The sidecars take turns, so that what slows down the machine slows down both.
pub(crate) const ROUNDS: usize = 5;

/// Number of sessions after which memory is read as well.
pub(crate) const FIRST: u32 = 10_000;

/// Number of sessions that stand for few. The sidecar remembers each of them from call to call.
const FEW: usize = 10;

/// Maximum number of sessions that call and refresh. The downstream tokens of more would not fit into the sidecar's cache.
pub(crate) const CALLING: usize = 10_000;

/// Number of calls at once when answers of each size are compared, and for how long.
pub(crate) const LARGE: (usize, Duration) = (64, Duration::from_secs(3));

/// Number of sessions and streams, and calls per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) sessions: u32,
    pub(crate) streams: u32,
    pub(crate) rate: u32,
}

/// The numbers of one sidecar. Memory is in MiB, CPU time in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footprint {
    pub(crate) store: Store,

    /// From exec to 200 at `/readyz`.
    pub(crate) until_ready: Duration,

    /// Memory without sessions.
    pub(crate) idle: f64,

    pub(crate) sessions: u32,

    /// Memory with the first [`FIRST`] of them. Absent if there are fewer.
    pub(crate) with_first: Option<f64>,

    /// Memory with these sessions, before their first call.
    pub(crate) with_sessions: f64,

    /// CPU time of 1,000 calls, by the number of sessions, of each round.
    pub(crate) rounds: Vec<CallsBySessions>,

    /// CPU time of a login.
    pub(crate) login: f64,

    /// CPU time of a refresh.
    pub(crate) refresh: f64,

    /// Number of open event streams.
    pub(crate) streams: u32,

    /// Memory that these streams add.
    pub(crate) of_streams: f64,

    /// CPU time of a call of each tool, at the limit.
    pub(crate) by_answer: Vec<f64>,

    /// Memory that large answers add at most.
    pub(crate) of_large_answers: f64,
}

/// CPU time of 1,000 calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CallsBySessions {
    /// From a few sessions, of a sidecar that has few.
    pub(crate) few_alone: f64,

    /// From a few of all sessions.
    pub(crate) few_of_all: f64,

    /// From [`CALLING`] of all sessions in turn.
    pub(crate) many_of_all: f64,
}

impl Footprint {
    /// The median over the rounds.
    pub(crate) fn median_of(&self, value: impl Fn(&CallsBySessions) -> f64) -> f64 {
        median(self.rounds.iter().map(value))
    }

    /// Memory of a session, in KiB.
    pub(crate) fn of_session(&self) -> f64 {
        (self.with_sessions - self.idle) * 1024.0 / f64::from(self.sessions.max(1))
    }

    /// Memory of an open stream, in KiB.
    pub(crate) fn of_stream(&self) -> f64 {
        self.of_streams * 1024.0 / f64::from(self.streams.max(1))
    }

    /// Number of refreshes that a core answers in a second.
    pub(crate) fn refreshes_per_second(&self) -> f64 {
        1000.0 / self.refresh
    }
}

/// Starts a sidecar of its own, and measures it.
pub(crate) async fn measure(
    around: &Surroundings,
    core: SubjectCore,
    program: &Path,
    store: Store,
    load: Load,
) -> Result<Footprint, BenchError> {
    progress(format_args!("{} sessions in {store}", load.sessions));
    let start = async |name: &str| {
        let (redis, config) = match store {
            Store::Memory => (None, StoreConfig::Memory),
            Store::Redis => {
                let (process, config) = redis::start(around).await?;
                (Some(process), config)
            }
        };
        let name = format!("{name}-{store}");
        let sidecar = sidecar::start(around, core, program, &name, Injection::Header, config).await?;
        Ok::<_, BenchError>((sidecar, redis))
    };
    // Redis stays until the sidecar has ended.
    let (sidecar, _redis) = start("footprint").await?;
    let process = &sidecar.process;
    sleep(SETTLE).await;
    let idle = process.resident()?;

    let users = around.add_users(load.sessions.div_ceil(OF_ONE_USER)).await?;
    progress(format_args!("logins"));
    let before = process.cpu()?;
    let of_first = (FIRST / OF_ONE_USER) as usize;
    let (first, others) = users.split_at(of_first.min(users.len()));
    let mut tokens = sign_in(around, &sidecar, first).await?;
    let mut login = process.cpu()?.since(&before);
    let mut with_first = None;
    if !others.is_empty() {
        sleep(SETTLE).await;
        with_first = Some(process.resident()?);
        let before = process.cpu()?;
        tokens.extend(sign_in(around, &sidecar, others).await?);
        login += process.cpu()?.since(&before);
    }
    let sessions = u32::try_from(tokens.len()).step("count sessions")?;
    sleep(SETTLE).await;
    let with_sessions = process.resident()?;

    let mut tokens = mixed(&tokens);
    tokens.truncate(CALLING);
    progress(format_args!("first calls"));
    let (beside, _redis_beside) = start("beside").await?;
    let few_users = users.get(..FEW).unwrap_or(&users);
    let alone = mixed(&sign_in(around, &beside, few_users).await?);
    first_calls(&sidecar, &tokens).await?;
    first_calls(&beside, few(&alone)).await?;
    let mut rounds = Vec::new();
    for round in 1..=ROUNDS {
        progress(format_args!(
            "calls from {FEW} and from {} sessions, round {round}",
            tokens.len()
        ));
        rounds.push(CallsBySessions {
            few_alone: calls(&beside, few(&alone), load.rate).await?,
            few_of_all: calls(&sidecar, few(&tokens), load.rate).await?,
            many_of_all: calls(&sidecar, &tokens, load.rate).await?,
        });
    }
    drop(beside);
    progress(format_args!("refreshes, large answers and streams"));
    let (tokens, refresh) = refreshes(around, &sidecar, &tokens).await?;
    let (by_answer, of_large_answers) = by_answer(&sidecar, &tokens).await?;
    Ok(Footprint {
        store,
        until_ready: sidecar.until_ready,
        idle,
        sessions,
        with_first,
        with_sessions,
        rounds,
        login: each(login, sessions),
        refresh,
        streams: load.streams,
        of_streams: streams(&sidecar, &tokens, load.streams).await?,
        by_answer,
        of_large_answers,
    })
}

/// Says which part begins. Profilers separate the parts by it.
fn progress(part: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{part}");
}

/// Signs each user in [`OF_ONE_USER`] times.
async fn sign_in(
    around: &Surroundings,
    sidecar: &Sidecar,
    users: &[String],
) -> Result<Vec<Tokens>, BenchError> {
    let sessions = stream::iter(users).map(async |user| {
        // A browser reads all root certificates when it starts, so that one serves all logins of a user.
        let browser = Browser::new().step("build a browser")?;
        let mut tokens = Vec::new();
        for _ in 0..OF_ONE_USER {
            tokens.push(around.sign_in(&browser, &sidecar.base, user).await?);
        }
        Ok::<_, BenchError>(tokens)
    });
    let sessions: Vec<_> = sessions.buffered(AT_ONCE).try_collect().await?;
    Ok(sessions.into_iter().flatten().collect())
}

/// Orders the sessions so that neighbours are of different users: one user may have 16 calls in flight.
fn mixed(tokens: &[Tokens]) -> Vec<Tokens> {
    let of_one_user = OF_ONE_USER as usize;
    (0..of_one_user)
        .flat_map(|first| tokens.iter().skip(first).step_by(of_one_user))
        .cloned()
        .collect()
}

fn few(tokens: &[Tokens]) -> &[Tokens] {
    tokens.get(..FEW).unwrap_or(tokens)
}

/// Sends one call from each session: the first one of a session exchanges its token.
async fn first_calls(sidecar: &Sidecar, sessions: &[Tokens]) -> Result<(), BenchError> {
    for one in sessions {
        let request = call::request(sidecar.base.authority(), &one.access);
        Connection::open(sidecar.address).await?.call(&request).await?;
    }
    Ok(())
}

/// Measures the CPU time of 1,000 calls. The sessions take turns.
async fn calls(sidecar: &Sidecar, sessions: &[Tokens], rate: u32) -> Result<f64, BenchError> {
    let (time, connections) = CALLS;
    let load = async |clients: Clients| clients.at_rate(rate, time).await;
    let of_each = cpu_of_calls(sidecar, sessions, connections, call::request, load).await?;
    Ok(of_each * 1000.0)
}

/// Measures the CPU time of a call of each tool, and how much memory calls with the largest answer add at most.
async fn by_answer(sidecar: &Sidecar, sessions: &[Tokens]) -> Result<(Vec<f64>, f64), BenchError> {
    let (connections, time) = LARGE;
    let load = async |clients: Clients| clients.at_limit(time).await;
    let before = sidecar.process.resident()?;
    sidecar.process.forget_peak()?;
    let mut cpu = Vec::new();
    for (tool, _) in TOOLS {
        let request = |host: &str, token: &str| call::call_of(tool, host, token);
        cpu.push(cpu_of_calls(sidecar, sessions, connections, request, load).await?);
    }
    Ok((cpu, sidecar.process.peak()? - before))
}

async fn cpu_of_calls(
    sidecar: &Sidecar,
    sessions: &[Tokens],
    connections: usize,
    request: impl Fn(&str, &str) -> Bytes,
    load: impl AsyncFnOnce(Clients) -> Result<Sample, BenchError>,
) -> Result<f64, BenchError> {
    let host = sidecar.base.authority();
    let target = Target {
        address: sidecar.address,
        requests: sessions.iter().map(|one| request(host, &one.access)).collect(),
    };
    let clients = Clients::open(&target, connections).await?;
    let before = sidecar.process.cpu()?;
    let sample = load(clients).await?;
    Ok(each(sidecar.process.cpu()?.since(&before), sample.calls))
}

/// Refreshes each session. Returns the new tokens and the CPU time of a refresh.
async fn refreshes(
    around: &Surroundings,
    sidecar: &Sidecar,
    sessions: &[Tokens],
) -> Result<(Vec<Tokens>, f64), BenchError> {
    let before = sidecar.process.cpu()?;
    let new = stream::iter(sessions).map(|one| around.refresh(&sidecar.base, &one.refresh));
    let new: Vec<_> = new.buffered(AT_ONCE).try_collect().await?;
    let cpu = sidecar.process.cpu()?.since(&before);
    let count = u32::try_from(new.len()).step("count refreshes")?;
    Ok((new, each(cpu, count)))
}

/// Measures the memory that open event streams add.
async fn streams(sidecar: &Sidecar, sessions: &[Tokens], count: u32) -> Result<f64, BenchError> {
    sleep(SETTLE).await;
    let before = sidecar.process.resident()?;
    let mut open = Vec::new();
    for (_, one) in (0..count).zip(sessions.iter().cycle()) {
        let mut connection = Connection::open(sidecar.address).await?;
        let request = call::stream(sidecar.base.authority(), &one.access);
        connection.open_stream(&request).await?;
        open.push(connection);
    }
    sleep(SETTLE).await;
    Ok(sidecar.process.resident()? - before)
}

/// Milliseconds of each.
fn each(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1000.0 / f64::from(count.max(1))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn footprint(store: Store) -> Footprint {
        Footprint {
            store,
            until_ready: Duration::from_millis(40),
            idle: 12.0,
            sessions: 1024,
            with_first: None,
            with_sessions: 15.0,
            rounds: vec![CallsBySessions {
                few_alone: 20.0,
                few_of_all: 21.0,
                many_of_all: 25.0,
            }],
            login: 1.0,
            refresh: 0.25,
            streams: 512,
            of_streams: 16.0,
            by_answer: vec![0.05, 0.06, 0.2, 0.5],
            of_large_answers: 3.0,
        }
    }

    #[test]
    fn memory_of_a_session_and_of_a_stream_is_what_each_adds() {
        let footprint = footprint(Store::Memory);
        assert!((footprint.of_session() - 3.0).abs() < 0.001);
        assert!((footprint.of_stream() - 32.0).abs() < 0.001);
        assert!((footprint.refreshes_per_second() - 4000.0).abs() < 0.001);
    }
}
