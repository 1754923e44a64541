//! Dates of Azure DevOps: ISO 8601 with up to seven fraction digits, mostly with `Z`, from some services without an
//! offset, and with year 1 instead of an absent date.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize as _, Deserializer};

use super::scalar::Scalar;

/// Parses a date. Returns `None` for the null date `0001-01-01T00:00:00` and for a text that is no date, because one
/// unreadable date must not fail a whole list.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let instant = match text.parse::<Timestamp>() {
        Ok(instant) => instant,
        // A date without an offset is UTC.
        Err(_) => text
            .parse::<DateTime>()
            .ok()?
            .to_zoned(TimeZone::UTC)
            .ok()?
            .timestamp(),
    };
    (instant.to_zoned(TimeZone::UTC).year() > 1).then_some(instant)
}

/// Deserializes a date for `#[serde(default, deserialize_with)]`. Absent, null and unreadable dates are `None`.
pub(crate) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(match Scalar::deserialize(deserializer)? {
        Scalar::Text(text) => parse(&text),
        Scalar::Number(_) | Scalar::Other => None,
    })
}

/// Formats a date in whole seconds, RFC 3339.
pub(crate) fn seconds(instant: Timestamp) -> String {
    Timestamp::from_second(instant.as_second())
        .unwrap_or(instant)
        .to_string()
}

/// Returns the whole seconds between two dates, if both are known and in order.
pub(crate) fn duration_seconds(start: Option<Timestamp>, end: Option<Timestamp>) -> Option<i64> {
    let seconds = end?.as_second().checked_sub(start?.as_second())?;
    (seconds >= 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("2026-04-01T10:48:33.3063796Z", Some("2026-04-01T10:48:33Z"))]
    #[case("2026-04-01T10:48:33Z", Some("2026-04-01T10:48:33Z"))]
    #[case("2026-04-01T10:48:33.5", Some("2026-04-01T10:48:33Z"))]
    #[case("2026-04-01T10:48:33+02:00", Some("2026-04-01T08:48:33Z"))]
    #[case("0001-01-01T00:00:00", None)]
    #[case("0001-01-01T00:00:00Z", None)]
    #[case("yesterday", None)]
    #[case("", None)]
    fn parses_every_precision_and_the_null_date(#[case] text: &str, #[case] expected: Option<&str>) {
        assert_eq!(parse(text).map(seconds).as_deref(), expected);
    }

    #[test]
    fn a_run_that_ends_before_it_starts_has_no_duration() {
        let early = parse("2026-04-01T10:00:00Z");
        let late = parse("2026-04-01T10:01:30.9Z");
        assert_eq!(duration_seconds(early, late), Some(90));
        assert_eq!(duration_seconds(late, early), None);
        assert_eq!(duration_seconds(None, late), None);
    }
}
