//! Decides which failures of the store are logged, so that an outage is one line and not one for each command.

use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between the lines of two outages. A Redis may answer some commands and refuse others, as a replica
/// does that refuses writes.
const GAP: Duration = Duration::from_mins(1);

/// The outages that were logged.
#[derive(Default)]
pub(super) struct OutageLog {
    began_at: Option<Instant>,
    is_open: bool,
}

impl OutageLog {
    /// Returns true if this failure must be logged: it begins an outage, and the last line is old enough.
    pub(super) fn began(&mut self, now: Instant) -> bool {
        let is_recent = self.began_at.is_some_and(|began_at| now < began_at + GAP);
        if self.is_open || is_recent {
            return false;
        }
        self.began_at = Some(now);
        self.is_open = true;
        true
    }

    /// Returns true if the end of an outage must be logged, because its beginning was.
    pub(super) fn ended(&mut self) -> bool {
        std::mem::take(&mut self.is_open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_one_line_at_its_beginning_and_one_at_its_end() {
        let (mut log, now) = (OutageLog::default(), Instant::now());
        let lines: Vec<bool> = (0..100).map(|_| log.began(now)).collect();
        assert_eq!(lines.iter().filter(|line| **line).count(), 1);
        assert!(log.ended() && !log.ended());
    }

    #[test]
    fn outages_in_quick_succession_are_one_line_a_minute() {
        let (mut log, start) = (OutageLog::default(), Instant::now());
        let mut lines = 0;
        for second in 0..120 {
            lines += u32::from(log.began(start + Duration::from_secs(second)));
            lines += u32::from(log.ended());
        }
        assert_eq!(lines, 4);
    }
}
