//! The objects of the bench, as the API server shows them.

use std::time::Duration;

use behalf_operator::api::v1alpha1::McpServer;
use behalf_operator::api::v1alpha1::conditions::{ConditionType, Status, is};
use behalf_operator::controller::names;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{BenchError, Step as _};

/// The namespace of the objects.
pub(crate) const NAMESPACE: &str = "bench";

/// The namespace of the operator.
pub(crate) const OPERATOR_NAMESPACE: &str = "behalf-system";

/// The `ConfigMap` and the `ServiceAccount` that objects refer to.
const CERTIFICATE_AUTHORITY: &str = "corporate-ca";
const SERVICE_ACCOUNT: &str = "given";

/// Number of requests of the bench that run at the same time, as many as the operator makes.
pub(crate) const CONCURRENCY: usize = 16;

/// Time between two looks at a cache.
const POLL: Duration = Duration::from_millis(10);

/// Maximum duration of any wait of the bench.
const WAIT_LIMIT: Duration = Duration::from_mins(5);

/// The objects and their Deployments, as watches show them.
pub(crate) struct Objects {
    api: Api<McpServer>,
    servers: Store<McpServer>,
    deployments: Store<Deployment>,
    watches: [JoinHandle<()>; 2],
}

impl Drop for Objects {
    fn drop(&mut self) {
        for watch in &self.watches {
            watch.abort();
        }
    }
}

/// The objects that an `McpServer` refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A `ConfigMap` with a certificate authority.
    CertificateAuthority,

    /// A `ServiceAccount` that is not the object's own.
    ServiceAccount,
}

/// Returns what an object refers to: a fifth of the objects to each of the two, the others to nothing.
pub(crate) fn reference(number: usize) -> Option<Reference> {
    match number % 5 {
        1 => Some(Reference::CertificateAuthority),
        2 => Some(Reference::ServiceAccount),
        _ => None,
    }
}

/// Creates what this many objects refer to.
pub(crate) async fn create_references(client: &Client, objects: usize) -> Result<(), BenchError> {
    let config_map = json!({
        "metadata": {"name": CERTIFICATE_AUTHORITY},
        "data": {"ca.crt": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"},
    });
    let config_map: ConfigMap = serde_json::from_value(config_map).step("build a ConfigMap")?;
    let users = (0..objects).filter(|number| reference(*number) == Some(Reference::ServiceAccount));
    let users: Vec<String> = users.map(name).collect();
    let account = json!({"metadata": {
        "name": SERVICE_ACCOUNT,
        "annotations": {(names::SHARED_WITH_ANNOTATION): users.join(",")},
    }});
    let account: ServiceAccount = serde_json::from_value(account).step("build a ServiceAccount")?;
    let created = Api::namespaced(client.clone(), NAMESPACE)
        .create(&PostParams::default(), &config_map)
        .await;
    created.step("create a ConfigMap")?;
    let created = Api::namespaced(client.clone(), NAMESPACE)
        .create(&PostParams::default(), &account)
        .await;
    created.map(drop).step("create a ServiceAccount")
}

/// Returns an object with the five fields that every object needs, and its reference.
pub(crate) fn object(number: usize) -> Result<McpServer, BenchError> {
    let name = name(number);
    let mut object = json!({
        "apiVersion": "behalf.dev/v1alpha1",
        "kind": "McpServer",
        "metadata": {"name": name},
        "spec": {
            "publicUrl": format!("https://{name}.contoso.example"),
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
            },
            "server": {"azureDevOps": {"organization": "contoso"}},
        },
    });
    let entra = &mut object["spec"]["entra"];
    match reference(number) {
        Some(Reference::CertificateAuthority) => {
            entra["certificateAuthorityRef"] = json!({"name": CERTIFICATE_AUTHORITY, "key": "ca.crt"});
        }
        Some(Reference::ServiceAccount) => {
            entra["federation"] = json!({"serviceAccountName": SERVICE_ACCOUNT});
        }
        None => {}
    }
    serde_json::from_value(object).step("build an object")
}

/// The name of an object.
pub(crate) fn name(number: usize) -> String {
    format!("server-{number:03}")
}

impl Objects {
    /// Begins to watch.
    pub(crate) async fn watch(client: &Client) -> Result<Self, BenchError> {
        let (servers, of_servers) = cache::<McpServer>(client);
        let (deployments, of_deployments) = cache::<Deployment>(client);
        servers.wait_until_ready().await.step("watch the objects")?;
        deployments
            .wait_until_ready()
            .await
            .step("watch the Deployments")?;
        Ok(Self {
            api: Api::namespaced(client.clone(), NAMESPACE),
            servers,
            deployments,
            watches: [of_servers, of_deployments],
        })
    }

    /// Creates the objects.
    pub(crate) async fn create(&self, count: usize) -> Result<(), BenchError> {
        stream::iter(0..count)
            .map(|number| async move {
                let created = self.api.create(&PostParams::default(), &object(number)?).await;
                created.map(drop).step("create an object")
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Waits until the status of this many objects is current, with everything verified.
    pub(crate) async fn all_ready(&self, count: usize) -> Result<(), BenchError> {
        let is_ready = |server: &McpServer| {
            let status = server.status.as_ref();
            status.is_some_and(|status| {
                Some(status.observed_generation) == server.metadata.generation
                    && is(&status.conditions, ConditionType::Ready, Status::True)
                    && is(
                        &status.conditions,
                        ConditionType::RevocationsInForce,
                        Status::True,
                    )
            })
        };
        let ready = || {
            let ready = self
                .servers
                .state()
                .iter()
                .filter(|server| is_ready(server))
                .count();
            (ready >= count)
                .then_some(())
                .ok_or_else(|| format!("{ready} of {count} objects are ready"))
        };
        until(ready).await
    }

    /// Changes an object, and returns the time until the change has reached the template of its Deployment.
    pub(crate) async fn change(&self, number: usize) -> Result<Duration, BenchError> {
        let name = name(number);
        let before = self.template(&name);
        let start = Instant::now();
        let server = self.servers.get(&ObjectRef::new(&name).within(NAMESPACE));
        let azure_dev_ops = server
            .as_ref()
            .and_then(|server| server.spec.server.azure_dev_ops.as_ref());
        let read_only = azure_dev_ops.is_some_and(|settings| settings.read_only);
        let patch = json!({"spec": {"server": {"azureDevOps": {"readOnly": !read_only}}}});
        self.api
            .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .step("change an object")?;
        until(|| {
            let changed = self.template(&name) != before;
            changed
                .then_some(())
                .ok_or_else(|| format!("the change of {name} has not reached its Deployment"))
        })
        .await?;
        Ok(start.elapsed())
    }

    fn template(&self, name: &str) -> Option<String> {
        let deployment = self.deployments.get(&ObjectRef::new(name).within(NAMESPACE))?;
        deployment.annotations().get(names::TEMPLATE_ANNOTATION).cloned()
    }
}

/// Waits until `check` returns no error.
async fn until(check: impl Fn() -> Result<(), String>) -> Result<(), BenchError> {
    let deadline = Instant::now() + WAIT_LIMIT;
    while let Err(state) = check() {
        if Instant::now() > deadline {
            let minutes = WAIT_LIMIT.as_secs() / 60;
            return Err(BenchError::new(format!("after {minutes} minutes, {state}")));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Fills a cache with the objects of a kind.
fn cache<K>(client: &Client) -> (Store<K>, JoinHandle<()>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let api = Api::<K>::namespaced(client.clone(), NAMESPACE);
    let events = watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .for_each(|_| std::future::ready(()));
    (store, tokio::spawn(events))
}
