//! Limits the number of registrations, with one budget for each address and one for all addresses together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

/// The budget of one address. A company behind one gateway starts its clients within minutes, and some
/// clients register at every start.
const PER_ADDRESS: Rate = Rate {
    burst: 300.0,
    per_second: 5.0,
};

/// The budget of all addresses together. A registration stores nothing and costs one HKDF and one AES-GCM
/// sealing of at most 1 KiB, well below a tenth of a millisecond. This many registrations use less than a
/// fifth of one core.
const TOTAL: Rate = Rate {
    burst: 10_000.0,
    per_second: 2000.0,
};

/// Maximum number of addresses whose budget is not full. An entry has about 50 bytes.
const MOST_ADDRESSES: usize = 4096;

/// The capacity of a budget, and how fast it refills.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: f64,
    per_second: f64,
}

/// The rest of a budget.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Timestamp,
}

impl Bucket {
    fn full(rate: Rate, now: Timestamp) -> Self {
        Self {
            tokens: rate.burst,
            filled_at: now,
        }
    }

    fn tokens(&self, rate: Rate, now: Timestamp) -> f64 {
        // When the clock goes back, the budget stays as it is.
        let elapsed = now.duration_since(self.filled_at).as_secs_f64().max(0.0);
        elapsed.mul_add(rate.per_second, self.tokens).min(rate.burst)
    }

    fn charge(&mut self, rate: Rate, now: Timestamp) {
        self.tokens = (self.tokens(rate, now) - 1.0).max(0.0);
        self.filled_at = now;
    }
}

/// The budgets of registrations. Only a registration that succeeds is charged.
pub(super) struct RegistrationLimit(Mutex<Budgets>);

struct Budgets {
    total: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
}

impl RegistrationLimit {
    pub(super) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Budgets {
            total: Bucket::full(TOTAL, now),
            addresses: HashMap::new(),
        }))
    }

    /// True when a client at this address may register now. Without an address only the total counts.
    pub(super) fn admits(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let budgets = self.lock();
        let own = address.and_then(|address| budgets.addresses.get(&network(address)));
        own.is_none_or(|own| own.tokens(PER_ADDRESS, now) >= 1.0) && budgets.total.tokens(TOTAL, now) >= 1.0
    }

    /// Charges one registration to the total, and to this address.
    pub(super) fn charge(&self, address: Option<IpAddr>, now: Timestamp) {
        let mut budgets = self.lock();
        let budgets = &mut *budgets;
        budgets.total.charge(TOTAL, now);
        let Some(address) = address else { return };
        let network = network(address);
        if budgets.addresses.len() >= MOST_ADDRESSES && !budgets.addresses.contains_key(&network) {
            make_room(&mut budgets.addresses, now);
        }
        budgets
            .addresses
            .entry(network)
            .or_insert_with(|| Bucket::full(PER_ADDRESS, now))
            .charge(PER_ADDRESS, now);
    }

    fn lock(&self) -> MutexGuard<'_, Budgets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the budgets that are full again, or else the fullest: its address loses the least of its limit.
fn make_room(addresses: &mut HashMap<IpAddr, Bucket>, now: Timestamp) {
    addresses.retain(|_, bucket| bucket.tokens(PER_ADDRESS, now) < PER_ADDRESS.burst);
    if addresses.len() < MOST_ADDRESSES {
        return;
    }
    let fullest = addresses
        .iter()
        .max_by(|(_, one), (_, other)| {
            one.tokens(PER_ADDRESS, now)
                .total_cmp(&other.tokens(PER_ADDRESS, now))
        })
        .map(|(address, _)| *address);
    if let Some(fullest) = fullest {
        addresses.remove(&fullest);
    }
}

/// The network of one subscriber: an IPv4 address, or the 64 bits of an IPv6 network (RFC 6177).
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn address(text: &str) -> Option<IpAddr> {
        let address = text.parse();
        assert!(address.is_ok(), "{text}");
        address.ok()
    }

    /// Registers clients until the limit refuses one.
    fn exhaust(limit: &RegistrationLimit, address: Option<IpAddr>, now: Timestamp) -> usize {
        let mut registered = 0;
        while limit.admits(address, now) {
            limit.charge(address, now);
            registered += 1;
            assert!(registered < 20_000, "never limited");
        }
        registered
    }

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let limit = RegistrationLimit::new(START);
        let one = address("192.0.2.1");
        assert_eq!(exhaust(&limit, one, START), 300);
        let later = START + SignedDuration::from_secs(2);
        assert_eq!(exhaust(&limit, one, later), 10);
    }

    #[test]
    fn one_address_leaves_the_budget_of_others_alone() {
        let limit = RegistrationLimit::new(START);
        exhaust(&limit, address("192.0.2.1"), START);
        assert!(limit.admits(address("192.0.2.2"), START));
        exhaust(&limit, address("2001:db8:1:2:3::4"), START);
        assert!(
            !limit.admits(address("2001:db8:1:2::1"), START),
            "the same network"
        );
        assert!(limit.admits(address("2001:db8:1:3::1"), START));
        assert!(
            !limit.admits(address("::ffff:192.0.2.1"), START),
            "the same address in another form"
        );
    }

    #[test]
    fn many_addresses_together_meet_the_total() {
        let limit = RegistrationLimit::new(START);
        let registered: usize = (0..40)
            .map(|n| exhaust(&limit, Some(IpAddr::from([192, 0, 2, n])), START))
            .sum();
        assert_eq!(registered, 10_000);
        assert!(!limit.admits(address("198.51.100.1"), START));
        let later = START + SignedDuration::from_secs(1);
        assert_eq!(exhaust(&limit, None, later), 2000);
    }

    #[test]
    fn without_an_address_only_the_total_counts() {
        let limit = RegistrationLimit::new(START);
        assert_eq!(exhaust(&limit, None, START), 10_000);
        assert!(limit.lock().addresses.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_fullest_first() {
        let limit = RegistrationLimit::new(START);
        let busy = address("203.0.113.9");
        exhaust(&limit, busy, START);
        for n in 0..6000_u32 {
            let [_, _, c, d] = n.to_be_bytes();
            limit.charge(Some(IpAddr::from([10, 0, c, d])), START);
        }
        let budgets = limit.lock();
        assert!(budgets.addresses.len() <= MOST_ADDRESSES);
        assert!(budgets.addresses.contains_key(&busy.unwrap()));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_change_the_budget() {
        let start = START + SignedDuration::from_hours(1);
        let limit = RegistrationLimit::new(start);
        let one = address("192.0.2.1");
        limit.charge(one, start);
        assert_eq!(exhaust(&limit, one, START), 299);
    }
}
