//! Log texts: short ones are written out, big ones are made line by line when they are read.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};

use crate::azure_devops::clock;

/// The lines of one log.
#[derive(Debug, Clone)]
pub(crate) enum LogText {
    /// Without time stamps; they are added when read.
    Lines(Vec<Cow<'static, str>>),
    /// A log of this many lines, a hundred bytes each. The lines are not stored.
    Generated(u64),
}

/// One log of a build.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    pub(crate) id: u32,
    pub(crate) created: Timestamp,
    pub(crate) text: LogText,
}

impl Log {
    pub(crate) fn line_count(&self) -> u64 {
        match &self.text {
            LogText::Lines(lines) => lines.len().try_into().unwrap_or(u64::MAX),
            LogText::Generated(lines) => *lines,
        }
    }

    /// When the last line was written.
    pub(crate) fn changed(&self) -> Timestamp {
        self.time_of(self.line_count().saturating_sub(1))
    }

    /// The line at `index`, counted from 0, with its time stamp of seven digits.
    pub(crate) fn line(&self, index: u64) -> Option<String> {
        if index >= self.line_count() {
            return None;
        }
        let text: Cow<'_, str> = match &self.text {
            LogText::Lines(lines) => Cow::Borrowed(lines.get(usize::try_from(index).ok()?)?),
            LogText::Generated(_) => Cow::Owned(generated_line(index)),
        };
        Some(format!("{} {text}", seven_digits(self.time_of(index))))
    }

    fn time_of(&self, index: u64) -> Timestamp {
        // The lines are 13.3701 ms apart, so their times have digits in every decimal place.
        let nanoseconds = i64::try_from(index)
            .unwrap_or(i64::MAX)
            .saturating_mul(13_370_100);
        self.created
            .checked_add(SignedDuration::from_nanos(nanoseconds))
            .unwrap_or(self.created)
    }
}

fn seven_digits(time: Timestamp) -> String {
    let written = clock::wire(time);
    let whole = written.trim_end_matches('Z');
    let (seconds, fraction) = whole.split_once('.').unwrap_or((whole, ""));
    format!("{seconds}.{fraction:0<7}Z")
}

fn generated_line(index: u64) -> String {
    match index % 5_000 {
        0 => format!("##[group]Suite {:05}", index / 5_000),
        4_998 => format!(
            "##[warning]suite {:05} took longer than its budget",
            index / 5_000
        ),
        4_999 => "##[endgroup]".to_owned(),
        _ => format!(
            "test case {index:09} ... ok (basket, checkout, pricing; seed {:08x})",
            index.wrapping_mul(2_654_435_761) % 0xffff_ffff
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: LogText) -> Log {
        Log {
            id: 1,
            created: "2026-04-01T10:50:50Z".parse().unwrap(),
            text,
        }
    }

    #[test]
    fn every_line_begins_with_a_time_of_seven_digits() {
        let log = log(LogText::Lines(vec!["a".into(), "b".into()]));
        assert_eq!(log.line(0).unwrap(), "2026-04-01T10:50:50.0000000Z a");
        assert_eq!(log.line(1).unwrap(), "2026-04-01T10:50:50.0133701Z b");
        assert_eq!(log.line(2), None);
    }

    #[test]
    fn a_generated_log_is_as_long_as_it_says_and_stable() {
        let log = log(LogText::Generated(1_000_000));
        assert_eq!(log.line_count(), 1_000_000);
        assert_eq!(log.line(999_998), log.line(999_998));
        assert!(log.line(1_000_000).is_none());
    }
}
