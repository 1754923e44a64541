//! The operator is killed after each of its writes. The process that starts next ends in the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::core::DeserializeGuard;
use rstest::rstest;
use serde_json::Value;
use tokio::sync::Notify;

use super::cluster::{Cluster, failure};
use super::passes::{NAME, pod};
use super::*;
use crate::controller::children::{ChildKind as _, ExistingChildren, watched_children};
use crate::controller::dereference::pod_reports::PodReports;
use crate::testing::{document, merge, quickstart_with, redis};

const OBJECT: &str = "/apis/behalf.dev/v1alpha1/namespaces/mcp/mcpservers/azure-devops";
const KEYRING: &str = "/api/v1/namespaces/mcp/secrets/azure-devops-keyring";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/mcp/deployments/azure-devops";

/// After which write a process is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Killed {
    Never,

    /// It got the answer to this write, and its next request gets none.
    AfterTheAnswerTo(usize),

    /// The API server carried out this write, and the answer got lost.
    BeforeTheAnswerTo(usize),
}

/// The objects that the API server stores.
#[derive(Debug, Clone, Default)]
struct Stored {
    /// The objects, by their paths.
    objects: BTreeMap<String, Value>,

    /// The version of the last write.
    version: u32,

    /// Every key that was ever in the keyring.
    keys: BTreeSet<String>,
}

impl Stored {
    /// Answers a request and carries it out.
    fn answer(&mut self, method: &http::Method, path: &str, body: Value) -> (u16, Value) {
        let status = path.strip_suffix("/status");
        let path = match *method {
            http::Method::POST => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap()),
            _ => status.unwrap_or(path).to_owned(),
        };
        let live = self.objects.get(&path);
        match *method {
            http::Method::GET if path == "/.well-known/openid-configuration" => {
                return (200, json!({"issuer": "https://issuer.contoso.example"}));
            }
            http::Method::GET => {
                return live.map_or_else(not_found, |live| (200, live.clone()));
            }
            http::Method::POST if live.is_some() => return (409, failure(409, "AlreadyExists", &path)),
            http::Method::POST => {}
            _ if live.is_none() => return not_found(),
            http::Method::DELETE => return (200, self.objects.remove(&path).unwrap()),
            _ => {}
        }
        let mut next = live
            .cloned()
            .unwrap_or_else(|| json!({"metadata": {"uid": path, "generation": 1}}));
        let version = &body["metadata"]["resourceVersion"];
        if live.is_some() && !version.is_null() && *version != next["metadata"]["resourceVersion"] {
            return (409, failure(409, "Conflict", &path));
        }
        if status.is_some() {
            next["status"] = body["status"].clone();
        } else {
            let kept = ["uid", "generation"].map(|field| (field, next["metadata"][field].clone()));
            next = body;
            for (field, value) in kept {
                next["metadata"][field] = value;
            }
        }
        self.version += 1;
        next["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, next.clone());
        self.keys.extend(self.keyring().into_values());
        (200, next)
    }

    fn server(&self) -> McpServer {
        serde_json::from_value(self.objects[OBJECT].clone()).unwrap()
    }

    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let object = self.objects.get_mut(OBJECT).unwrap();
        change(object);
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    /// The keys of the keyring by their ids.
    fn keyring(&self) -> BTreeMap<String, String> {
        let Some(secret) = self.objects.get(KEYRING) else {
            return BTreeMap::new();
        };
        let secret: Secret = serde_json::from_value(secret.clone()).unwrap();
        let file = &secret.data.unwrap()[names::KEYRING_KEY].0;
        let keyring: Value = serde_json::from_slice(file).unwrap();
        ["sessions", "clients"]
            .into_iter()
            .flat_map(|set| keyring[set]["keys"].as_array().unwrap())
            .map(|key| {
                (
                    key["id"].as_str().unwrap().to_owned(),
                    key["material"].to_string(),
                )
            })
            .collect()
    }

