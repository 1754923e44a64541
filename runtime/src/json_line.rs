//! The form of a log line for a Pod: one JSON object.
//!
//! Each tool call has a line, so that its text is written once, from front to back.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_log::NormalizeEvent as _;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes an event as the object of its time, its level, its fields and its target.
pub(crate) struct JsonLine;

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        // An event of a library that logs through the `log` crate has its metadata in its fields.
        let of_log = event.normalized_metadata();
        let metadata = of_log.as_ref().unwrap_or_else(|| event.metadata());
        line.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut line)?;
        line.write_str("\",\"level\":\"")?;
        line.write_str(metadata.level().as_str())?;
        line.write_str("\"")?;
        let mut fields = Fields {
            line: &mut line,
            written: Ok(()),
        };
        event.record(&mut fields);
        fields.written?;
        line.write_str(",\"target\":\"")?;
        Escaped(&mut line).write_str(metadata.target())?;
        line.write_str("\"}\n")
    }
}

/// Writes each field as a member of the object. After an error it writes nothing more.
struct Fields<'a, 'w> {
    line: &'a mut Writer<'w>,
    written: fmt::Result,
}

impl Fields<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        // An event of the `log` crate has its module, file and line in such fields.
        if self.written.is_ok() && !field.name().starts_with("log.") {
            self.written = name(self.line, field.name()).and_then(|()| value(self.line));
        }
    }

    /// Writes a number or a truth value.
    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn string(&mut self, field: &Field, value: impl FnOnce(&mut Escaped<'_, '_>) -> fmt::Result) {
        self.member(field, |line| {
            line.write_char('"')?;
            value(&mut Escaped(line))?;
            line.write_char('"')
        });
    }
}

/// The names of fields are written in the code, and need no escape.
fn name(line: &mut Writer<'_>, name: &str) -> fmt::Result {
    line.write_str(",\"")?;
    line.write_str(name.strip_prefix("r#").unwrap_or(name))?;
    line.write_str("\":")
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field, |text| text.write_str(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.string(field, |text| write!(text, "{value:?}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            // JSON has no such number.
            self.plain(field, "null");
        }
    }
}

/// Escapes what is written to it for a JSON string (RFC 8259, section 7).
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // Nearly every text is like this.
        if text.bytes().all(is_plain) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| match character {
            '"' | '\\' => {
                self.0.write_char('\\')?;
                self.0.write_char(character)
            }
            '\0'..' ' => write!(self.0, "\\u{:04x}", u32::from(character)),
            _ => self.0.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the line of what `log` logs, without its time.
    fn line(log: impl FnOnce()) -> Value {
        let captured = Captured::default();
        let writer = captured.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(JsonLine)
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, log);
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let mut line: Value = serde_json::from_str(&text).unwrap();
        let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        assert!(time.as_str().is_some_and(|time| time.ends_with('Z')), "{time}");
        line
    }

    #[test]
    fn a_line_is_one_json_object_with_each_field_in_its_type() {
        let absent: Option<&str> = None;
        let error: &dyn std::error::Error = &io::Error::other("no \"disk\"");
        let line = line(|| {
            tracing::event!(
                target: "behalf::test",
                tracing::Level::WARN,
                a.text = "b",
                number = 7_u16,
                negative = -7,
                part = 0.5,
                not_a_number = f64::NAN,
                flag = true,
                shown = %"d\te",
                debugged = ?Some("f"),
                error = error,
                absent = absent,
                r#type = "g",
                log.line = 3,
                "Read {}",
                "it"
            );
        });
        let expected = json!({
            "level": "WARN",
            "a.text": "b",
            "number": 7,
            "negative": -7,
            "part": 0.5,
            "not_a_number": null,
            "flag": true,
            "shown": "d\te",
            "debugged": "Some(\"f\")",
            "error": "no \"disk\"",
            "type": "g",
            "message": "Read it",
            "target": "behalf::test",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn every_character_of_a_text_is_in_the_line() {
        let text: String = ('\0'..='\u{ff}').chain(['\u{2028}', '\u{1f600}']).collect();
        let line = line(|| tracing::info!(text = text, "{text}"));
        assert_eq!((&line["text"], &line["message"]), (&json!(text), &json!(text)));
    }
}
