//! Reports the start, the duration and the end of long steps.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A report about a step.
#[derive(Debug, Clone, Copy)]
pub enum Report<'a> {
    /// The step with this name begins.
    Started(&'a str),

    /// The step with this name has run for this time. Reported every half minute.
    Running(&'a str, Duration),

    /// The step with this name succeeded after this time.
    Finished(&'a str, Duration),
}

/// Time between two reports of a running step.
const REMINDER: Duration = Duration::from_secs(30);

type Listener = Box<dyn Fn(Report<'_>) + Send + Sync>;

/// The receivers of reports: always the log at `info`, and one listener if there is one.
#[derive(Default)]
pub struct Progress(Option<Listener>);

impl Progress {
    /// Reports to this function too, for a program that prints.
    pub fn to(listener: impl Fn(Report<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(listener)))
    }

    /// Does `work` as the step `name`.
    pub fn step<T, E>(&self, name: &str, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        self.tell(Report::Started(name));
        let start = Instant::now();
        let done = self.reminding(name, work, REMINDER)?;
        let took = start.elapsed();
        tracing::info!(
            step = name,
            duration_seconds = took.as_secs_f64(),
            "Finished: {name}"
        );
        self.tell(Report::Finished(name, took));
        Ok(done)
    }

    /// Does `work` in this thread while another one reports that it still runs.
    fn reminding<T>(&self, name: &str, work: impl FnOnce() -> T, every: Duration) -> T {
        let start = Instant::now();
        let (working, ended) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    self.tell(Report::Running(name, start.elapsed()));
                }
            });
            // The other thread ends when this value is dropped: after the work, and when the work panics.
            let _working = working;
            work()
        })
    }

    fn tell(&self, report: Report<'_>) {
        if let Some(listener) = &self.0 {
            listener(report);
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Progress").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_reports_that_it_runs_until_it_ends() {
        let (tell, told) = mpsc::channel();
        let progress = Progress::to(move |report| {
            if let Report::Running(name, _) = report {
                tell.send(name.to_owned()).unwrap();
            }
        });
        // The work ends only after its report was received, so the test does not depend on time.
        let first = progress.reminding("build", || told.recv().unwrap(), Duration::from_millis(1));
        assert_eq!(first, "build");
        drop(progress);
        while told.recv().is_ok() {}
    }
}
