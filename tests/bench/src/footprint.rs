//! Measures the costs of a sidecar apart from calls: time to start, memory, and the CPU time of logins and refreshes.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use behalf_contract::{Injection, StoreConfig};
use behalf_simulators::sign_in::Browser;
use tokio::time::sleep;

use crate::call;
use crate::connection::Connection;
use crate::cores::SubjectCore;
use crate::error::{BenchError, Step as _};
use crate::generator::{Clients, Target};
use crate::subjects::sidecar::{self, Sidecar};
use crate::subjects::{Store, redis};
use crate::surroundings::{Surroundings, Tokens};

/// Number of sessions of one user. The sidecar ends the oldest beyond 64.
const OF_ONE_USER: u32 = 50;

/// The program is left alone for this long before its memory is read.
const SETTLE: Duration = Duration::from_secs(2);

/// Calls per second, their duration and the number of connections, when the cost of calls is compared.
const CALLS: (u32, Duration, usize) = (1000, Duration::from_secs(5), 64);

/// Number of sessions that stand for few. The sidecar remembers each of them from call to call.
const FEW: usize = 10;

/// Number of sessions and streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) sessions: u32,
    pub(crate) streams: u32,
}

/// The numbers of one sidecar.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Footprint {
    pub(crate) store: Store,

    /// From exec to 200 at `/startupz`.
    pub(crate) started: Duration,

    /// Resident memory without sessions, in MiB.
    pub(crate) idle: f64,

    /// Number of sessions, each with a downstream token.
    pub(crate) sessions: u32,

    /// Resident memory with these sessions, in MiB.
    pub(crate) with_sessions: f64,

    /// CPU time of 1,000 calls from `FEW` of these sessions, in milliseconds.
    pub(crate) calls_of_few: f64,

    /// CPU time of 1,000 calls from all of these sessions in turn, in milliseconds.
    pub(crate) calls_of_all: f64,

    /// CPU time of a login, in milliseconds.
    pub(crate) login: f64,

    /// CPU time of a refresh, in milliseconds.
    pub(crate) refresh: f64,

    /// Number of open event streams.
    pub(crate) streams: u32,

    /// Resident memory with sessions and streams, in MiB.
    pub(crate) with_streams: f64,
}

impl Footprint {
    /// Memory of a session, in KiB.
    pub(crate) fn of_session(&self) -> f64 {
        (self.with_sessions - self.idle) * 1024.0 / f64::from(self.sessions.max(1))
    }

    /// Memory of an open stream, in KiB.
    pub(crate) fn of_stream(&self) -> f64 {
        (self.with_streams - self.with_sessions) * 1024.0 / f64::from(self.streams.max(1))
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
    let _ = writeln!(std::io::stderr(), "{} sessions in {store}", load.sessions);
    // The first one stays until the sidecar has ended.
    let (_redis, config) = match store {
        Store::Memory => (None, StoreConfig::Memory),
        Store::Redis => {
            let (process, config) = redis::start(around).await?;
            (Some(process), config)
        }
    };
    let name = format!("footprint-{store}");
    let sidecar = sidecar::start(around, core, program, &name, Injection::Header, config).await?;
    let Sidecar { process, started, .. } = &sidecar;
    sleep(SETTLE).await;
    let idle = process.resident()?;

    let before = process.cpu()?;
    let mut tokens = sign_in(around, &sidecar, load.sessions).await?;
    let login = each(process.cpu()?.saturating_sub(before), load.sessions);
    // The first call of a session exchanges its token.
    for one in &tokens {
        let mut connection = Connection::open(sidecar.address).await?;
        let request = call::request(sidecar.base.authority(), &one.access);
        connection.call(&request).await?;
    }
    sleep(SETTLE).await;
    let with_sessions = process.resident()?;

    let mixed = mixed(&tokens);
    let calls_of_few = calls(&sidecar, mixed.get(..FEW).unwrap_or(&mixed)).await?;
    let calls_of_all = calls(&sidecar, &mixed).await?;

    let before = process.cpu()?;
    for one in &mut tokens {
        *one = around.refresh(&sidecar.base, &one.refresh).await?;
    }
    let refresh = each(process.cpu()?.saturating_sub(before), load.sessions);

    let settled = process.resident()?;
    let mut streams = Vec::new();
    for one in tokens
        .iter()
        .cycle()
        .take(usize::try_from(load.streams).step("count streams")?)
    {
        let mut connection = Connection::open(sidecar.address).await?;
        let request = call::stream(sidecar.base.authority(), &one.access);
        connection.open_stream(&request).await?;
        streams.push(connection);
    }
    sleep(SETTLE).await;
    // The refreshes added memory after `with_sessions` was measured. It does not count for the streams.
    let with_streams = process.resident()? - settled + with_sessions;
    Ok(Footprint {
        store,
        started: *started,
        idle,
        sessions: load.sessions,
        with_sessions,
        calls_of_few,
        calls_of_all,
        login,
        refresh,
        streams: load.streams,
        with_streams,
    })
}

/// Signs users in, one login after the other.
async fn sign_in(around: &Surroundings, sidecar: &Sidecar, sessions: u32) -> Result<Vec<Tokens>, BenchError> {
    let mut tokens = Vec::new();
    let mut left = sessions;
    for user in around.add_users(sessions.div_ceil(OF_ONE_USER)).await? {
        // A browser reads all root certificates when it starts, so that one serves all logins of a user.
        let browser = Browser::new().step("build a browser")?;
        for _ in 0..left.min(OF_ONE_USER) {
            tokens.push(around.sign_in(&browser, &sidecar.base, &user).await?);
        }
        left = left.saturating_sub(OF_ONE_USER);
    }
    Ok(tokens)
}

/// Orders the sessions so that neighbours are of different users: one user may have 16 calls in flight.
fn mixed(tokens: &[Tokens]) -> Vec<&Tokens> {
    let of_one_user = OF_ONE_USER as usize;
    (0..of_one_user)
        .flat_map(|first| tokens.iter().skip(first).step_by(of_one_user))
        .collect()
}

/// Measures the CPU time of 1,000 calls, in milliseconds. The sessions take turns.
async fn calls(sidecar: &Sidecar, sessions: &[&Tokens]) -> Result<f64, BenchError> {
    let (rate, time, connections) = CALLS;
    let host = sidecar.base.authority();
    let requests = sessions.iter().map(|one| call::request(host, &one.access));
    let target = Target {
        address: sidecar.address,
        requests: requests.collect(),
    };
    let clients = Clients::open(&target, connections).await?;
    let before = sidecar.process.cpu()?;
    let sample = clients.at_rate(rate, time).await?;
    let cpu = sidecar.process.cpu()?.saturating_sub(before);
    Ok(each(cpu, sample.calls) * 1000.0)
}

/// Milliseconds of each.
fn each(time: Duration, count: u32) -> f64 {
    time.as_secs_f64() * 1000.0 / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_session_and_of_a_stream_is_what_each_adds() {
        let footprint = Footprint {
            store: Store::Memory,
            started: Duration::ZERO,
            idle: 12.0,
            sessions: 1024,
            with_sessions: 15.0,
            calls_of_few: 1.0,
            calls_of_all: 1.0,
            login: 1.0,
            refresh: 1.0,
            streams: 512,
            with_streams: 31.0,
        };
        assert!((footprint.of_session() - 3.0).abs() < 0.001);
        assert!((footprint.of_stream() - 32.0).abs() < 0.001);
    }
}
