//! The CPU time of a program until a moment, and the time between two moments.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::error::{BenchError, Step as _};

/// The unit of `/proc/<id>/stat`: `USER_HZ`, which is 100 per second on every platform of the sidecar.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time of some processes since each began.
///
/// Linux counts it twice. The sum for a process contains the threads that have ended, and is cut off to [`TICK`]. The time of
/// each living thread is exact, and is gone when the thread ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CpuTime {
    /// Of all threads, and of child processes that ended, in [`TICK`].
    ticks: u32,

    /// Of each living thread.
    threads: BTreeMap<String, Duration>,
}

impl CpuTime {
    /// Reads the time that these processes have used until now.
    pub(crate) fn of(ids: &[u32]) -> Result<Self, BenchError> {
        let mut time = Self::default();
        for id in ids {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).step("read a program's CPU time")?;
            time.ticks += ticks(&stat).ok_or_else(|| BenchError::new("/proc/<id>/stat has no CPU time"))?;
            let tasks = fs::read_dir(format!("/proc/{id}/task")).step("list the threads of a program")?;
            for task in tasks.flatten() {
                let thread = task.file_name().to_string_lossy().into_owned();
                time.threads.insert(thread, of_thread(&task.path()));
            }
        }
        Ok(time)
    }

    /// Returns the CPU time since `before`.
    ///
    /// The threads say too little if one has ended, and the sum says at most a tick too much. The larger of both is therefore
    /// at most a tick too small if a thread has ended, and exact otherwise.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let of_threads = self.threads.iter().map(|(thread, time)| {
            let before = before.threads.get(thread).copied().unwrap_or_default();
            time.saturating_sub(before)
        });
        let ticks = self.ticks.saturating_sub(before.ticks).saturating_sub(1);
        of_threads.sum::<Duration>().max(TICK * ticks)
    }
}

/// The fields `utime`, `stime`, `cutime` and `cstime` of `/proc/<id>/stat`.
fn ticks(stat: &str) -> Option<u32> {
    // The name of the program, in parentheses, may contain spaces and parentheses. utime is the 12th field behind it.
    let (_, fields) = stat.rsplit_once(')')?;
    let times = fields.split_ascii_whitespace().skip(11).take(4);
    let times = times.map(str::parse).collect::<Result<Vec<u32>, _>>().ok()?;
    (times.len() == 4).then(|| times.iter().sum())
}

/// The time of a living thread. Zero if it has ended in between.
fn of_thread(task: &Path) -> Duration {
    let times = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    let used = times.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(used.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use rustix::time::{ClockId, clock_gettime};

    use super::*;

    fn used_by_this_thread() -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::try_from(time).unwrap()
    }

    #[test]
    fn the_time_of_a_thread_that_has_ended_counts() {
        let work = Duration::from_millis(200);
        let before = CpuTime::of(&[std::process::id()]).unwrap();
        std::thread::spawn(move || while used_by_this_thread() < work {})
            .join()
            .unwrap();
        let used = CpuTime::of(&[std::process::id()]).unwrap().since(&before);
        assert!(used + 2 * TICK >= work, "{used:?}");
    }

    fn time(ticks: u32, threads: &[(&str, u64)]) -> CpuTime {
        let threads = threads
            .iter()
            .map(|&(thread, milliseconds)| (thread.to_owned(), Duration::from_millis(milliseconds)));
        CpuTime {
            ticks,
            threads: threads.collect(),
        }
    }

    #[test]
    fn the_time_of_living_threads_is_more_exact_than_ticks() {
        let before = time(10, &[("1", 95), ("2", 8)]);
        // Thread 3 is new.
        let after = time(14, &[("1", 112), ("2", 13), ("3", 16)]);
        assert_eq!(after.since(&before), Duration::from_millis(38));
    }

    #[test]
    fn a_thread_that_used_much_and_ended_does_not_make_the_difference_zero() {
        let before = time(110, &[("1", 100), ("2", 1000)]);
        let after = time(131, &[("1", 200)]);
        assert_eq!(after.since(&before), Duration::from_millis(200));
    }

    #[test]
    fn reads_the_times_of_a_program_with_any_name() {
        let stat = "7 (a) (b c) S 1 7 7 0 -1 4194560 9 0 0 0 11 22 33 44 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(110));
        assert_eq!(ticks("7 (a"), None);
        assert_eq!(ticks("7 (a) S 1"), None);
    }
}
