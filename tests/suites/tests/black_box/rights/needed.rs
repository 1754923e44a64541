//! Tests that the operator needs each of its rights: removes one right at a time and waits for the error in
//! the log.
//!
//! Each operator is a process on this machine with its own `ServiceAccount` token and its own namespace. Its
//! objects are suspended, so they have every child and no Pod.

use std::path::Path;
use std::time::Duration;

use behalf_demo::environment::Objects;
use behalf_simulators::certificates::CertificateAuthority;
use behalf_tests::limits::restoring;
use behalf_tests::published_crds;
use futures::{StreamExt as _, stream};
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::operator_process::OperatorProcess;
use super::release::Release;
use crate::chart::{of_kind, render};
use crate::ensure;
use crate::world::{TestResult, World};

/// Maximum number of operators that run at once.
const AT_ONCE: usize = 8;

/// Maximum time until an operator reports the missing right.
const LIMIT: Duration = Duration::from_secs(75);

/// Duration of one state of the objects.
const ROUND: Duration = Duration::from_secs(3);

/// One verb of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl Right {
    /// Returns the API server's message for a client that lacks this right.
    fn complaint(&self) -> String {
        format!(
            "cannot {} resource \"{}\" in API group \"{}\"",
            self.verb, self.resource, self.group
        )
    }

    /// Removes this right from a `ClusterRole`.
    fn remove_from(&self, role: &mut Value) {
        let mut rules = Vec::new();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let has = |list: &str, text: &str| {
                rule[list]
                    .as_array()
                    .is_some_and(|entries| entries.contains(&json!(text)))
            };
            if !has("apiGroups", &self.group) || !has("resources", &self.resource) {
                rules.push(rule.clone());
                continue;
            }
            let without = |list: &str, text: &str| -> Vec<Value> {
                let entries = rule[list].as_array().into_iter().flatten();
                entries.filter(|entry| *entry != text).cloned().collect()
            };
            let mut others = rule.clone();
            others["resources"] = without("resources", &self.resource).into();
            let mut rest = rule.clone();
            rest["resources"] = json!([self.resource]);
            rest["verbs"] = without("verbs", &self.verb).into();
            rules.extend([others, rest]);
        }
        // The API server refuses a rule without resources or verbs.
        rules.retain(|rule| rule["resources"] != json!([]) && rule["verbs"] != json!([]));
        role["rules"] = rules.into();
    }
}

/// Returns every right of the rendered `ClusterRole`.
fn all(world: &World) -> TestResult<Vec<Right>> {
    let objects = render(&world.running.cluster, "rights", &[])?;
    let mut found = Vec::new();
    let texts = |value: &Value| -> Vec<String> {
        let entries = value.as_array().into_iter().flatten();
        entries.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for role in ["ClusterRole", "Role"]
        .iter()
        .flat_map(|kind| of_kind(&objects, kind))
    {
        for rule in role["rules"].as_array().into_iter().flatten() {
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    found.extend(texts(&rule["verbs"]).into_iter().map(|verb| Right {
                        group: group.clone(),
                        resource: resource.clone(),
                        verb,
                    }));
                }
            }
        }
    }
    ensure!(found.len() > 20, "the chart renders only {found:?}");
    Ok(found)
}

pub(super) async fn every_right_is_needed(world: &World) -> TestResult {
    let _gateway_api = world.gateway_api.lock().await;
    let folder = tempfile::tempdir()?;
    let crd = published_crds::http_route_crd()?.display().to_string();
    let kubectl = |arguments: &[&str]| world.running.cluster.kubectl(arguments);
    let work = async {
        kubectl(&["apply", "--server-side", "--filename", &crd])?;
        let established = [
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "--filename",
            &crd,
        ];
        kubectl(&established)?;
        each_right_alone(world, folder.path()).await
    };
    let restore = async {
        kubectl(&["delete", "--filename", &crd, "--ignore-not-found", "--wait=true"])?;
        Ok(())
    };
    restoring(work, restore).await
}

