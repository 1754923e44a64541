//! Tests that an object says which right its operator lacks: for each right of the chart, an API server refuses its use alone.

use std::sync::Mutex;

use futures::StreamExt as _;
use kube::core::DeserializeGuard;
use serde_json::Value;

use super::cluster::{Cluster, condition, failure, statuses};
use super::passes::{NAME, held};
use super::*;
use crate::api::v1alpha1::conditions::ConditionType;
use crate::controller::children::ExistingChildren;
use crate::controller::queue::Queue;
use crate::controller::watches::{self, Stores};
use crate::testing::{children, quickstart_with, redis, revocations};

/// A verb of a rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

/// Rights whose lack no status can tell: to see objects at all, to write their status, and to publish events, without which the object
/// works. The log tells these.
const REPORTED_IN_LOG_ONLY: [&str; 3] = ["mcpservers", "mcpservers/status", "events"];

/// The rights of the chart, without those of the log.
fn rights() -> Vec<Right> {
    let chart = include_str!("../../../../charts/behalf/templates/_helpers.tpl");
    let (_, rules) = chart.split_once("{{- define \"behalf.rules\" -}}").unwrap();
    let (rules, _) = rules.split_once("{{- end -}}").unwrap();
    let rules: Vec<Value> = serde_yaml::from_str(rules).unwrap();
    let texts =
        |rule: &Value, list: &str| -> Vec<String> { serde_json::from_value(rule[list].clone()).unwrap() };
    let mut found = Vec::new();
    for rule in &rules {
        let [group] = &texts(rule, "apiGroups")[..] else {
            panic!("{rule}")
        };
        for resource in texts(rule, "resources") {
            if REPORTED_IN_LOG_ONLY.contains(&resource.as_str()) {
                continue;
            }
            found.extend(texts(rule, "verbs").into_iter().map(|verb| Right {
                group: group.clone(),
                resource: resource.clone(),
                verb,
            }));
        }
    }
    assert!(found.len() > 40, "only {found:?}");
    found
}

impl Right {
    /// The API server's words.
    fn complaint(&self) -> String {
        let Self {
            group,
            resource,
            verb,
        } = self;
        format!(
            "User \"system:serviceaccount:behalf-system:behalf\" cannot {verb} resource \"{resource}\" in API group \"{group}\" in \
             the namespace \"mcp\""
        )
    }

    /// The API server's answer to a request without this right.
    fn refusal(&self) -> Value {
        let message = format!("{} is forbidden: {}", self.resource, self.complaint());
        failure(403, "Forbidden", &message)
    }

    /// The path of the kind.
    fn path(&self) -> String {
        let root = match self.group.as_str() {
            "" => "/api/v1".to_owned(),
            group => format!("/apis/{group}/v1"),
        };
        format!("{root}/namespaces/mcp/{}", self.resource)
    }

    /// Method and path of a request that needs this right.
    fn request(&self) -> String {
        let method = match self.verb.as_str() {
            "create" => "POST",
            "get" => "GET",
            "patch" => "PATCH",
            "update" => "PUT",
            "delete" => "DELETE",
            verb => panic!("{verb}"),
        };
        format!("{method} {}/", self.path())
    }

    fn is_of_watches(&self) -> bool {
        ["list", "watch"].contains(&self.verb.as_str())
    }

    /// Whether a condition of this status names the right and the next step.
    fn is_in(&self, status: &Value) -> bool {
        ConditionType::ALL
            .iter()
            .filter_map(|kind| condition(status, kind.as_str()))
            .any(|[_, _, message]| message.contains(&self.complaint()) && message.contains("helm upgrade"))
    }
}

/// An object with every kind of child.
fn with_every_child() -> McpServer {
    let mut spec = redis(json!({}));
    spec["route"] = json!({"gateway": {"parentRefs": [{"name": "public", "namespace": "gateways"}]}});
    quickstart_with(spec)
}

/// A clock that goes on by 20 seconds with each look at it.
fn quick() -> jiff::Timestamp {
    use std::sync::atomic::{AtomicI64, Ordering};
    static SECONDS: AtomicI64 = AtomicI64::new(0);
    time(SECONDS.fetch_add(20, Ordering::Relaxed))
}

