use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// With what it serves the address.
    settled: Option<Accepted>,

    /// With what a pass is about to serve it, and may still fail.
    taken: Option<Accepted>,
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
    /// `exists` tells whether there is still an object of a UID; `objects` is how many there are, which bounds what
    /// is remembered.
    pub(super) fn take(
        &self,
        accepted: Accepted,
        object: &ObjectIdentity,
        objects: usize,
        exists: impl Fn(&str) -> bool,
    ) -> Result<(), ObjectIdentity> {
        let mut given = self.lock();
        let public_url = accepted.public_url.clone();
        if let Some(Holder { object: holder, .. }) = given.get(&public_url)
            && holder.uid != object.uid
            && exists(&holder.uid)
        {
            return Err(holder.clone());
        }
        let holder = given
            .remove(&public_url)
            .filter(|holder| holder.is_of(&object.uid));
        let holder = Holder {
            object: object.clone(),
            settled: holder.and_then(|holder| holder.settled),
            taken: Some(accepted),
        };
        given.insert(public_url, holder);
        if given.len() > objects {
            given.retain(|_, holder| holder.is_of(&object.uid) || exists(&holder.object.uid));
        }
        Ok(())
    }

    /// The object serves this address as it took it: others can have what it had beside it.
    pub(super) fn settle(&self, uid: &str, public_url: &str) {
        let mut given = self.lock();
        given.retain(|url, holder| !holder.is_of(uid) || url == public_url);
        if let Some(holder) = given.get_mut(public_url).filter(|holder| holder.is_of(uid)) {
            holder.settled = holder.taken.take().or(holder.settled.take());
        }
    }

    /// What was taken could not be applied: the object has what it had before, which may be nothing.
    pub(super) fn restore(&self, uid: &str) {
        self.lock().retain(|_, holder| {
            if holder.is_of(uid) {
                holder.taken = None;
            }
            !holder.is_of(uid) || holder.settled.is_some()
        });
    }

    /// What the object `uid` was accepted and served with last.
    pub(super) fn of(&self, uid: &str) -> Option<Accepted> {
        let given = self.lock();
        let mut own = given.values().filter(|holder| holder.is_of(uid));
        own.find_map(|holder| holder.settled.clone())
    }

    /// What the object `uid` took and is not known to serve: by this pass, or by one that ended without an answer.
    pub(super) fn unsettled(&self, uid: &str) -> Vec<Accepted> {
        let given = self.lock();
        let own = given.values().filter(|holder| holder.is_of(uid));
        own.filter_map(|holder| holder.taken.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn there(_: &str) -> bool {
        true
    }

    fn gone(_: &str) -> bool {
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
        assert_eq!(addresses.of("uid-of-a"), None, "it serves nothing yet");
        addresses.restore("uid-of-a");
        assert_eq!(addresses.of("uid-of-a"), None);
        addresses.take(at(URL), &object("b"), 9, there).unwrap();
        addresses.take(at(URL), &object("c"), 9, gone).unwrap();
        addresses.settle("uid-of-c", URL);
        let new = at("https://new.contoso.example");
        addresses.take(new.clone(), &object("c"), 9, there).unwrap();
        assert_eq!(addresses.take(at(URL), &object("d"), 9, there), Err(object("c")));
        addresses.settle("uid-of-c", &new.public_url);
        addresses.take(at(URL), &object("d"), 9, there).unwrap();
        assert_eq!(addresses.of("uid-of-c"), Some(new));
    }

    #[test]
    fn what_could_not_be_applied_leaves_what_was_there_before() {
        let addresses = Addresses::default();
        addresses
            .take(accepted(URL, "old"), &object("a"), 9, there)
            .unwrap();
        addresses.settle("uid-of-a", URL);
        for next in [accepted(URL, "new"), at("https://new.contoso.example")] {
            addresses.take(next.clone(), &object("a"), 9, there).unwrap();
            assert_eq!(addresses.unsettled("uid-of-a"), [next]);
            assert_eq!(addresses.take(at(URL), &object("b"), 9, there), Err(object("a")));
            addresses.restore("uid-of-a");
            assert_eq!(addresses.of("uid-of-a"), Some(accepted(URL, "old")));
        }
        assert!(addresses.unsettled("uid-of-a").is_empty());
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
            addresses.settle("uid-of-a", URL);
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
