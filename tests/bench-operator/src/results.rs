//! The numbers of a run, the bars that they are compared with, and the page `docs/performance-operator.md`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::audit::Requests;
use crate::children;
use crate::error::BenchError;

/// The measured numbers.
pub(crate) struct Results {
    pub(crate) objects: usize,

    /// From the first create until every child exists and every status is current.
    pub(crate) until_current: Duration,

    /// Time in which a client that does nothing else creates the same objects and children.
    pub(crate) raw: Duration,

    /// Requests of the operator while it created the children.
    pub(crate) requests: Requests,

    /// CPU time of the operator until every status was current.
    pub(crate) cpu: Duration,

    /// Memory in MiB after that, and the most until the end of the run.
    pub(crate) memory: f64,
    pub(crate) memory_peak: f64,

    /// From an edit until the Deployment has it, of several objects.
    pub(crate) changes: Vec<Duration>,

    /// The time in which nothing changed.
    pub(crate) settled: Duration,

    /// Requests of the operator in that time, and its CPU time.
    pub(crate) settled_requests: Requests,
    pub(crate) settled_cpu: Duration,

    /// From the start of the operator, after the one before was killed, until the Deployment has an edit.
    pub(crate) restart: Duration,

    pub(crate) others: Others,
}

/// The number of cores that other programs used, on average.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Until every status was current.
    pub(crate) current: f64,

    /// While the client that only creates did so.
    pub(crate) raw: f64,

    /// While nothing changed.
    pub(crate) settled: f64,
}

/// One bar: what is measured, the most that is allowed, the number, and its unit.
type Bar = (&'static str, f64, f64, &'static str);

/// Returns whether a bar is met. A number that was not measured meets none.
fn is_met((_, most, measured, _): &Bar) -> bool {
    measured <= most
}

impl Results {
    fn bars(&self) -> [Bar; 8] {
        let seconds = Duration::as_secs_f64;
        let slowest = self.changes.iter().max().copied().unwrap_or_default();
        [
            (
                "objects applied until every child exists and every status is current",
                45.0,
                seconds(&self.until_current),
                "s",
            ),
            (
                "the same, compared with a client that only creates the same objects and children",
                2.0,
                seconds(&self.until_current) / seconds(&self.raw),
                "times",
            ),
            (
                "requests of the operator for each object",
                12.0,
                self.for_each(),
                "",
            ),
            (
                "settled: writes but those of the Lease",
                0.0,
                number(self.settled_requests.writes()),
                "",
            ),
            (
                "settled: GET and LIST requests",
                0.0,
                number(self.settled_requests.reads()),
                "",
            ),
            (
                "resident memory, the most in the run",
                48.0,
                self.memory_peak,
                "MiB",
            ),
            (
                "an operator that was killed: from its next start until an edit reaches its Deployment",
                20.0,
                seconds(&self.restart),
                "s",
            ),
            (
                "the slowest edit until it reaches its Deployment",
                1.0,
                seconds(&slowest),
                "s",
            ),
        ]
    }

    fn for_each(&self) -> f64 {
        number(self.requests.count()) / number(self.objects)
    }

    /// Fails if a bar is missed, and names each that is.
    pub(crate) fn verdict(&self) -> Result<(), BenchError> {
        let bars = self.bars();
        let missed: Vec<&str> = bars.iter().filter(|bar| !is_met(bar)).map(|bar| bar.0).collect();
        if missed.is_empty() {
            return Ok(());
        }
        Err(BenchError::new(format!(
            "{} of {} bars are missed: {}",
            missed.len(),
            bars.len(),
            missed.join("; ")
        )))
    }

