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
}

impl Addresses {
    /// Gives an address to an object, and takes its earlier one back; or names the object that has it.
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
        given.retain(|_, holder| holder.object.uid != object.uid);
        let holder = Holder {
            object: object.clone(),
            accepted,
        };
        given.insert(public_url, holder);
        if given.len() > objects {
            given.retain(|url, Holder { object: holder, .. }| {
                holder.uid == object.uid || keeps(&holder.uid, url)
            });
        }
        Ok(())
    }

    /// Lets others have an object's address.
    pub(super) fn give_back(&self, uid: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|_, holder| holder.object.uid != uid);
    }

    /// What the object `uid` was accepted with, which has its address.
    pub(super) fn of(&self, uid: &str) -> Option<Accepted> {
        let given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders = given.values();
        holders.find_map(|holder| (holder.object.uid == uid).then(|| holder.accepted.clone()))
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
        addresses.give_back("uid-of-a");
        assert_eq!(addresses.of("uid-of-a"), None);
        addresses.take(at(URL), &object("b"), 9, there).unwrap();
        addresses.take(at(URL), &object("c"), 9, gone).unwrap();
        addresses
            .take(at("https://new.contoso.example"), &object("c"), 9, there)
            .unwrap();
        addresses.take(at(URL), &object("d"), 9, there).unwrap();
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