/// The children that the API server has and the caches do not contain.
fn by_name(existing: &McpServer) -> Vec<(&'static str, Value)> {
    let children = children(existing);
    let mut stored = Vec::new();
    let mut add = |plural: &str, object: Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        let end: &'static str = Box::leak(format!("/{plural}/{name}").into_boxed_str());
        stored.push((end, object));
    };
    add("serviceaccounts", json!(children.service_account));
    add("configmaps", json!(children.config_map));
    add("networkpolicies", json!(children.network_policy));
    add("poddisruptionbudgets", json!(children.pod_disruption_budget));
    add("httproutes", json!(children.http_route));
    add("services", json!(children.service));
    add("deployments", json!(children.deployment));
    add("secrets", json!(revocations(existing)));
    stored
}

/// The state of the cluster before a pass.
struct State {
    name: &'static str,
    server: McpServer,
    children: ExistingChildren,
    stored: Vec<(&'static str, Value)>,
}

/// The states that together need every right.
fn states() -> Vec<State> {
    let whole = with_every_child();
    // The simulated API server's answer to the delete of a route is none.
    let without_route = || ExistingChildren {
        http_routes: Vec::new(),
        ..held(&whole).existing()
    };
    let route_alone = || ExistingChildren {
        http_routes: held(&whole).existing().http_routes,
        ..ExistingChildren::default()
    };
    let account = json!({"metadata": {"name": "shared", "annotations": {"behalf.dev/mcp-servers": NAME}}});
    let small = json!({
        "entra": {"federation": {"serviceAccountName": "shared"}},
        "network": {"policy": "Open"},
        "server": {"azureDevOps": {"readOnly": true}},
    });
    let mut revoking = redis(json!({}));
    revoking["sessions"]["revocations"] = json!({"before": "2026-01-02T03:04:05Z"});
    vec![
        State {
            name: "new",
            server: whole.clone(),
            children: ExistingChildren::default(),
            stored: Vec::new(),
        },
        State {
            name: "with names that are taken",
            server: whole.clone(),
            children: ExistingChildren::default(),
            stored: by_name(&whole),
        },
        State {
            // These children have no digest of what was applied.
            name: "changed",
            server: whole.clone(),
            children: held(&whole).existing(),
            stored: Vec::new(),
        },
        State {
            name: "with children that it no longer needs",
            server: quickstart_with(small),
            children: without_route(),
            stored: vec![("/serviceaccounts/shared", account)],
        },
        State {
            name: "with a route that it no longer needs",
            server: quickstart_with(json!({})),
            children: route_alone(),
            stored: Vec::new(),
        },
        State {
            name: "with new revocations",
            server: quickstart_with(revoking),
            children: without_route(),
            stored: vec![("/secrets/azure-devops-revocations", json!(revocations(&whole)))],
        },
    ]
}

#[tokio::test]
async fn the_object_says_which_right_to_read_or_write_its_children_is_missing() {
    let mut unreported = Vec::new();
    for right in rights().into_iter().filter(|right| !right.is_of_watches()) {
        let mut reported = Vec::new();
        for State {
            name,
            server,
            children,
            stored,
        } in states()
        {
            let request: &'static str = Box::leak(right.request().into_boxed_str());
            let cluster = Cluster {
                children,
                stored,
                refused: Some((request, right.refusal())),
                clock: Some(quick),
                ..Cluster::of(std::slice::from_ref(&server))
            };
            let (_, asked) = cluster.passes(&[(); 4].map(|()| server.clone())).await;
            if asked.iter().any(|(line, _)| line.contains(request)) {
                let last = statuses(&asked, NAME).last().copied();
                reported.push((name, last.is_some_and(|status| right.is_in(status))));
            }
        }
        if reported.is_empty() || reported.iter().any(|(_, is_told)| !is_told) {
            unreported.push((right.verb, right.resource, reported));
        }
    }
    assert!(unreported.is_empty(), "{unreported:#?}");
}

/// An API server without objects that refuses one list or watch. Adds each status that is written.
async fn without_right(
    mut handle: mock::Handle<Request<Body>, Response<Body>>,
    right: Right,
    written: Arc<Mutex<Vec<Value>>>,
) {
    let mut unanswered = Vec::new();
    while let Some((request, answer)) = pin!(&mut handle).next_request().await {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let body = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let is_watch = query.contains("watch=");
        let is_named = path
            .split_once("/namespaces/mcp/")
            .is_some_and(|(_, rest)| rest.contains('/'));
        let is_refused = path == right.path() && is_watch == (right.verb == "watch");
        let is_read = method == http::Method::GET;
        let (code, content) = if is_read && is_refused {
            (403, right.refusal())
        } else if is_watch {
            unanswered.push(answer);
            continue;
        } else if path == "/apis/gateway.networking.k8s.io/v1" {
            let route = json!({"name": "httproutes", "singularName": "", "namespaced": true, "kind": "HTTPRoute", "verbs": []});
            (
                200,
                json!({"groupVersion": "gateway.networking.k8s.io/v1", "resources": [route]}),
            )
        } else if path == "/.well-known/openid-configuration" {
            (200, json!({"issuer": "https://issuer.contoso.example"}))
        } else if is_read && is_named {
            (404, failure(404, "NotFound", "not found"))
        } else if is_read {
            (200, json!({"metadata": {"resourceVersion": "1"}, "items": []}))
        } else if path.ends_with("/status") {
            written.lock().unwrap().push(body["status"].clone());
            (200, json!(server(QUICKSTART)))
        } else {
            (200, body)
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(content.to_string().into_bytes()));
        answer.send_response(response.unwrap());
    }
}

/// Runs watches with this right refused until objects report it.
async fn refused_watches(client: &Client, right: &Right) -> Stores {
    let scope = watches::scope::Scope::Namespaces(vec!["mcp".to_owned()]);
    let (controller, stores) = watches::start(client, &scope, futures::stream::pending(), &Queue::default());
    tokio::spawn(async move {
        let reconcile = |_, _| std::future::ready(Ok(Action::await_change()));
        let policy = |_: Arc<Guarded>, _: &std::convert::Infallible, _: Arc<()>| Action::await_change();
        let results = controller.run(reconcile, policy, Arc::new(()));
        results.for_each(|_| std::future::ready(())).await;
    });
    let reported = async {
        while stores.refused_watch("mcp").is_none() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let reported = tokio::time::timeout(Duration::from_mins(2), reported).await;
    assert!(reported.is_ok(), "{right:?} is not reported");
    stores
}

#[tokio::test(start_paused = true)]
async fn the_object_says_which_right_to_list_or_watch_is_missing() {
    let rights: Vec<Right> = rights().into_iter().filter(Right::is_of_watches).collect();
    assert!(rights.len() >= 18, "{rights:?}");
    for right in rights {
        let (service, handle) = mock::pair();
        let written = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(without_right(handle, right.clone(), written.clone()));
        let client = Client::new(service, "default");
        let stores = refused_watches(&client, &right).await;
        let server = server(QUICKSTART);
        let cluster = Cluster {
            clock: Some(quick),
            ..Cluster::of(std::slice::from_ref(&server))
        };
        let mut context = cluster.context(client);
        context.sources.stores = stores;
        let (guard, context) = (Arc::new(DeserializeGuard(Ok(server))), Arc::new(context));
        // Without a list the caches stay unfilled, and each pass fails. Without a watch each pass works.
        for _ in 0..4 {
            let result = reconcile(guard.clone(), context.clone()).await;
            assert_eq!(result.is_ok(), right.verb == "watch", "{right:?}: {result:?}");
        }
        let written = written.lock().unwrap();
        let status = written.last().unwrap();
        assert!(right.is_in(status), "{right:?}: {status}");
        let reconciling = condition(status, "Reconciling").unwrap();
        assert_eq!(reconciling[..2], ["True", "StepFailed"], "{right:?}");
    }
}
