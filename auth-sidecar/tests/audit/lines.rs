//! Starts logging as the process does, and keeps the lines of each test.

use std::cell::RefCell;
use std::io;

use behalf_runtime::{LogFormat, LogLevel, Logging};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// The lines of this test: each test and all its tasks run on one thread.
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends to the lines of the current thread.
#[derive(Clone, Copy)]
struct OfThisTest;

impl io::Write for OfThisTest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for OfThisTest {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

/// The value of `event.duration_ms` in the lines of this file: the number differs from run to run.
pub(crate) const MEASURED: &str = "measured";

/// Starts logging as the process does, at the level with the fewest lines.
pub(crate) fn listen() {
    let logging = Logging {
        format: LogFormat::Json,
        level: LogLevel::Error,
        ours: &["behalf_auth_sidecar", "behalf_entra"],
        libraries: LogLevel::Error,
        silent: &[],
    };
    logging.start_with(OfThisTest);
}

/// Returns the log of this test as text.
pub(crate) fn text() -> String {
    LINES.with_borrow(|lines| String::from_utf8(lines.clone()).unwrap())
}

/// Removes the lines of this action from the log of this test, and returns their fields without the time.
pub(crate) fn take(action: &str) -> Vec<Value> {
    let lines = text();
    let (taken, rest): (Vec<_>, Vec<_>) = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .partition(|line| line["event.action"] == action);
    LINES.with_borrow_mut(|lines| {
        lines.clear();
        for line in rest {
            lines.extend_from_slice(format!("{line}\n").as_bytes());
        }
    });
    taken.into_iter().map(fields).collect()
}

/// Returns the only line of this action.
pub(crate) fn take_one(action: &str) -> Value {
    let mut lines = take(action);
    assert_eq!(lines.len(), 1, "{action}: {lines:?}; the rest: {}", text());
    lines.remove(0)
}

/// Checks what every line has, and returns the other fields. A duration becomes [`MEASURED`].
fn fields(mut line: Value) -> Value {
    let object = line.as_object_mut().unwrap();
    assert!(object.remove("timestamp").is_some_and(|time| time.is_string()));
    assert_eq!(object.remove("level"), Some(json!("INFO")));
    assert_eq!(object.remove("target"), Some(json!("behalf::audit")));
    let message = format!(
        "{}: {}",
        object["event.action"].as_str().unwrap(),
        object["event.outcome"].as_str().unwrap()
    );
    assert_eq!(object.remove("message"), Some(json!(message)));
    if let Some(duration) = object.get_mut("event.duration_ms") {
        assert!(duration.is_u64(), "{duration}");
        *duration = MEASURED.into();
    }
    line
}

/// Removes a field whose value differs from run to run.
pub(crate) fn remove(line: &mut Value, field: &str) -> Value {
    let removed = line.as_object_mut().unwrap().remove(field);
    removed.unwrap_or_else(|| panic!("{field} is missing: {line}"))
}
