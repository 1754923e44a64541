//! The end of a log. Does no I/O.

use crate::redact;

/// Maximum number of lines of one log.
const MAX_LINES: usize = 60;

/// Maximum size of one log in bytes.
const MAX_BYTES: usize = 8 * 1024;

/// Maximum length of one line in characters.
const MAX_LINE_LENGTH: usize = 600;

/// The end of a log, redacted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogTail {
    pub(super) lines: Vec<String>,
    /// Number of the last lines that exceed [`MAX_BYTES`] and are missing.
    pub(super) dropped: usize,
}

/// Returns the line from which to read, so that the last [`MAX_LINES`] are included whether the service counts from 0
/// or from 1. Returns `None` for the beginning.
pub(super) fn start_line(line_count: Option<i64>) -> Option<i64> {
    let shown = i64::try_from(MAX_LINES).unwrap_or(i64::MAX);
    line_count?.checked_sub(shown).filter(|start| *start > 1)
}

impl LogTail {
    /// Takes the last lines of `text`. `cut` is true if the first line is incomplete.
    pub(super) fn new(text: &str, cut: bool) -> Self {
        let lines: Vec<&str> = text.lines().skip(usize::from(cut)).collect();
        let last = lines
            .get(lines.len().saturating_sub(MAX_LINES)..)
            .unwrap_or_default();
        // Redacted before it is cut, because half a secret is not recognised.
        let redacted = redact::lines(last.iter().map(|line| line.trim_end()));
        let mut kept: Vec<String> = Vec::new();
        let mut bytes = 0;
        for line in redacted.iter().rev() {
            let line = redact::cut(&printable(without_timestamp(line)), MAX_LINE_LENGTH);
            bytes += line.len() + 1;
            if bytes > MAX_BYTES {
                break;
            }
            kept.push(line);
        }
        kept.reverse();
        Self {
            dropped: redacted.len() - kept.len(),
            lines: kept,
        }
    }
}

/// Removes the time with which a line begins, such as `2026-04-01T10:50:50.0210666Z `.
fn without_timestamp(line: &str) -> &str {
    match line.split_once(' ') {
        Some((first, rest))
            if (20..=28).contains(&first.len())
                && first.ends_with('Z')
                && first.parse::<jiff::Timestamp>().is_ok() =>
        {
            rest
        }
        _ => line,
    }
}

/// Removes control characters and terminal colours.
fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // ESC [ ... letter
            if characters.as_str().starts_with('[') {
                for part in characters.by_ref().skip(1) {
                    if part.is_ascii_alphabetic() {
                        break;
                    }
                }
            }
        } else if !character.is_control() || character == '\t' {
            text.push(character);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn numbered(from: usize, to: usize) -> String {
        let lines = (from..=to).map(|line| format!("2026-04-01T10:50:50.0210666Z line {line}"));
        lines.collect::<Vec<_>>().join("\r\n")
    }

    /// A log of 4,120 lines, served by a service that counts from 0 and by one that counts from 1.
    #[rstest]
    #[case::from_zero(1)]
    #[case::from_one(0)]
    fn returns_the_last_lines_whether_the_service_counts_from_0_or_1(#[case] shift: usize) {
        let start = usize::try_from(start_line(Some(4_120)).unwrap()).unwrap();
        let tail = LogTail::new(&numbered(start + shift, 4_120), false);
        assert_eq!(tail.lines.len(), MAX_LINES);
        assert_eq!(tail.lines.last().unwrap(), "line 4120");
        assert_eq!(tail.lines.first().unwrap(), "line 4061");
    }

    #[rstest]
    #[case(None, None)]
    #[case(Some(0), None)]
    #[case(Some(61), None)]
    #[case(Some(62), Some(2))]
    #[case(Some(i64::MIN), None)]
    fn reads_short_logs_and_logs_of_unknown_length_completely(
        #[case] count: Option<i64>,
        #[case] start: Option<i64>,
    ) {
        assert_eq!(start_line(count), start);
    }

    #[test]
    fn cuts_a_large_log_from_the_front() {
        let text = format!(
            "{}\nthe end",
            "x".repeat(600).as_str().to_owned() + "\n" + &"y".repeat(599)
        )
        .repeat(1);
        let long: String = std::iter::repeat_n(text.as_str(), 20)
            .collect::<Vec<_>>()
            .join("\n");
        let tail = LogTail::new(&long, false);
        assert!(tail.dropped > 0);
        assert_eq!(tail.lines.last().unwrap(), "the end");
        assert!(tail.lines.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_BYTES);
    }

    #[test]
    fn drops_an_incomplete_first_line() {
        assert_eq!(LogTail::new("f a secret\nwhole", true).lines, ["whole"]);
    }

    #[test]
    fn removes_colours_control_characters_and_secrets() {
        let text = "\u{1b}[31;1m##[error]failed\u{1b}[0m\u{7}\ttoken=abcdefgh";
        assert_eq!(
            LogTail::new(text, false).lines,
            ["##[error]failed\ttoken=[redacted]"]
        );
    }

    #[test]
    fn an_empty_log_is_empty() {
        assert_eq!(
            LogTail::new("", false),
            LogTail {
                lines: Vec::new(),
                dropped: 0
            }
        );
    }
}
