//! Decides whether this process may lead, from the Lease as it was read and from how long it has not changed.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// Another process may lead when the Lease has not changed for this long.
pub(super) const DURATION: Duration = Duration::from_secs(12);

/// Returns the Lease to write for `identity` to lead from now on, or `None` while another process leads.
///
/// `lease` is the Lease as it was read, if it exists. `unchanged_for` is how long this process has seen it without a change. The time
/// inside the Lease does not count, because the clocks of two nodes may differ.
pub(super) fn decide(
    identity: &str,
    lease: Option<&LeaseSpec>,
    unchanged_for: Duration,
    now: Timestamp,
) -> Option<LeaseSpec> {
    let holder = lease.and_then(|lease| lease.holder_identity.as_deref());
    let is_mine = holder == Some(identity);
    let is_free = holder.is_none_or(str::is_empty);
    if !is_mine && !is_free && unchanged_for < promised(lease) {
        return None;
    }
    let acquired = lease
        .filter(|_| is_mine)
        .and_then(|lease| lease.acquire_time.clone());
    let transitions = lease.and_then(|lease| lease.lease_transitions);
    Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        acquire_time: acquired.or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: match transitions {
            Some(before) if is_mine => Some(before),
            Some(before) => Some(before.saturating_add(1)),
            None => Some(0),
        },
        ..LeaseSpec::default()
    })
}

/// Returns the Lease to write when `identity` stops leading, so that another process need not wait, or `None` if it
/// does not lead.
pub(super) fn release(identity: &str, lease: &LeaseSpec, now: Timestamp) -> Option<LeaseSpec> {
    (lease.holder_identity.as_deref() == Some(identity)).then(|| LeaseSpec {
        holder_identity: None,
        renew_time: Some(MicroTime(now)),
        ..lease.clone()
    })
}

/// Another release may write a longer duration. Without a limit, who writes the Lease once could stop every operator for years.
const MAX_DURATION: Duration = Duration::from_mins(1);

/// How long the holder of the Lease may be silent. Its release may have another duration than this one.
fn promised(lease: Option<&LeaseSpec>) -> Duration {
    lease
        .and_then(|lease| lease.lease_duration_seconds)
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs)
        .clamp(DURATION, MAX_DURATION)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// The Lease that `identity` got at second 100.
    fn held_by(identity: &str) -> LeaseSpec {
        decide(identity, None, Duration::ZERO, at(100)).unwrap()
    }

    #[test]
    fn a_lease_that_does_not_exist_is_taken() {
        let lease = held_by("one");
        assert_eq!(lease.holder_identity.as_deref(), Some("one"));
        assert_eq!(lease.lease_duration_seconds, Some(12));
        assert_eq!(lease.acquire_time, Some(MicroTime(at(100))));
        assert_eq!(lease.renew_time, Some(MicroTime(at(100))));
        assert_eq!(lease.lease_transitions, Some(0));
    }

    #[test]
    fn its_holder_renews_it_and_stays_the_one_that_acquired_it() {
        let renewed = decide("one", Some(&held_by("one")), LONG, at(103)).unwrap();
        assert_eq!(renewed.renew_time, Some(MicroTime(at(103))));
        assert_eq!(renewed.acquire_time, Some(MicroTime(at(100))));
        assert_eq!(renewed.lease_transitions, Some(0));
    }

    #[test]
    fn another_process_waits_until_it_has_seen_no_change_for_the_whole_duration() {
        let lease = held_by("one");
        let almost = DURATION.saturating_sub(Duration::from_millis(1));
        assert_eq!(decide("two", Some(&lease), Duration::ZERO, at(9999)), None);
        assert_eq!(decide("two", Some(&lease), almost, at(9999)), None);
        let taken = decide("two", Some(&lease), DURATION, at(101)).unwrap();
        assert_eq!(taken.holder_identity.as_deref(), Some("two"));
        assert_eq!(taken.acquire_time, Some(MicroTime(at(101))));
        assert_eq!(taken.lease_transitions, Some(1));
    }

    #[test]
    fn the_duration_that_the_holder_wrote_counts() {
        let longer = LeaseSpec {
            lease_duration_seconds: Some(30),
            ..held_by("one")
        };
        assert_eq!(decide("two", Some(&longer), DURATION, at(101)), None);
        assert!(decide("two", Some(&longer), Duration::from_secs(30), at(101)).is_some());
    }

    #[rstest::rstest]
    #[case(1, DURATION)]
    #[case(i32::MAX, MAX_DURATION)]
    fn a_duration_that_no_operator_writes_does_not_count(#[case] seconds: i32, #[case] counts: Duration) {
        let lease = LeaseSpec {
            lease_duration_seconds: Some(seconds),
            ..held_by("one")
        };
        let almost = counts.saturating_sub(Duration::from_millis(1));
        assert_eq!(decide("two", Some(&lease), almost, at(101)), None);
        assert!(decide("two", Some(&lease), counts, at(101)).is_some());
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let released = release("one", &held_by("one"), at(105)).unwrap();
        assert_eq!(released.holder_identity, None);
        let taken = decide("two", Some(&released), Duration::ZERO, at(106)).unwrap();
        assert_eq!(taken.lease_transitions, Some(1));
        for emptied in ["", "two"] {
            let lease = LeaseSpec {
                holder_identity: Some(emptied.to_owned()),
                ..held_by("one")
            };
            assert!(decide("two", Some(&lease), Duration::ZERO, at(106)).is_some());
        }
    }

    #[test]
    fn only_its_holder_releases_it() {
        assert_eq!(release("two", &held_by("one"), at(105)), None);
    }
}
