//! Waits until the cache has caught up with a written status.

use std::time::Duration;

use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;

use super::context::Context;
use super::watches::wait_until_cached;
use crate::api::v1alpha1::{Guarded, McpServer};

/// Maximum time until a reconcile ends after it wrote a status. A watch needs milliseconds.
const CACHED_WITHIN: Duration = Duration::from_secs(1);

/// Waits until the cache contains the status that was written, for a moment at most. The next reconcile would otherwise compare with
/// the status before, write it again and be refused, and read Secrets whose keys the status names.
pub(super) async fn until_cached(context: &Context, server: &McpServer, written: &str) {
    // The API server numbers its versions, although that is no part of the contract of every release.
    let number = |version: &str| version.parse::<u64>().ok();
    let reference =
        ObjectRef::<Guarded>::new(&server.name_any()).within(&server.namespace().unwrap_or_default());
    let is_cached = || {
        let cached = context.sources.stores.servers.get(&reference);
        let version = cached.and_then(|server| server.resource_version());
        version.is_none_or(|version| number(&version) >= number(written))
    };
    // A watch that is interrupted must not hold up the object.
    let _ = wait_until_cached(CACHED_WITHIN, is_cached).await;
}