    /// The objects without events, versions, and what is random in the keys.
    fn state(&self) -> String {
        let mut objects = self.objects.clone();
        objects.retain(|path, _| !path.contains("/events/"));
        for object in objects.values_mut() {
            object["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("resourceVersion");
        }
        if let Some(keyring) = objects.get_mut(KEYRING) {
            keyring["data"] = Value::Null;
        }
        let mut state = serde_json::to_string_pretty(&objects).unwrap();
        for id in self.keyring().keys() {
            state = state.replace(id.as_str(), &format!("a key of set {}", &id[..1]));
        }
        state
    }
}

fn not_found() -> (u16, Value) {
    (404, failure(404, "NotFound", "not found"))
}

macro_rules! cached {
    ($($name:ident: $kind:ty,)*) => {
        fn cached(objects: &BTreeMap<String, Value>) -> ExistingChildren {
            ExistingChildren { $($name: {
                let of_kind = objects.values().filter(|object| object["kind"] == <$kind>::KIND);
                of_kind.map(|object| Arc::new(serde_json::from_value(object.clone()).unwrap())).collect()
            },)* }
        }
    };
}
watched_children!(cached);

#[derive(Clone)]
struct ApiServer(Arc<Mutex<Stored>>);

impl ApiServer {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    /// Answers a process until it is killed, and then no more. Returns the number of its writes.
    async fn serve(
        self,
        mut handle: mock::Handle<Request<Body>, Response<Body>>,
        killed: Killed,
        kill: Arc<Notify>,
    ) -> usize {
        let (mut writes, mut unanswered) = (0, Vec::new());
        while let Some((request, send)) = pin!(&mut handle).next_request().await {
            if killed == Killed::AfterTheAnswerTo(writes) {
                kill.notify_one();
                unanswered.push(send);
                continue;
            }
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let body = request.into_body().collect_bytes().await.unwrap();
            let body = serde_json::from_slice(&body).unwrap_or_default();
            let (code, answer) = self.stored().answer(&method, &path, body);
            writes += usize::from(method != http::Method::GET);
            if method != http::Method::GET && killed == Killed::BeforeTheAnswerTo(writes) {
                kill.notify_one();
                unanswered.push(send);
                continue;
            }
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            send.send_response(Response::builder().status(code).body(answer).unwrap());
        }
        writes
    }

    /// Starts a process with full caches, and lets it reconcile the object once. Returns the number of writes, and the result
    /// unless the process was killed before.
    async fn reconcile(&self, pods: bool, killed: Killed) -> (usize, Option<Result<Action, ReconcileError>>) {
        let (service, handle) = mock::pair();
        let kill = Arc::new(Notify::new());
        let serving = tokio::spawn(self.clone().serve(handle, killed, kill.clone()));
        let stored = self.stored().clone();
        let server = stored.server();
        let mut cluster = Cluster {
            children: cached(&stored.objects),
            ..Cluster::of(std::slice::from_ref(&server))
        };
        if pods {
            let deployment = &cluster.children.deployments[0];
            let template = deployment.spec.as_ref().map(|spec| &spec.template);
            cluster.pods = vec![Pod {
                spec: template.and_then(|template| template.spec.clone()),
                ..pod()
            }];
            let mut document = document("sha256:0");
            let current = server.status.clone().unwrap().keys.unwrap().current;
            document.keyring.opening = vec![current.clone()];
            document.keyring.sealing = current;
            cluster.reports = Arc::new(PodReports::holding("a-pod", document));
        }
        let context = Arc::new(cluster.context(Client::new(service, "default")));
        let guard = Arc::new(DeserializeGuard(Ok(server)));
        let result = tokio::select! {
            biased;
            () = kill.notified() => None,
            result = reconcile(guard, context.clone()) => Some(result),
        };
        drop((context, cluster));
        (serving.await.unwrap(), result)
    }

