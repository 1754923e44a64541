//! Writes the audit lines of one turn of the event loop together.
//!
//! Each tool call has an audit line, and a write of its own for each line costs more than its text. An audit line is kept
//! until the task that logs it, and often others that are ready, have run. Every other line is written at once, behind the lines that are kept.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

/// Lines of more bytes together do not wait for the end of the turn. A pipe takes 64 KiB.
const MAX_KEPT_BYTES: usize = 16 * 1024;

/// Writes log lines to an output.
pub(crate) struct AuditBatchWriter<W: Write> {
    /// The target of the lines that wait for the end of the turn.
    audit_target: &'static str,
    lines: Arc<Mutex<Lines<W>>>,
}

/// The lock is held while lines are written: a thread with another line waits for a slow output.
struct Lines<W: Write> {
    kept: Vec<u8>,
    output: W,

    /// The output refused the end of a text.
    is_cut: bool,
}

impl<W: Write> Lines<W> {
    /// Writes the lines that are kept. They are lost if the output refuses them. The next ones then begin a line of their own.
    fn write(&mut self) -> io::Result<()> {
        let end: &[u8] = if self.is_cut { b"\n" } else { b"" };
        let written = self
            .output
            .write_all(end)
            .and_then(|()| self.output.write_all(&self.kept))
            .and_then(|()| self.output.flush());
        self.is_cut = written.is_err();
        self.kept.clear();
        self.kept.shrink_to(MAX_KEPT_BYTES);
        written
    }
}

impl<W: Write> AuditBatchWriter<W> {
    pub(crate) fn new(output: W, audit_target: &'static str) -> Self {
        let lines = Lines {
            kept: Vec::new(),
            output,
            is_cut: false,
        };
        Self {
            audit_target,
            lines: Arc::new(Mutex::new(lines)),
        }
    }
}

fn lock<W: Write>(lines: &Mutex<Lines<W>>) -> MutexGuard<'_, Lines<W>> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of a turn. Its drop writes the lines that are kept, also if the event loop ends before the turn does.
struct EndOfTurn<W: Write>(Arc<Mutex<Lines<W>>>);

impl<W: Write> Drop for EndOfTurn<W> {
    fn drop(&mut self) {
        // Nobody can be told of an error.
        let _ = lock(&self.0).write();
    }
}

/// Writes one line.
pub(crate) struct LogLine<W: Write> {
    lines: Arc<Mutex<Lines<W>>>,
    is_audit: bool,
}

impl<W: Write + Send + 'static> Write for LogLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Only a thread of an event loop has turns.
        let event_loop = if self.is_audit {
            Handle::try_current().ok()
        } else {
            None
        };
        let mut lines = lock(&self.lines);
        let is_first = lines.kept.is_empty();
        lines.kept.extend_from_slice(line);
        match event_loop {
            Some(event_loop) if lines.kept.len() < MAX_KEPT_BYTES => {
                drop(lines);
                if is_first {
                    let end = EndOfTurn(Arc::clone(&self.lines));
                    // The task runs after this one, and often behind others that are ready.
                    event_loop.spawn(async move { drop(end) });
                }
            }
            _ => lines.write()?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write + Send + 'static> MakeWriter<'_> for AuditBatchWriter<W> {
    type Writer = LogLine<W>;

    fn make_writer(&self) -> Self::Writer {
        LogLine {
            lines: Arc::clone(&self.lines),
            is_audit: false,
        }
    }

    fn make_writer_for(&self, metadata: &Metadata<'_>) -> Self::Writer {
        LogLine {
            lines: Arc::clone(&self.lines),
            is_audit: metadata.target() == self.audit_target,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::json_line::JsonLine;

    const TARGET: &str = "audit";

    /// Keeps the messages of each write.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<Vec<String>>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let lines = std::str::from_utf8(bytes).unwrap().lines();
            let message = |line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["message"].as_str().unwrap().to_owned()
            };
            self.0.lock().unwrap().push(lines.map(message).collect());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        /// Returns the writes since the last call.
        fn writes(&self) -> Vec<Vec<String>> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }

        /// Logs to this output in this thread until the guard is dropped.
        fn listen(&self) -> DefaultGuard {
            let subscriber = tracing_subscriber::fmt()
                .event_format(JsonLine)
                .with_writer(AuditBatchWriter::new(self.clone(), TARGET))
                .finish();
            tracing::subscriber::set_default(subscriber)
        }
    }

    fn audit(line: &str) {
        tracing::info!(target: TARGET, "{line}");
    }

    #[tokio::test]
    async fn the_audit_lines_of_one_turn_are_one_write_in_their_order() {
        let output = Output::default();
        let _listens = output.listen();
        for round in 0..2 {
            let calls = ["a", "b", "c"].map(|line| tokio::spawn(async move { audit(line) }));
            for call in calls {
                call.await.unwrap();
            }
            yield_now().await;
            assert_eq!(output.writes(), [["a", "b", "c"]], "{round}");
        }
    }

    #[tokio::test]
    async fn another_line_is_written_at_once_behind_the_audit_lines_before_it() {
        let output = Output::default();
        let _listens = output.listen();
        audit("a");
        tracing::info!("b");
        assert_eq!(output.writes(), [["a", "b"]]);
        audit("c");
        yield_now().await;
        assert_eq!(output.writes(), [["c"]]);
    }

    #[test]
    fn a_line_of_a_thread_without_an_event_loop_is_written_at_once() {
        let output = Output::default();
        let _listens = output.listen();
        audit("a");
        assert_eq!(output.writes(), [["a"]]);
    }

    #[test]
    fn no_line_is_lost_at_the_end_of_the_event_loop() {
        let output = Output::default();
        let _listens = output.listen();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { audit("a") });
        drop(runtime);
        assert_eq!(output.writes(), [["a"]]);
    }

    #[test]
    fn no_line_is_lost_when_the_process_panics() {
        let output = Output::default();
        let _listens = output.listen();
        let panics = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                audit("a");
                panic!("planted");
            });
        };
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(output.writes(), [["a"]]);
    }

    /// A disk with this many bytes left.
    struct Disk {
        written: Vec<u8>,
        left: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            self.written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_behind_one_that_the_output_cut_is_a_line_of_its_own() {
        let mut lines = Lines {
            kept: b"one\n".to_vec(),
            output: Disk {
                written: Vec::new(),
                left: 2,
            },
            is_cut: false,
        };
        lines.write().unwrap_err();
        lines.output.left = 100;
        for line in ["two\n", "three\n"] {
            lines.kept.extend_from_slice(line.as_bytes());
            lines.write().unwrap();
        }
        assert_eq!(lines.output.written, b"on\ntwo\nthree\n");
    }

    #[tokio::test]
    async fn lines_of_more_than_a_bound_do_not_wait() {
        let output = Output::default();
        let _listens = output.listen();
        let long = "x".repeat(MAX_KEPT_BYTES / 2);
        audit(&long);
        audit(&long);
        assert_eq!(output.writes(), [[long.clone(), long]]);
    }
}
