//! The two cores of a run: one for the generator, the MCP server and Entra, one for the measured program.

use std::process::Command;

use crate::error::{BenchError, Step as _};

/// The number of the core for the measured programs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectCore(pub(crate) usize);

impl SubjectCore {
    /// Moves this process to the first core that it may use. Returns the second one.
    pub(crate) fn take() -> Result<Self, BenchError> {
        let status = std::fs::read_to_string("/proc/self/status").step("read /proc/self/status")?;
        let list = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap_or_default();
        let [bench, subject] = first_two(list).ok_or_else(|| {
            BenchError::new("the bench needs two cores: run it on a machine with two or more")
        })?;
        let moved = Command::new("taskset")
            .args(["--all-tasks", "--cpu-list", "--pid", &bench.to_string()])
            .arg(std::process::id().to_string())
            .output()
            .step("start taskset")?;
        if !moved.status.success() {
            return Err(BenchError::new(format!(
                "failed to move the bench to core {bench}: {}",
                String::from_utf8_lossy(&moved.stderr)
            )));
        }
        Ok(Self(subject))
    }
}

/// Reads the first two numbers of a list such as `0-3,8`.
fn first_two(cores: &str) -> Option<[usize; 2]> {
    let ranges = cores.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse().ok()?)
    });
    let mut numbers = ranges.flatten();
    Some([numbers.next()?, numbers.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_first_two_cores_that_the_process_may_use() {
        assert_eq!(first_two("\t0-3\n"), Some([0, 1]));
        assert_eq!(first_two("2,5-7"), Some([2, 5]));
        assert_eq!(first_two("3"), None);
        assert_eq!(first_two(""), None);
    }
}
