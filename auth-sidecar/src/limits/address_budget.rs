//! Limits how often clients may do something: one budget for each address, and one for all addresses together.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::token_bucket::{Rate, TokenBucket};

/// Maximum number of addresses whose budget is not full. An entry has about 50 bytes.
const MAX_ADDRESSES: usize = 4096;

/// The budgets of one kind of request.
pub(crate) struct AddressBudgets {
    per_address: Rate,
    total: Rate,
    budgets: Mutex<Budgets>,
}

struct Budgets {
    total: TokenBucket,
    addresses: HashMap<IpAddr, TokenBucket>,
}

impl AddressBudgets {
    /// Creates full budgets.
    pub(crate) fn new(per_address: Rate, total: Rate, now: Timestamp) -> Self {
        let budgets = Budgets {
            total: TokenBucket::full(total, now),
            addresses: HashMap::new(),
        };
        Self {
            per_address,
            total,
            budgets: Mutex::new(budgets),
        }
    }

    /// Charges one request to the total and to this address. Charges nothing and returns false if one of the two
    /// budgets is used up. Without an address only the total counts.
    pub(crate) fn try_charge(&self, address: Option<IpAddr>, now: Timestamp) -> bool {
        let mut budgets = self.lock();
        let budgets = &mut *budgets;
        let network = address.map(network);
        let own = network.and_then(|network| budgets.addresses.get(&network));
        let admits = own.is_none_or(|own| own.tokens(self.per_address, now) >= 1.0)
            && budgets.total.tokens(self.total, now) >= 1.0;
        if !admits {
            return false;
        }
        budgets.total.charge(self.total, now);
        let Some(network) = network else { return true };
        if budgets.addresses.len() >= MAX_ADDRESSES && !budgets.addresses.contains_key(&network) {
            make_room(&mut budgets.addresses, self.per_address, now);
        }
        budgets
            .addresses
            .entry(network)
            .or_insert_with(|| TokenBucket::full(self.per_address, now))
            .charge(self.per_address, now);
        true
    }

    /// Takes back the charge of a request that turned out to cost nothing.
    pub(crate) fn refund(&self, address: Option<IpAddr>) {
        let mut budgets = self.lock();
        budgets.total.refund(self.total);
        if let Some(own) = address.and_then(|address| budgets.addresses.get_mut(&network(address))) {
            own.refund(self.per_address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the budgets that are full again, or else the fullest: its address loses the least of its limit.
fn make_room(addresses: &mut HashMap<IpAddr, TokenBucket>, rate: Rate, now: Timestamp) {
    addresses.retain(|_, bucket| bucket.tokens(rate, now) < rate.burst);
    if addresses.len() < MAX_ADDRESSES {
        return;
    }
    let fullest = addresses
        .iter()
        .max_by(|(_, one), (_, other)| one.tokens(rate, now).total_cmp(&other.tokens(rate, now)))
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

    fn budgets(now: Timestamp) -> AddressBudgets {
        let of_one = Rate {
            burst: 300.0,
            per_second: 5.0,
        };
        let total = Rate {
            burst: 10_000.0,
            per_second: 2000.0,
        };
        AddressBudgets::new(of_one, total, now)
    }

    fn address(text: &str) -> Option<IpAddr> {
        let address = text.parse();
        assert!(address.is_ok(), "{text}");
        address.ok()
    }

    /// Sends requests until the budgets admit no more, and returns their number.
    fn exhaust(budgets: &AddressBudgets, address: Option<IpAddr>, now: Timestamp) -> usize {
        let mut admitted = 0;
        while budgets.try_charge(address, now) {
            admitted += 1;
            assert!(admitted < 20_000, "never limited");
        }
        admitted
    }

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let budgets = budgets(START);
        let one = address("192.0.2.1");
        assert_eq!(exhaust(&budgets, one, START), 300);
        let later = START + SignedDuration::from_secs(2);
        assert_eq!(exhaust(&budgets, one, later), 10);
    }

    #[test]
    fn one_address_leaves_the_budget_of_others_alone() {
        let budgets = budgets(START);
        exhaust(&budgets, address("192.0.2.1"), START);
        assert!(budgets.try_charge(address("192.0.2.2"), START));
        exhaust(&budgets, address("2001:db8:1:2:3::4"), START);
        assert!(
            !budgets.try_charge(address("2001:db8:1:2::1"), START),
            "the same network"
        );
        assert!(budgets.try_charge(address("2001:db8:1:3::1"), START));
        assert!(
            !budgets.try_charge(address("::ffff:192.0.2.1"), START),
            "the same address in another form"
        );
    }

    #[test]
    fn many_addresses_together_meet_the_total() {
        let budgets = budgets(START);
        let admitted: usize = (0..40)
            .map(|n| exhaust(&budgets, Some(IpAddr::from([192, 0, 2, n])), START))
            .sum();
        assert_eq!(admitted, 10_000);
        assert!(!budgets.try_charge(address("198.51.100.1"), START));
        let later = START + SignedDuration::from_secs(1);
        assert_eq!(exhaust(&budgets, None, later), 2000);
    }

    #[test]
    fn without_an_address_only_the_total_counts() {
        let budgets = budgets(START);
        assert_eq!(exhaust(&budgets, None, START), 10_000);
        assert!(budgets.lock().addresses.is_empty());
    }

    #[test]
    fn a_refunded_request_costs_nothing() {
        let budgets = budgets(START);
        let one = address("192.0.2.1");
        for _ in 0..5000 {
            assert!(budgets.try_charge(one, START));
            budgets.refund(one);
        }
        budgets.refund(one);
        assert_eq!(
            exhaust(&budgets, one, START),
            300,
            "a refund adds nothing to a full budget"
        );
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_fullest_first() {
        let budgets = budgets(START);
        let busy = address("203.0.113.9");
        exhaust(&budgets, busy, START);
        for n in 0..6000_u32 {
            let [_, _, c, d] = n.to_be_bytes();
            budgets.try_charge(Some(IpAddr::from([10, 0, c, d])), START);
        }
        let budgets = budgets.lock();
        assert!(budgets.addresses.len() <= MAX_ADDRESSES);
        assert!(budgets.addresses.contains_key(&busy.unwrap()));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_change_the_budget() {
        let start = START + SignedDuration::from_hours(1);
        let budgets = budgets(start);
        let one = address("192.0.2.1");
        budgets.try_charge(one, start);
        assert_eq!(exhaust(&budgets, one, START), 299);
    }
}
