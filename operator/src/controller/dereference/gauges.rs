//! The values of the metrics that are read from the caches when the metrics are requested.

use std::collections::HashMap;
use std::sync::Arc;

use behalf_contract::Reason;

use super::Sources;
use crate::api::v1alpha1::Guarded;
use crate::api::v1alpha1::conditions::{ConditionType, Status};
use crate::telemetry::metrics::Gauges;

impl Sources {
    /// Returns the values of the metrics that are read when the metrics are requested.
    pub fn gauges(&self) -> Gauges {
        let servers = self.stores.servers.state();
        Gauges {
            mcp_servers: servers.len(),
            conditions: conditions(&servers),
            key_rotations_waiting: key_rotations_waiting(&servers),
            pods_unreachable: self.reports.counts().0,
            most_pods_unreachable: self.reports.most_unreachable(),
            ..Gauges::default()
        }
    }
}

/// Counts the objects by the status and the reason of each of their conditions. An object that cannot be decoded has none. A
/// suspended object does not count for `Ready`: somebody wants it not to be, and nobody should be called.
fn conditions(servers: &[Arc<Guarded>]) -> HashMap<(ConditionType, Status, Reason), usize> {
    let readable = servers.iter().filter_map(|server| server.0.as_ref().ok());
    let each = readable.flat_map(|server| {
        let conditions = server.status.iter().flat_map(|status| &status.conditions);
        conditions.map(|condition| (server.spec.suspend, condition))
    });
    let mut counts = HashMap::new();
    for (is_suspended, condition) in each {
        let kind = ConditionType::parse(&condition.type_)
            .filter(|kind| !(is_suspended && *kind == ConditionType::Ready));
        // An earlier release may have written a reason that this one does not know. Any text as a label would be unbounded.
        let reason = Reason::parse(&condition.reason).unwrap_or(Reason::Unknown);
        if let Some((kind, status)) = kind.zip(Status::parse(&condition.status)) {
            *counts.entry((kind, status, reason)).or_default() += 1;
        }
    }
    counts
}

/// Counts the objects whose next key waits until every Pod reports it. Another program rotates the keys of a given Secret: with
/// such a Secret the status has no time of the current key.
fn key_rotations_waiting(servers: &[Arc<Guarded>]) -> usize {
    let keys = servers
        .iter()
        .filter_map(|server| server.0.as_ref().ok()?.status.as_ref()?.keys.as_ref());
    keys.filter(|keys| keys.next.is_some() && keys.created_at.is_some())
        .count()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use kube::core::DeserializeGuard;
    use tower_test::mock;

    use super::*;
    use crate::api::v1alpha1::KeysStatus;
    use crate::controller::children::ExistingChildren;
    use crate::controller::dereference::pod_reports;
    use crate::controller::watches::Stores;

    #[tokio::test]
    async fn the_gauges_count_the_cached_objects_and_the_unreachable_pods() {
        let server = |uid: &str| {
            let mut server = crate::testing::server(crate::testing::QUICKSTART);
            server.metadata.name = Some(uid.to_owned());
            server.metadata.uid = Some(uid.to_owned());
            // The operator rotates the keys of one object, and another program those of the others.
            let created_at = (uid == "a").then(|| crate::testing::time(0));
            server.status.get_or_insert_default().keys = Some(KeysStatus {
                next: Some("s00000002".to_owned()),
                created_at,
                ..KeysStatus::default()
            });
            // A third one is suspended, and not Ready.
            server.spec.suspend = uid == "c";
            if uid != "a" {
                // This release has no reason R.
                for (kind, reason) in [("Ready", "R"), ("Accepted", "InvalidSpec")] {
                    let condition = serde_json::json!({
                        "type": kind, "status": "False", "reason": reason, "message": "",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    });
                    let conditions = &mut server.status.get_or_insert_default().conditions;
                    conditions.push(serde_json::from_value(condition).unwrap());
                }
            }
            DeserializeGuard(Ok(server))
        };
        let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
        let sources = Sources {
            client: Client::new(service, "default"),
            stores: Stores::containing(
                &[server("a"), server("b"), server("c")],
                ExistingChildren::default(),
                Vec::new(),
            ),
            reports: Arc::default(),
            issuer: Arc::default(),
            references: Arc::default(),
            recent_secrets: Arc::default(),
        };
        let gauges = |unreachable, most| Gauges {
            mcp_servers: 3,
            conditions: [
                ((ConditionType::Ready, Status::False, Reason::Unknown), 1),
                ((ConditionType::Accepted, Status::False, Reason::InvalidSpec), 2),
            ]
            .into(),
            key_rotations_waiting: 1,
            pods_unreachable: unreachable,
            most_pods_unreachable: most,
            ..Gauges::default()
        };
        for pod in ["a", "b", "c", "d", "e"] {
            let document = crate::testing::document("sha256:0");
            sources.reports.store(pod, true, Ok(document));
        }
        assert_eq!(sources.gauges(), gauges(0, false));
        for (pod, expected) in [
            ("a", gauges(1, false)),
            ("b", gauges(2, false)),
            ("c", gauges(3, true)),
        ] {
            for _ in 0..crate::controller::pods::UNREACHABLE_AFTER {
                let unreachable = pod_reports::DocumentError::Unreachable;
                sources.reports.store(pod, true, Err(unreachable));
            }
            assert_eq!(sources.gauges(), expected);
        }
    }
}
