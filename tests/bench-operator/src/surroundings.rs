//! The CPU time of the programs that are no part of the bench. Numbers from a busy machine mean little, so the page shows it.

use std::fs;

use tokio::time::Instant;

use crate::error::{BenchError, Step as _};
use crate::operator::TICK;

/// A moment, with the CPU time until then.
pub(crate) struct Moment {
    at: Instant,

    /// Of the machine, in ticks.
    machine: u64,

    /// Of this process and of those that it has started, in ticks.
    own: u64,
}

impl Moment {
    /// Reads the CPU times.
    pub(crate) fn now() -> Result<Self, BenchError> {
        let machine = machine(&fs::read_to_string("/proc/stat").step("read /proc/stat")?);
        let mut own = 0;
        let tasks = fs::read_dir("/proc/self/task").step("list the threads")?;
        let mut processes = vec!["self".to_owned()];
        for task in tasks {
            let children = task.step("list the threads")?.path().join("children");
            let children = fs::read_to_string(children).step("list the processes")?;
            processes.extend(children.split_ascii_whitespace().map(str::to_owned));
        }
        for process in processes {
            // A process that has just ended is counted in the time of this one.
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            own += with_ended_children(&stat);
        }
        Ok(Self {
            at: Instant::now(),
            machine: machine.ok_or_else(|| BenchError::new("/proc/stat has no line cpu"))?,
            own,
        })
    }

    /// Returns how many cores other programs have used since this moment, on average.
    pub(crate) fn cores_of_others(&self) -> Result<f64, BenchError> {
        let now = Self::now()?;
        let own = now.own.saturating_sub(self.own);
        let others = now.machine.saturating_sub(self.machine).saturating_sub(own);
        let others = TICK * u32::try_from(others).unwrap_or(u32::MAX);
        Ok(others.as_secs_f64() / (now.at - self.at).as_secs_f64())
    }
}

/// Returns the time of all cores but that in which they waited, from the first line of `/proc/stat`.
fn machine(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = fields
        .split_ascii_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq; guest time is a part of user time, and stolen time is another machine's.
    let [user, nice, system, _, _, irq, softirq, ..] = fields[..] else {
        return None;
    };
    Some(user + nice + system + irq + softirq)
}

/// Returns the fields `utime`, `stime`, `cutime` and `cstime` of `/proc/<id>/stat` together.
fn with_ended_children(stat: &str) -> u64 {
    // The name of the program, in parentheses, may contain spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let times = fields.split_ascii_whitespace().skip(11).take(4);
    times.filter_map(|text| text.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_machine_is_what_its_cores_did_not_wait() {
        let stat = "cpu  1 20 300 4000 50000 600000 7000000 80000000 9 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(machine(stat), Some(7_600_321));
        assert_eq!(machine("intr 1\n"), None);
    }

    #[test]
    fn the_time_of_a_process_contains_that_of_its_ended_children() {
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 1 20 300 4000 5 5 5";
        assert_eq!(with_ended_children(stat), 4321);
    }

    #[test]
    fn work_of_a_child_is_not_that_of_others() {
        let start = Moment::now().unwrap();
        let own = start.own;
        let spin = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        std::process::Command::new("sh")
            .args(["-c", spin])
            .status()
            .unwrap();
        assert!(Moment::now().unwrap().own > own);
    }
}
