//! The maximum number of rollouts at a time.

use std::fmt;
use std::str::FromStr;

/// The maximum number of objects whose Pods the operator replaces at a time, unless an edit of the object asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxRollouts {
    /// A number of objects, at least 1.
    Objects(u16),

    /// A part of all objects, from 1 to 100 percent. It is rounded down, and is at least one object.
    Percent(u8),
}

/// A text that is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no number of rollouts: write <number> from 1, or <percent>% from 1% to 100%")]
pub struct InvalidMaxRollouts(String);

impl MaxRollouts {
    /// Returns the number of rollouts that may run at a time if there are this many objects.
    pub fn of(self, objects: usize) -> usize {
        match self {
            Self::Objects(number) => number.into(),
            Self::Percent(percent) => (objects.saturating_mul(percent.into()) / 100).max(1),
        }
    }
}

impl Default for MaxRollouts {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl FromStr for MaxRollouts {
    type Err = InvalidMaxRollouts;

    fn from_str(text: &str) -> Result<Self, InvalidMaxRollouts> {
        let limit = match text.strip_suffix('%') {
            Some(percent) => percent
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent),
            None => text.parse().ok().filter(|number| *number > 0).map(Self::Objects),
        };
        limit.ok_or_else(|| InvalidMaxRollouts(text.to_owned()))
    }
}

impl fmt::Display for MaxRollouts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(number) => write!(formatter, "{number}"),
            Self::Percent(percent) => write!(formatter, "{percent} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("10%", 500, 50)]
    #[case::rounded_down("10%", 19, 1)]
    #[case::never_none("10%", 3, 1)]
    #[case("100%", 7, 7)]
    #[case::of_no_objects("100%", 0, 1)]
    #[case::a_number("4", 500, 4)]
    fn limits_rollouts_to(#[case] text: &str, #[case] objects: usize, #[case] expected: usize) {
        assert_eq!(text.parse::<MaxRollouts>().unwrap().of(objects), expected);
    }

    #[rstest]
    #[case("0")]
    #[case("0%")]
    #[case("101%")]
    #[case("-1")]
    #[case("ten")]
    #[case("10 %")]
    #[case("%")]
    #[case("")]
    fn refuses_a_limit_with_which_nothing_would_roll_out_or_that_is_no_number(#[case] text: &str) {
        assert_eq!(
            text.parse::<MaxRollouts>(),
            Err(InvalidMaxRollouts(text.to_owned()))
        );
    }
}
