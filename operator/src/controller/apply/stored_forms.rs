//! Remembers the stored form of children that the API server stores differently than they were applied.
//!
//! A webhook may append to a list, or the API server may write a quantity in another way. Such a child never equals
//! what is applied. It is applied once; as long as it stays as the API server returned it then, applying it
//! again would change nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Digests of stored forms, by the UID of the `McpServer` and the child's kind.
#[derive(Debug, Default)]
pub struct StoredForms(Mutex<HashMap<(String, &'static str), [u8; 32]>>);

impl StoredForms {
    /// Remembers the digest of the child that the API server returned.
    pub(super) fn remember<K: Serialize>(
        &self,
        owner: &str,
        kind: &'static str,
        returned: &K,
    ) -> Result<(), serde_json::Error> {
        let digest = digest(returned)?;
        self.lock().insert((owner.to_owned(), kind), digest);
        Ok(())
    }

    /// Returns whether `live` equals the form that the API server returned last. The child carries a digest
    /// of the applied spec, so a different spec gives a different form.
    pub(super) fn is_known<K: Serialize>(
        &self,
        owner: &str,
        kind: &'static str,
        live: &K,
    ) -> Result<bool, serde_json::Error> {
        let known = self.lock().get(&(owner.to_owned(), kind)).copied();
        match known {
            Some(known) => Ok(known == digest(live)?),
            None => Ok(false),
        }
    }

    /// Removes the entries of objects that no longer exist.
    pub fn keep_only(&self, exists: impl Fn(&str) -> bool) {
        self.lock().retain(|(owner, _), _| exists(owner));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, &'static str), [u8; 32]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Computes the digest of a child without the fields that change without an edit of the child.
fn digest<K: Serialize>(child: &K) -> Result<[u8; 32], serde_json::Error> {
    let mut value = serde_json::to_value(child)?;
    if let Value::Object(object) = &mut value {
        object.remove("status");
    }
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        for volatile in ["managedFields", "resourceVersion", "generation"] {
            metadata.remove(volatile);
        }
    }
    Ok(Sha256::digest(serde_json::to_vec(&value)?).into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_form_is_known_until_somebody_edits_it() {
        let forms = StoredForms::default();
        let returned =
            json!({"metadata": {"resourceVersion": "1"}, "spec": {"list": ["ours", "a webhook's"]}});
        assert!(!forms.is_known("a", "Service", &returned).unwrap());
        forms.remember("a", "Service", &returned).unwrap();
        let mut later = returned.clone();
        later["metadata"]["resourceVersion"] = json!("2");
        later["status"] = json!({"replicas": 1});
        assert!(forms.is_known("a", "Service", &later).unwrap());
        assert!(!forms.is_known("b", "Service", &later).unwrap());
        assert!(!forms.is_known("a", "Deployment", &later).unwrap());
        later["spec"]["list"] = json!(["ours", "a webhook's", "somebody's"]);
        assert!(!forms.is_known("a", "Service", &later).unwrap());
        forms.keep_only(|owner| owner != "a");
        assert!(!forms.is_known("a", "Service", &returned).unwrap());
    }
}
