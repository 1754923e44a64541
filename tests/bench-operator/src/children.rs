//! The children of the objects: counted, read, and created again by a client that does nothing else.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::Instant;

use crate::error::{BenchError, Step as _};
use crate::objects::{CONCURRENCY, NAMESPACE, Reference, object, reference};

/// The kinds of children, with the number that this many objects have. Workload last, as the operator creates them.
fn kinds(objects: usize) -> [(ApiResource, usize); 6] {
    let own_accounts = (0..objects).filter(|number| reference(*number) != Some(Reference::ServiceAccount));
    [
        (ApiResource::erase::<ServiceAccount>(&()), own_accounts.count()),
        // The keyring and the revocations.
        (ApiResource::erase::<Secret>(&()), 2 * objects),
        (ApiResource::erase::<ConfigMap>(&()), objects),
        (ApiResource::erase::<NetworkPolicy>(&()), objects),
        (ApiResource::erase::<Service>(&()), objects),
        (ApiResource::erase::<Deployment>(&()), objects),
    ]
}

/// The number of children of this many objects.
pub(crate) fn of(objects: usize) -> usize {
    kinds(objects).iter().map(|(_, count)| count).sum()
}

/// The children of all objects, grouped by object, in the order in which they are created.
pub(crate) struct Children(Vec<Vec<(ApiResource, DynamicObject)>>);

impl Children {
    /// Reads the children of this many objects. Fails if one is missing.
    pub(crate) async fn read(client: &Client, objects: usize) -> Result<Self, BenchError> {
        let mut of_object = std::collections::BTreeMap::<_, Vec<_>>::new();
        for (kind, count) in kinds(objects) {
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &kind);
            let ours = ListParams::default().labels(behalf_operator::controller::names::MANAGED_SELECTOR);
            let children = api.list(&ours).await.step("read the children")?.items;
            if children.len() != count {
                return Err(BenchError::new(format!(
                    "there are {} objects of kind {}, not {count}",
                    children.len(),
                    kind.kind,
                )));
            }
            for child in children {
                let server = child
                    .labels()
                    .get(behalf_operator::controller::names::SERVER_LABEL);
                let server = server.cloned().unwrap_or_default();
                of_object
                    .entry(server)
                    .or_default()
                    .push((kind.clone(), fresh(child)));
            }
        }
        Ok(Self(of_object.into_values().collect()))
    }

    /// Creates the objects and their children, and returns how long that takes.
    pub(crate) async fn create(&self, client: &Client) -> Result<Duration, BenchError> {
        let start = Instant::now();
        stream::iter(self.0.iter().enumerate())
            .map(|(number, children)| async move {
                let servers = Api::namespaced(client.clone(), NAMESPACE);
                let created = servers.create(&PostParams::default(), &object(number)?).await;
                created.step("create an object")?;
                for (kind, child) in children {
                    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, kind);
                    let created = api.create(&PostParams::default(), child).await;
                    created.step(format_args!("create a {}", kind.kind))?;
                }
                Ok(())
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<()>()
            .await?;
        Ok(start.elapsed())
    }
}

/// Returns a child as its author wrote it, without what the API server added.
fn fresh(mut child: DynamicObject) -> DynamicObject {
    let metadata = &mut child.metadata;
    metadata.uid = None;
    metadata.resource_version = None;
    metadata.creation_timestamp = None;
    metadata.generation = None;
    metadata.managed_fields = None;
    if let Some(data) = child.data.as_object_mut() {
        data.remove("status");
        if let Some(spec) = data.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
        }
    }
    child
}
