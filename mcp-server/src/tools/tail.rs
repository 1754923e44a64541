//! The end of a log. Pure.

use crate::redact;

/// Lines shown of one log.
pub(crate) const LINES: usize = 60;

/// Bytes shown of one log.
const BYTES: usize = 8 * 1024;

/// Characters shown of one line.
const LINE: usize = 600;

/// The end of a log as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    pub(crate) lines: Vec<String>,
    /// Lines of the tail that were left out for their size.
    pub(crate) dropped: usize,
}

/// The line to start reading at, so that the last [`LINES`] come whether the service counts from 0 or
/// from 1. `None`: from the beginning.
pub(crate) fn start_line(line_count: Option<i64>) -> Option<i64> {
    let shown = i64::try_from(LINES).unwrap_or(i64::MAX);
    line_count?.checked_sub(shown).filter(|start| *start > 1)
}

/// The last lines of `text`; `cut` when its first line is only the rest of one.
pub(crate) fn tail(text: &str, cut: bool) -> Tail {
    let lines: Vec<&str> = text.lines().skip(usize::from(cut)).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    // Redacted before it is shortened: half a secret is not recognised.
    let redacted = redact::lines(last.iter().map(|line| line.trim_end()));
    let mut kept: Vec<String> = Vec::new();
    let mut bytes = 0;
    for line in redacted.iter().rev() {
        let line = redact::cut(&printable(without_timestamp(line)), LINE);
        bytes += line.len() + 1;
        if bytes > BYTES {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    Tail {
        dropped: redacted.len() - kept.len(),
        lines: kept,
    }
}

/// Lines begin `2026-04-01T10:50:50.0210666Z `, which costs more than it tells.
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

/// Without control characters and terminal colours.
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
    fn shows_the_last_lines_whatever_the_base(#[case] shift: usize) {
        let start = usize::try_from(start_line(Some(4_120)).unwrap()).unwrap();
        let tail = tail(&numbered(start + shift, 4_120), false);
        assert_eq!(tail.lines.len(), LINES);
        assert_eq!(tail.lines.last().unwrap(), "line 4120");
        assert_eq!(tail.lines.first().unwrap(), "line 4061");
    }

    #[rstest]
    #[case(None, None)]
    #[case(Some(0), None)]
    #[case(Some(61), None)]
    #[case(Some(62), Some(2))]
    #[case(Some(i64::MIN), None)]
    fn short_and_unknown_logs_are_read_whole(#[case] count: Option<i64>, #[case] start: Option<i64>) {
        assert_eq!(start_line(count), start);
    }

    #[test]
    fn a_log_without_an_end_is_cut_by_size_from_the_front() {
        let text = format!(
            "{}\nthe end",
            "x".repeat(600).as_str().to_owned() + "\n" + &"y".repeat(599)
        )
        .repeat(1);
        let long: String = std::iter::repeat_n(text.as_str(), 20)
            .collect::<Vec<_>>()
            .join("\n");
        let tail = tail(&long, false);
        assert!(tail.dropped > 0);
        assert_eq!(tail.lines.last().unwrap(), "the end");
        assert!(tail.lines.iter().map(|line| line.len() + 1).sum::<usize>() <= BYTES);
    }

    #[test]
    fn half_a_line_is_not_shown() {
        assert_eq!(tail("f a secret\nwhole", true).lines, ["whole"]);
    }

    #[test]
    fn colours_controls_and_secrets_are_gone() {
        let text = "\u{1b}[31;1m##[error]failed\u{1b}[0m\u{7}\ttoken=abcdefgh";
        assert_eq!(tail(text, false).lines, ["##[error]failed\ttoken=[redacted]"]);
    }

    #[test]
    fn an_empty_log_is_empty() {
        assert_eq!(
            tail("", false),
            Tail {
                lines: Vec::new(),
                dropped: 0
            }
        );
    }
}
