//! The generator of calls.
//!
//! [`Clients::at_rate`] is an open loop: each call has a scheduled time, and its latency counts from that time. A slow answer
//! therefore delays no later call without the delay being counted (no coordinated omission). [`Clients::at_limit`] is a closed
//! loop: each connection sends its next call when the last one is answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hdrhistogram::Histogram;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use crate::connection::Connection;
use crate::error::{BenchError, Step as _};
use crate::pacer::Pacer;

/// Number of calls that a new connection makes before the measurement. They open the connections behind the measured
/// program, and let a sidecar exchange its users' tokens.
const WARM_UP: usize = 3;

/// The longest latency that is told apart. It is recorded for longer ones.
const LONGEST: Duration = Duration::from_mins(1);

/// Where the calls go, and what they are. Connections take turns in the requests, which are of different users.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Vec<Bytes>,
}

/// The result of one measurement.
pub(crate) struct Sample {
    /// Number of answered calls.
    pub(crate) calls: u32,

    /// Time from the first scheduled call to the last answer.
    pub(crate) time: Duration,

    /// Latencies in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Sample {
    /// Answered calls per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.calls) / self.time.as_secs_f64()
    }

    /// A quantile of the latencies, in microseconds.
    pub(crate) fn microseconds(&self, quantile: f64) -> f64 {
        Duration::from_nanos(self.latencies.value_at_quantile(quantile)).as_secs_f64() * 1e6
    }
}

/// Open connections, each with the requests that it sends in turn.
pub(crate) struct Clients(Vec<(Connection, Vec<Bytes>)>);

impl Clients {
    /// Opens this number of connections, and makes the first calls over each.
    pub(crate) async fn open(target: &Target, count: usize) -> Result<Self, BenchError> {
        let mut connections = Vec::with_capacity(count);
        for first in 0..count {
            // Each request is sent by one connection, and each connection has at least one.
            let requests = target.requests.iter().cycle();
            let length = target.requests.len().max(count);
            let requests: Vec<_> = requests
                .take(length)
                .skip(first)
                .step_by(count)
                .cloned()
                .collect();
            let mut connection = Connection::open(target.address).await?;
            for request in requests.iter().cycle().take(WARM_UP) {
                connection.call(request).await?;
            }
            connections.push((connection, requests));
        }
        Ok(Self(connections))
    }

    /// Sends `rate` calls per second for `time`, evenly spaced. If every connection is in use, a call waits, and the wait
    /// is part of its latency.
    pub(crate) async fn at_rate(self, rate: u32, time: Duration) -> Result<Sample, BenchError> {
        let (schedule, due) = mpsc::unbounded_channel::<Instant>();
        let due = Arc::new(Mutex::new(due));
        let mut clients = JoinSet::new();
        for (mut connection, requests) in self.0 {
            let due = Arc::clone(&due);
            clients.spawn(async move {
                let mut latencies = latencies()?;
                for request in requests.iter().cycle() {
                    // The lock is fair, so that the connections take turns and all stay warm.
                    let next = due.lock().await.recv().await;
                    let Some(scheduled) = next else { break };
                    connection.call(request).await?;
                    latencies.saturating_record(nanoseconds(scheduled.elapsed()));
                }
                Ok(latencies)
            });
        }
        drop(due);
        let pacer = Pacer::new().step("create a timer")?;
        let interval = Duration::from_secs(1) / rate;
        let begin = Instant::now();
        let mut scheduled = begin;
        while scheduled < begin + time {
            pacer
                .sleep_until(scheduled)
                .await
                .step("wait for the next call")?;
            if schedule.send(scheduled).is_err() {
                break;
            }
            scheduled += interval;
        }
        drop(schedule);
        finish(clients, begin).await
    }

    /// Sends calls for `time`, each as soon as the last one of its connection is answered.
    pub(crate) async fn at_limit(self, time: Duration) -> Result<Sample, BenchError> {
        let mut clients = JoinSet::new();
        let begin = Instant::now();
        for (mut connection, requests) in self.0 {
            clients.spawn(async move {
                let mut latencies = latencies()?;
                for request in requests.iter().cycle() {
                    if begin.elapsed() >= time {
                        break;
                    }
                    let sent = Instant::now();
                    connection.call(request).await?;
                    latencies.saturating_record(nanoseconds(sent.elapsed()));
                }
                Ok(latencies)
            });
        }
        finish(clients, begin).await
    }
}

/// Awaits the clients. The first error ends the measurement.
async fn finish(
    mut clients: JoinSet<Result<Histogram<u64>, BenchError>>,
    begin: Instant,
) -> Result<Sample, BenchError> {
    let mut histograms = Vec::new();
    while let Some(client) = clients.join_next().await {
        histograms.push(client.step("await a connection")??);
    }
    // The measurement ends here: adding the histograms takes milliseconds.
    let time = begin.elapsed();
    let mut all = latencies()?;
    for histogram in histograms {
        all.add(histogram).step("add latencies")?;
    }
    Ok(Sample {
        calls: u32::try_from(all.len()).step("count the calls")?,
        time,
        latencies: all,
    })
}

/// Three digits of each latency are kept.
fn latencies() -> Result<Histogram<u64>, BenchError> {
    Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3).step("create a histogram")
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call;
    use crate::stub_server::StubServer;

    async fn clients(server: &StubServer, count: usize) -> Clients {
        let target = Target {
            address: server.address(),
            requests: vec![call::request("localhost", "token")],
        };
        Clients::open(&target, count).await.unwrap()
    }

    #[tokio::test]
    async fn the_latency_of_a_call_counts_from_its_scheduled_time() {
        let server = StubServer::start().await.unwrap();
        let clients = clients(&server, 4).await;
        // Nothing of this process runs in the first 200 ms. Half of the calls were scheduled in this time.
        tokio::spawn(async { std::thread::sleep(Duration::from_millis(200)) });
        let sample = clients.at_rate(1000, Duration::from_millis(400)).await.unwrap();
        assert_eq!(sample.calls, 400);
        assert!(
            sample.microseconds(0.75) > 50_000.0,
            "{}",
            sample.microseconds(0.75)
        );
    }

    #[tokio::test]
    async fn a_connection_that_breaks_fails_the_measurement() {
        for at_limit in [false, true] {
            let server = StubServer::start().await.unwrap();
            let clients = clients(&server, 2).await;
            drop(server);
            let time = Duration::from_millis(50);
            let result = if at_limit {
                clients.at_limit(time).await
            } else {
                clients.at_rate(1000, time).await
            };
            assert!(result.is_err());
        }
    }
}