    /// Starts processes until one writes nothing. Each of them may find that its caches are old.
    async fn settle(&self, pods: bool) {
        for _ in 0..6 {
            let (writes, result) = self.reconcile(pods, Killed::Never).await;
            if writes == 0 {
                result.unwrap().unwrap();
                return;
            }
        }
        panic!("the operator goes on writing");
    }
}

fn with_every_child() -> McpServer {
    let mut fields = redis(json!({}));
    fields["route"] = json!({"gateway": {"parentRefs": [{"name": "public"}]}});
    quickstart_with(fields)
}

/// An API server that has this object and nothing else.
fn containing(server: &McpServer) -> Stored {
    let mut stored = Stored {
        version: 100,
        ..Stored::default()
    };
    stored.objects.insert(OBJECT.to_owned(), json!(server));
    stored
}

/// One edit that needs other children: every optional one goes, and the configuration is another one.
fn edit(stored: &mut Stored) {
    stored.edit(|object| {
        let patch = json!({
            "sessions": {
                "store": {"type": "Memory", "redis": null},
                "revocations": {"before": "2026-01-01T00:00:00Z"},
            },
            "route": null,
            "network": {"policy": "Open"},
            "server": {"azureDevOps": {"readOnly": true}},
        });
        merge(&mut object["spec"], patch);
        object["metadata"]["generation"] = json!(2);
    });
}

fn request_a_rotation(stored: &mut Stored) {
    stored.edit(|object| object["metadata"]["annotations"] = json!({names::ROTATE_KEYS_ANNOTATION: "now"}));
}

#[rstest]
#[case::a_new_object(None, false, 2, 9)]
#[case::an_edit(Some(edit as fn(&mut Stored)), false, 2, 8)]
#[case::a_rotation_of_the_keys(Some(request_a_rotation as fn(&mut Stored)), true, 4, 2)]
#[tokio::test(start_paused = true)]
async fn an_operator_that_was_killed_after_any_of_its_writes_ends_in_the_same_state(
    #[case] change: Option<fn(&mut Stored)>,
    #[case] pods: bool,
    #[case] keys: usize,
    #[case] at_least: usize,
) {
    let mut begin = containing(&with_every_child());
    if let Some(change) = change {
        let before = ApiServer(Arc::new(Mutex::new(begin)));
        before.settle(false).await;
        if pods {
            before.settle(pods).await;
        }
        begin = before.stored().clone();
        change(&mut begin);
    }
    let undisturbed = ApiServer(Arc::new(Mutex::new(begin.clone())));
    let (writes, result) = undisturbed.reconcile(pods, Killed::Never).await;
    result.unwrap().unwrap();
    undisturbed.settle(pods).await;
    let expected = undisturbed.stored().clone();
    assert!(
        writes >= at_least,
        "{writes} writes: {:#?}",
        expected.objects.keys()
    );
    assert_eq!(expected.keys.len(), keys);
    assert!(expected.objects.contains_key(DEPLOYMENT) && expected.server().name_any() == NAME);

    for write in 1..=writes {
        for killed in [Killed::AfterTheAnswerTo(write), Killed::BeforeTheAnswerTo(write)] {
            let api_server = ApiServer(Arc::new(Mutex::new(begin.clone())));
            let (written, result) = api_server.reconcile(pods, killed).await;
            assert_eq!(written, write, "{killed:?}");
            // After its last write a process may end before it asks again.
            assert!(
                result.is_none() || killed == Killed::AfterTheAnswerTo(writes),
                "{killed:?}"
            );
            api_server.settle(pods).await;
            let stored = api_server.stored();
            assert_eq!(stored.state(), expected.state(), "{killed:?}");
            assert_eq!(stored.keys.len(), keys, "sessions of a lost key end: {killed:?}");
            let replaced = stored
                .objects
                .values()
                .any(|object| object["reason"] == "KeyringReplaced");
            assert!(!replaced, "{killed:?}");
        }
    }
}
