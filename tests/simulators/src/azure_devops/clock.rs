//! Time as an argument: the simulator asks the clock it was given.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

/// The simulator's source of the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that a test moves.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of the machine.
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the simulator meets the real time"
        )]
        Self::new(Timestamp::now)
    }

    /// Now, cut to the 100 ns that .NET counts in.
    pub fn now(&self) -> Timestamp {
        to_ticks((self.0)())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock(..)")
    }
}

fn to_ticks(time: Timestamp) -> Timestamp {
    let nanoseconds = time.as_nanosecond();
    Timestamp::from_nanosecond(nanoseconds - nanoseconds.rem_euclid(100)).unwrap_or(time)
}

/// How .NET writes a null date: no `Z`.
pub(super) const NULL_DATE: &str = "0001-01-01T00:00:00";

/// A date as the services write it: as many fraction digits as it has, at most seven, and `Z`.
pub(super) fn wire(time: Timestamp) -> String {
    to_ticks(time).to_string()
}

/// A date of a service that omits the offset.
pub(super) fn wire_without_offset(time: Timestamp) -> String {
    wire(time).trim_end_matches('Z').to_owned()
}

/// The date, or the null date.
pub(super) fn wire_or_null(time: Option<Timestamp>) -> String {
    time.map_or_else(|| NULL_DATE.to_owned(), wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_many_digits_as_there_are_and_at_most_seven() {
        for (given, written) in [
            ("2026-04-01T10:48:33.306379699Z", "2026-04-01T10:48:33.3063796Z"),
            ("2026-04-01T10:48:41.120Z", "2026-04-01T10:48:41.12Z"),
            ("2026-04-01T10:52:07Z", "2026-04-01T10:52:07Z"),
        ] {
            let time: Timestamp = given.parse().unwrap();
            assert_eq!(wire(time), written);
        }
        assert_eq!(wire_or_null(None), "0001-01-01T00:00:00");
    }
}
