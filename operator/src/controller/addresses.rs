use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use behalf_contract::ObjectIdentity;

use super::accepted::Accepted;

/// Which object goes on with which `publicUrl`, and what else it was accepted with, from the moment of the decision.
///
/// The caches tell only what was written and came back; until then two passes at once would both find the
/// address free. There is one operator (`docs/adr/0005-one-operator.md`), so its memory is enough.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<HashMap<String, Holder>>);

#[derive(Debug)]
struct Holder {
    object: ObjectIdentity,
    accepted: Accepted,

    /// Whether it was applied; until then the pass that took it may still fail.
    settled: bool,
}

impl Holder {
    fn is_of(&self, uid: &str) -> bool {
        self.object.uid == uid
    }
}

impl Addresses {
    /// Gives an address to an object, or names the object that has it. What the object had before stays its own
    /// until the pass ends with [`Self::settle`] or [`Self::restore`]: it is served until then.
    ///
    /// `keeps` tells whether the object of a UID is there and has to do with an address still; `objects` is how
    /// many there are, which bounds what is remembered.
    pub(super) fn take(
        &self,
        accepted: Accepted,
        object: &ObjectIdentity,
        objects: usize,
        keeps: impl Fn(&str, &str) -> bool,
    ) -> Result<(), ObjectIdentity> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let public_url = accepted.public_url.clone();
        if let Some(Holder { object: holder, .. }) = given.get(&public_url)
            && holder.uid != object.uid
            && keeps(&holder.uid, &public_url)
        {
            return Err(holder.clone());
        }
        let holder = Holder {
            object: object.clone(),
            accepted,
            settled: false,
        };
        given.insert(public_url, holder);
        if given.len() > objects {
            given.retain(|url, Holder { object: holder, .. }| {
                holder.uid == object.uid || keeps(&holder.uid, url)
            });
        }
        Ok(())
    }

    /// What was taken is applied: others can have what the object had before.
    pub(super) fn settle(&self, uid: &str) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.values().any(|holder| holder.is_of(uid) && !holder.settled) {
            given.retain(|_, holder| !holder.is_of(uid) || !holder.settled);
            for holder in given.values_mut().filter(|holder| holder.is_of(uid)) {
                holder.settled = true;
            }
        }
    }

    /// What was taken could not be applied: the object has again what it had before the pass, which may be nothing.
    pub(super) fn restore(&self, object: &ObjectIdentity, before: Option<Accepted>) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given.retain(|_, holder| !holder.is_of(&object.uid));
        if let Some(accepted) = before {
            let holder = Holder {
                object: object.clone(),
                accepted,
                settled: true,
            };
            given.entry(holder.accepted.public_url.clone()).or_insert(holder);
        }
    }

    /// What the object `uid` was accepted with last, which has its address.
    pub(super) fn of(&self, uid: &str) -> Option<Accepted> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = given.values().filter(|holder| holder.is_of(uid));
        let last = own.max_by_key(|holder| holder.settled);
        last.map(|holder| holder.accepted.clone())
    }

    /// What the object `uid` took and is not applied yet.
    pub(super) fn unsettled(&self, uid: &str) -> Option<Accepted> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = given.values().filter(|holder| holder.is_of(uid));
        own.find(|holder| !holder.settled)
            .map(|holder| holder.accepted.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://mcp.contoso.example";

    fn object(name: &str) -> ObjectIdentity {
        ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: name.to_owned(),
            uid: format!("uid-of-{name}"),
        }
    }

    fn accepted(public_url: &str, client_id: &str) -> Accepted {
        Accepted {
            public_url: public_url.to_owned(),
            client_id: client_id.to_owned(),
            service_account_name: String::new(),
            audience: String::new(),
        }
    }

    fn at(public_url: &str) -> Accepted {
        accepted(public_url, "")
    }

    fn there(_: &str, _: &str) -> bool {
        true
    }

    fn gone(_: &str, _: &str) -> bool {
        false
    }

    #[test]
    fn of_passes_at_once_exactly_one_gets_an_address() {
        let addresses = Addresses::default();
        let taken: Vec<bool> = std::thread::scope(|scope| {
            let passes: Vec<_> = ["a", "b", "c", "d"]
                .into_iter()
                .map(|name| {
                    let addresses = &addresses;
                    scope.spawn(move || addresses.take(at(URL), &object(name), 4, there).is_ok())
                })
                .collect();
            passes.into_iter().map(|pass| pass.join().unwrap()).collect()
        });
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
    }

    #[test]
    fn an_address_is_kept_from_pass_to_pass_and_names_its_holder() {
        let addresses = Addresses::default();
        for _ in 0..2 {
            assert_eq!(addresses.take(at(URL), &object("a"), 2, there), Ok(()));
        }
        assert_eq!(addresses.take(at(URL), &object("b"), 2, there), Err(object("a")));
    }

    #[test]
    fn an_address_is_free_again_after_a_refusal_a_deletion_and_a_change() {
        let addresses = Addresses::default();
        addresses.take(at(URL), &object("a"), 9, there).unwrap();
        assert_eq!(addresses.of("uid-of-a"), Some(at(URL)));
        addresses.restore(&object("a"), None);
        assert_eq!(addresses.of("uid-of-a"), None);
        addresses.take(at(URL), &object("b"), 9, there).unwrap();
        addresses.take(at(URL), &object("c"), 9, gone).unwrap();
        addresses.settle("uid-of-c");
        let new = at("https://new.contoso.example");
        addresses.take(new.clone(), &object("c"), 9, there).unwrap();
        assert_eq!(addresses.take(at(URL), &object("d"), 9, there), Err(object("c")));
        addresses.settle("uid-of-c");
        addresses.take(at(URL), &object("d"), 9, there).unwrap();
        assert_eq!(addresses.of("uid-of-c"), Some(new));
    }

    #[test]
    fn what_could_not_be_applied_leaves_what_was_there_before() {
        let addresses = Addresses::default();
        addresses
            .take(accepted(URL, "old"), &object("a"), 9, there)
            .unwrap();
        addresses.settle("uid-of-a");
        for next in [accepted(URL, "new"), at("https://new.contoso.example")] {
            let before = addresses.of("uid-of-a");
            assert_eq!(before, Some(accepted(URL, "old")));
            addresses.take(next.clone(), &object("a"), 9, there).unwrap();
            assert_eq!(addresses.unsettled("uid-of-a"), Some(next));
            assert_eq!(addresses.take(at(URL), &object("b"), 9, there), Err(object("a")));
            addresses.restore(&object("a"), before);
        }
        assert_eq!(addresses.unsettled("uid-of-a"), None);
        let new = at("https://new.contoso.example");
        addresses.take(new, &object("b"), 9, there).unwrap();
    }

    #[test]
    fn what_an_object_was_accepted_with_last_is_remembered() {
        let addresses = Addresses::default();
        for client_id in ["old", "new"] {
            addresses
                .take(accepted(URL, client_id), &object("a"), 9, there)
                .unwrap();
            assert_eq!(addresses.of("uid-of-a"), Some(accepted(URL, client_id)));
        }
    }

    #[test]
    fn what_is_gone_is_not_remembered() {
        let addresses = Addresses::default();
        for number in 0..100 {
            let url = format!("https://mcp-{number}.contoso.example");
            addresses
                .take(at(&url), &object(&number.to_string()), 3, gone)
                .unwrap();
        }
        assert!(addresses.0.lock().unwrap().len() <= 3);
    }
}