    /// Writes the tables.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::from("| Bar | Most | Measured | |\n|---|---:|---:|---|\n");
        for bar in self.bars() {
            let verdict = if is_met(&bar) { "met" } else { "**missed**" };
            let (name, most, measured, unit) = bar;
            let _ = writeln!(
                text,
                "| {name} | {most} {unit} | {measured:.2} {unit} | {verdict} |"
            );
        }
        let mut changes = self.changes.clone();
        changes.sort_unstable();
        let median = changes.get(changes.len() / 2).copied().unwrap_or_default();
        let idle = 100.0 * self.settled_cpu.as_secs_f64() / self.settled.as_secs_f64();
        let _ = write!(
            text,
            "\n| More numbers | |\n|---|---:|\n\
             | the client that only creates | {:.1} s |\n\
             | CPU time of the operator until every status is current | {:.1} s |\n\
             | resident memory then | {:.1} MiB |\n\
             | an edit until it reaches its Deployment, median of {} | {:.0} ms |\n\
             | CPU of the operator while nothing changes | {idle:.1} % of a core |\n\
             | other programs, until every status is current | {:.1} % of a core |\n\
             | other programs, while the client only creates | {:.1} % of a core |\n\
             | other programs, while nothing changes | {:.1} % of a core |\n",
            self.raw.as_secs_f64(),
            self.cpu.as_secs_f64(),
            self.memory,
            changes.len(),
            median.as_secs_f64() * 1000.0,
            100.0 * self.others.current,
            100.0 * self.others.raw,
            100.0 * self.others.settled,
        );
        let _ = write!(
            text,
            "\n| Requests of the operator until every status is current | for each object |\n|---|---:|\n"
        );
        for (request, count) in self.requests.rows() {
            let _ = writeln!(
                text,
                "| {request} | {:.2} |",
                number(count) / number(self.objects)
            );
        }
        text
    }

    /// Writes the whole page.
    pub(crate) fn page(&self) -> String {
        let processor = fact("/proc/cpuinfo", "model name");
        let memory = fact("/proc/meminfo", "MemTotal");
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel = kernel.trim();
        format!(
            "# Performance of the operator

`make bench-operator` measures and writes this page. Do not edit it.

## Conditions

- {processor}, {cores} cores for everything, {memory} of memory, Linux {kernel}.
- A real API server with its etcd (without fsync), and the controllers of Deployments and ReplicaSets, on the same machine.
  There are no nodes: a stub makes each Pod ready and serves its status document.
- {objects} objects with the five fields that every object needs, created by 16 requests at a time, with {children} children and
  {objects} Pods. A fifth of them names a ConfigMap with a certificate authority, another fifth a given ServiceAccount.
- The client that only creates makes the same objects and children with 16 requests at a time, on a new control plane with the
  same controllers and stub. It ends with the last create, and waits for no Pod.
- The operator is the release build with a Lease. Its requests are counted in the audit log, without watches and those for the
  Lease, and until the last object is Ready. The operator that is started after the kill has another Pod's name and waits for
  the Lease. Nothing changes for {minutes:.0} minutes while the settled operator is measured.

- An upgrade of the operator is not measured.

## Numbers

{tables}",
            kernel = kernel.trim(),
            objects = self.objects,
            children = children::of(self.objects),
            minutes = self.settled.as_secs_f64() / 60.0,
            tables = self.tables(),
        )
    }
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Returns the value of a line `name: value` in a file of the kernel.
fn fact(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name);
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A run in which every bar is met.
    fn results() -> Results {
        Results {
            objects: 500,
            until_current: 30 * SECOND,
            raw: 15 * SECOND,
            requests: Requests::default(),
            cpu: SECOND,
            memory: 40.0,
            memory_peak: 48.0,
            changes: vec![SECOND / 10, SECOND / 5],
            settled: 600 * SECOND,
            settled_requests: Requests::default(),
            settled_cpu: SECOND,
            restart: 14 * SECOND,
            others: Others {
                raw: 0.5,
                ..Others::default()
            },
        }
    }

    #[test]
    fn names_each_bar_that_is_missed() {
        let results = Results {
            raw: 10 * SECOND,
            memory_peak: 49.0,
            ..results()
        };
        let tables = results.tables();
        for row in [
            "| 45 s | 30.00 s | met |",
            "| 2 times | 3.00 times | **missed** |",
            "| 48 MiB | 49.00 MiB | **missed** |",
            "| 1 s | 0.20 s | met |",
            "| settled: writes but those of the Lease | 0  | 0.00  | met |",
            "| other programs, while the client only creates | 50.0 % of a core |",
        ] {
            assert!(tables.contains(row), "{row} in\n{tables}");
        }
        let verdict = results.verdict().unwrap_err().to_string();
        assert_eq!(
            verdict,
            "2 of 8 bars are missed: the same, compared with a client that only creates the same objects and children; \
             resident memory, the most in the run"
        );
    }

    #[test]
    fn a_run_fails_only_if_a_bar_is_missed() {
        results().verdict().unwrap();
        let slow = Results {
            restart: 21 * SECOND,
            ..results()
        };
        assert!(slow.verdict().is_err());
        let unmeasured = Results {
            objects: 0,
            ..results()
        };
        assert!(unmeasured.verdict().is_err(), "requests for each of no objects");
    }
}
