//! Prints the steps of the demo with the time since its start.

use std::sync::Arc;
use std::time::{Duration, Instant};

use behalf_local_cluster::Report;

/// Steps of a cluster or an image that took less need no second line.
const LONG: Duration = Duration::from_secs(10);

/// Says what happens, with the time since the start.
#[derive(Clone)]
pub struct Progress {
    started: Instant,
    say: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Progress {
    /// Progress that goes to `say`, line by line.
    pub fn new(say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            started: Instant::now(),
            say: Arc::new(say),
        }
    }

    /// Counts what was done in this time before the program started too.
    #[must_use]
    pub fn after(self, earlier: Duration) -> Self {
        Self {
            started: self.started.checked_sub(earlier).unwrap_or(self.started),
            ..self
        }
    }

    /// One line with the time in front.
    pub fn line(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        (self.say)(&format!("[{:3}:{:02}] {text}", seconds / 60, seconds % 60));
    }

    /// Text as it is.
    pub fn plain(&self, text: &str) {
        (self.say)(text);
    }

    /// The time since the start, as text.
    pub fn total(&self) -> String {
        duration(self.started.elapsed())
    }

    /// For what a cluster and images are made of: their steps, indented below a line of the demo.
    pub fn steps(&self) -> behalf_local_cluster::Progress {
        let progress = self.clone();
        behalf_local_cluster::Progress::to(move |report| {
            if let Some(text) = step(report) {
                progress.line(&text);
            }
        })
    }
}

fn step(report: Report<'_>) -> Option<String> {
    match report {
        Report::Started(name) => Some(format!("  {name}")),
        Report::Running(name, time) => Some(format!("  {name}: still running after {}", duration(time))),
        Report::Finished(name, time) if time >= LONG => Some(format!("  {name}: took {}", duration(time))),
        Report::Finished(..) => None,
    }
}

fn duration(time: Duration) -> String {
    format!("{} min {} s", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn steps_of_the_cluster_stand_below_the_demos_lines_with_its_time() {
        let (say, said) = mpsc::channel();
        let progress = Progress::new(move |line| say.send(line.to_owned()).unwrap());
        let progress = progress.after(Duration::from_secs(3_725));
        progress.line("cluster");
        progress.steps().step("create nodes", || Ok::<_, ()>(())).unwrap();
        let lines: Vec<String> = said.try_iter().collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].starts_with("[ 62:") && lines[0].ends_with("] cluster"),
            "{lines:?}"
        );
        assert!(lines[1].ends_with("]   create nodes"), "{lines:?}");
        assert!(progress.total().starts_with("62 min "), "{}", progress.total());
    }

    #[test]
    fn only_a_long_step_says_how_long_it_took() {
        assert_eq!(step(Report::Finished("build", Duration::from_secs(3))), None);
        assert_eq!(
            step(Report::Finished("build", Duration::from_secs(541))).unwrap(),
            "  build: took 9 min 1 s"
        );
        assert_eq!(
            step(Report::Running("build", Duration::from_mins(1))).unwrap(),
            "  build: still running after 1 min 0 s"
        );
    }
}
