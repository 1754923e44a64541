//! Long steps tell that they started and how long they took.

use std::time::{Duration, Instant};

/// What is told about a step.
#[derive(Debug, Clone, Copy)]
pub enum Report<'a> {
    /// The step with this name begins.
    Started(&'a str),

    /// The step with this name succeeded after this time.
    Finished(&'a str, Duration),
}

type Listener = Box<dyn Fn(Report<'_>) + Send + Sync>;

/// Where reports go: always to the log at `info`, and to one listener when there is one.
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
        let done = work()?;
        let took = start.elapsed();
        tracing::info!(
            step = name,
            duration_seconds = took.as_secs_f64(),
            "Finished: {name}"
        );
        self.tell(Report::Finished(name, took));
        Ok(done)
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