async fn each_right_alone(world: &World, folder: &Path) -> TestResult {
    let mut trials = vec![None];
    trials.extend(all(world)?.into_iter().map(Some));
    let outcomes: Vec<_> = stream::iter(trials.into_iter().enumerate())
        .map(|(number, lacks)| async move {
            let outcome = Box::pin(trial(world, number, lacks.as_ref(), folder)).await;
            outcome.map_err(|error| format!("{lacks:?}: {}", behalf_runtime::error_chain(error.as_ref())))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let wrong: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Runs an operator that lacks one right until its log names that right. An operator with all rights must
/// handle every state of its objects twice, under the policy of a cluster-wide installation.
async fn trial(world: &World, number: usize, lacks: Option<&Right>, folder: &Path) -> TestResult {
    let namespace = format!("rights-needed-{number}");
    let _release = Release::apply(world, &namespace, &[], |object| {
        if let (Some(right), "ClusterRole" | "Role") = (lacks, object["kind"].as_str().unwrap_or_default()) {
            right.remove_from(object);
        }
        true
    })
    .await?;
    let shared = format!("allowed.serviceAccounts={{{namespace}/shared}}");
    let _policy = match lacks {
        Some(_) => None,
        None => Some(
            Release::apply(world, &namespace, &["clusterWide=true", &shared], |object| {
                object["kind"]
                    .as_str()
                    .is_some_and(|kind| kind.starts_with("Validating"))
            })
            .await?,
        ),
    };
    // The operator's namespace differs from the objects', because it does not allow shared ServiceAccounts in its own. It has
    // the right to a Lease in its own alone.
    let arguments: &[&str] = if lacks.is_some_and(|right| right.resource == "leases") {
        &[
            "--namespace",
            &namespace,
            "--lease",
            "behalf-operator",
            "--pod-name",
            "one",
        ]
    } else {
        &["--namespace", "rights-elsewhere"]
    };
    let operator = OperatorProcess::start(world, &namespace, folder, "one", arguments)?;
    let objects = TestObjects::apply(&world.running.client, &namespace).await?;
    let limit = Instant::now() + LIMIT;
    let mut round = 0;
    // An operator with all rights shows no failure within a number of rounds, however long these take.
    while lacks.is_none() || Instant::now() < limit {
        objects.change(round).await?;
        round += 1;
        tokio::time::sleep(ROUND).await;
        let text = operator.log()?;
        match lacks {
            Some(right) if text.contains(&right.complaint()) => return Ok(()),
            None => {
                let refused = text
                    .lines()
                    .find(|line| line.contains("cannot ") || line.contains("denied request"));
                ensure!(refused.is_none(), "the operator lacks a right: {refused:?}");
                if round > 2 * STATES {
                    let accepted = objects.is_accepted().await?;
                    ensure!(accepted, "the object is not accepted: {text}");
                    return Ok(());
                }
            }
            Some(_) => {}
        }
    }
    let text = operator.log()?;
    let end = text.lines().rev().take(5).collect::<Vec<_>>().join("\n");
    Err(format!("the operator did not miss it; its log ends (newest first):\n{end}").into())
}

/// Number of states in [`TestObjects::change`].
const STATES: usize = 4;

/// Two `McpServers` and the objects that they reference.
struct TestObjects {
    client: Client,
    namespace: String,
}

impl TestObjects {
    async fn apply(client: &Client, namespace: &str) -> TestResult<Self> {
        let authority = CertificateAuthority::generate("Rights")?;
        let server = |name: &str, account: Option<&str>| {
            json!({
                "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "publicUrl": format!("https://{name}.{namespace}.example"),
                    "suspend": true,
                    "entra": {
                        "tenantId": "11111111-1111-4111-8111-111111111111",
                        "clientId": "22222222-2222-4222-8222-222222222222",
                        "certificateAuthorityRef": {"name": "authority"},
                        "federation": account.map_or(json!({}), |name| json!({"serviceAccountName": name})),
                    },
                    "server": {"azureDevOps": {"organization": "contoso"}},
                },
            })
        };
        let mut objects = Objects::default();
        objects
            .add(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "authority", "namespace": namespace},
                "data": {"ca.crt": authority.certificate_pem()}}))
            .add(server("full", None))
            .add(server("given", Some("shared")));
        objects.apply(client).await?;
        Ok(Self {
            client: client.clone(),
            namespace: namespace.to_owned(),
        })
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    fn servers(&self) -> Api<DynamicObject> {
        self.api("behalf.dev", "v1alpha1", "McpServer")
    }

    /// Brings the objects into the state of a round.
    async fn change(&self, round: usize) -> TestResult {
        let state = round % STATES;
        let shared = |server: &str| {
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
                "name": "shared", "namespace": self.namespace, "annotations": {"behalf.dev/mcp-servers": server},
            }})
        };
        // Without this ServiceAccount the object "given" is refused, and an event reports it.
        if state == 3 {
            let accounts = self.api("", "v1", "ServiceAccount");
            accounts
                .delete("shared", &kube::api::DeleteParams::default())
                .await?;
        } else {
            let mut objects = Objects::default();
            objects.add(shared("full,given")).apply(&self.client).await?;
        }
        // Each round has its own configuration, because the operator deletes those that no ReplicaSet names.
        let grace = json!({"refreshGrace": format!("{}s", 60 + round)});
        // Deletes the ServiceAccount, the NetworkPolicy, the PodDisruptionBudget and the HTTPRoute, and makes them again.
        let leaves_out = state == 1;
        // A rotation has two steps, each of which updates the keyring. Without Pods both are due at once.
        let request = json!({"annotations": {"behalf.dev/rotate-keys": format!("round {round}")}});
        let spec = json!({"metadata": request, "spec": {
            "network": {"policy": if leaves_out { "Open" } else { "Restricted" }},
            "entra": {"federation": {"serviceAccountName": leaves_out.then_some("shared")}},
            "server": {"azureDevOps": {"readOnly": leaves_out}},
            "replicas": if leaves_out { 1 } else { 2 },
            "route": if leaves_out { Value::Null } else { json!({"gateway": {"parentRefs": [{"name": "public"}]}}) },
            "sessions": {"refreshGrace": grace["refreshGrace"], "store": {"type": "Redis", "redis": {
                "endpoints": ["redis://redis.example:6379"], "auth": {"type": "None"},
            }}},
        }});
        patch(&self.servers(), "full", &spec).await?;
        let edit = json!({"spec": {
            "server": {"azureDevOps": {"readOnly": round.is_multiple_of(2)}},
            "sessions": grace,
        }});
        patch(&self.servers(), "given", &edit).await?;
        if state == 2 {
            tokio::time::sleep(ROUND).await;
            self.strip_labels().await?;
        }
        Ok(())
    }

    /// Without its label a child leaves the operator's cache: it is read and written again.
    async fn strip_labels(&self) -> TestResult {
        let stripped = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null}}});
        for (group, version, kind) in [
            ("", "v1", "ServiceAccount"),
            ("", "v1", "Service"),
            ("apps", "v1", "Deployment"),
            ("networking.k8s.io", "v1", "NetworkPolicy"),
            ("policy", "v1", "PodDisruptionBudget"),
            ("gateway.networking.k8s.io", "v1", "HTTPRoute"),
        ] {
            patch(&self.api(group, version, kind), "full", &stripped).await?;
        }
        let api = self.api("", "v1", "ConfigMap");
        let ours = ListParams::default().labels("behalf.dev/mcp-server");
        for config_map in api.list(&ours).await? {
            // The operator may have pruned it since the list.
            patch(&api, &config_map.name_any(), &stripped).await?;
        }
        Ok(())
    }

    /// Returns whether the operator accepts "full" within some seconds.
    async fn is_accepted(&self) -> TestResult<bool> {
        for _ in 0..20 {
            let object = self.servers().get("full").await?;
            let status = &object.data["status"];
            let current = status["observedGeneration"].as_i64() == object.metadata.generation;
            let accepted = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Accepted" && condition["status"] == "True");
            if current && accepted {
                return Ok(true);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Ok(false)
    }
}

/// Merges a patch; an object that the operator could not make is left out.
async fn patch(api: &Api<DynamicObject>, name: &str, patch: &Value) -> TestResult {
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        done => done.map(|_| ()).map_err(Into::into),
    }
}
