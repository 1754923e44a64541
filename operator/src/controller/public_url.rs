//! Decides which `McpServer` owns a `publicUrl`.
//!
//! Of the live objects whose spec names an address, the one with the oldest `creationTimestamp` owns it; among
//! objects of the same second, the one with the smallest UID. Both values come from the API server and never
//! change, so that every operator replica finds the same owner at any time (`docs/adr/0016-oldest-object-owns-a-public-url.md`).

use std::sync::Arc;

use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource as _, ResourceExt as _};

use crate::api::v1alpha1::Guarded;
use crate::api::v1alpha1::McpServer;

/// A live object whose spec names an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The object's namespace.
    pub namespace: String,

    /// The object's name.
    pub name: String,

    /// Decides between objects that were created in the same second.
    pub uid: String,

    /// When the API server created the object.
    pub created_at: Option<Timestamp>,
}

impl Claim {
    fn of(server: &McpServer) -> Self {
        Self {
            namespace: server.namespace().unwrap_or_default(),
            name: server.name_any(),
            uid: server.uid().unwrap_or_default(),
            created_at: server.creation_timestamp().map(|time| time.0),
        }
    }

    /// Returns the key by which claims are ordered. The owner's key is the smallest. The API server always sets a creation time; an object without one
    /// owns no address that another object names.
    fn key(&self) -> (bool, Option<Timestamp>, &str) {
        (self.created_at.is_none(), self.created_at, &self.uid)
    }
}

/// Returns the claims of all other objects to the address that `server` names.
pub fn other_claims(server: &McpServer, servers: &[Arc<Guarded>]) -> Vec<Claim> {
    servers
        .iter()
        .filter(|other| other.meta().uid != server.metadata.uid)
        .filter(|other| claimed(other) == Some(server.spec.public_url.as_str()))
        .filter_map(|other| other.0.as_ref().ok())
        .map(Claim::of)
        .collect()
}

/// Returns the owner of the address that `server` names, unless it is `server` itself.
pub fn other_owner<'a>(
    server: &McpServer,
    other_claims: impl IntoIterator<Item = &'a Claim>,
) -> Option<&'a Claim> {
    let own = Claim::of(server);
    other_claims
        .into_iter()
        .min_by(|left, right| left.key().cmp(&right.key()))
        .filter(|oldest| oldest.key() < own.key())
}

/// Returns the objects to reconcile after this event of another object: those that name the address that the other object
/// named before or names now, if the event changes it. `servers` is the state before the event.
pub fn affected(event: &watcher::Event<Guarded>, servers: &Store<Guarded>) -> Vec<ObjectRef<Guarded>> {
    let (object, after) = match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, claimed(object)),
        watcher::Event::Delete(object) => (object, None),
        watcher::Event::Init | watcher::Event::InitDone => return Vec::new(),
    };
    let known = servers.get(&ObjectRef::from_obj(object));
    let before = match event {
        // A cache that is not filled yet does not contain the deleted object, so its last state comes from
        // the event.
        watcher::Event::Delete(_) => known.as_deref().map_or_else(|| claimed(object), claimed),
        _ => known.as_deref().and_then(claimed),
    };
    if before == after {
        return Vec::new();
    }
    let changed = [before, after];
    servers
        .state_filter(|other| {
            other.meta().uid != object.meta().uid
                && claimed(other).is_some_and(|url| changed.contains(&Some(url)))
        })
        .iter()
        .map(|other| ObjectRef::from_obj(other.as_ref()))
        .collect()
}

/// Returns the address that a live object's spec names. A suspended object is live; one that is being deleted is not.
/// An object that this version of the operator cannot read names none.
fn claimed(object: &Guarded) -> Option<&str> {
    let server = object.0.as_ref().ok()?;
    let is_live = server.metadata.deletion_timestamp.is_none();
    is_live.then_some(server.spec.public_url.as_str())
}

#[cfg(test)]
mod tests;
