//! Runs whole passes against a simulated API server that contains exactly the cached objects.

use behalf_runtime::trace::Tracer;
use kube::client::ClientBuilder;
use kube::core::DeserializeGuard;
use kube::runtime::events::{Recorder, Reporter};
use serde_json::Value;

use super::*;
use crate::controller::children::ExistingChildren;
use crate::controller::dereference::pod_reports::PodReports;
use crate::controller::dereference::{Issuer, Sources};
use crate::controller::queue::Queue;
use crate::controller::reference_defaults::ReferenceDefaults;
use crate::controller::validate::Defaults;
use crate::controller::watches::Stores;
use crate::telemetry::metrics::Metrics;
use crate::testing::defaults;

/// A request that the API server received: method and path (for a create with the object's name), and the
/// body.
pub(super) type Asked = (String, Value);

/// The cached objects, and the request that the API server refuses.
#[derive(Default)]
pub(super) struct Cluster {
    pub(super) servers: Vec<McpServer>,
    pub(super) children: ExistingChildren,
    pub(super) pods: Vec<k8s_openapi::api::core::v1::Pod>,
    pub(super) reports: Arc<PodReports>,

    /// The status that the API server has of the object before the first pass.
    pub(super) status: Value,

    /// Objects that the API server returns when they are read by name, by the end of their path.
    pub(super) stored: Vec<(&'static str, Value)>,

    /// The objects that an event triggered.
    pub(super) queue: Queue,

    /// The metrics that the passes count in.
    pub(super) metrics: Arc<Metrics>,

    /// Records the traces of the passes.
    pub(super) tracer: Option<Tracer>,

    /// Part of the method and path of the refused request, and the answer to it.
    pub(super) refused: Option<(&'static str, Value)>,

    /// Part of the method and path of a request that gets no answer.
    pub(super) unanswered: Option<&'static str>,

    /// The objects of the namespace that the installation names.
    pub(super) references: ReferenceDefaults,

    /// The clock. Without it, the time does not change.
    pub(super) clock: Option<fn() -> jiff::Timestamp>,
}

/// Shortens each wait by a fifth, so that a test knows when an object is reconciled again.
pub(super) fn lowest_jitter() -> u32 {
    0
}

impl Cluster {
    pub(super) fn of(servers: &[McpServer]) -> Self {
        Self {
            servers: servers.to_vec(),
            ..Self::default()
        }
    }

    /// Makes one pass over each object in turn and returns all requests.
    pub(super) async fn passes(
        &self,
        order: &[McpServer],
    ) -> (Vec<Result<Action, ReconcileError>>, Vec<Asked>) {
        let guards = order.iter().map(|server| DeserializeGuard(Ok(server.clone())));
        self.passes_over(guards.collect()).await
    }

    /// Returns the state of a process that has just started and whose caches are full.
    pub(super) fn context(&self, client: Client) -> Context {
        let servers: Vec<Guarded> = self
            .servers
            .iter()
            .map(|server| DeserializeGuard(Ok(server.clone())))
            .collect();
        let mut context = Context::new(
            Sources {
                client: client.clone(),
                stores: Stores::containing(&servers, self.children.clone(), self.pods.clone()),
                reports: self.reports.clone(),
                issuer: Arc::new(Issuer::default()),
                references: Arc::default(),
                recent_secrets: Arc::default(),
            },
            Defaults {
                references: self.references.clone(),
                ..defaults()
            },
            self.queue.clone(),
            Recorder::new(client, Reporter::from("behalf")),
            (self.metrics.clone(), self.tracer.clone()),
            self.clock.unwrap_or(|| time(60)),
        );
        context.random = lowest_jitter;
        context
    }

    /// Like [`Self::passes`], also over objects that cannot be decoded.
    pub(super) async fn passes_over(
        &self,
        order: Vec<Guarded>,
    ) -> (Vec<Result<Action, ReconcileError>>, Vec<Asked>) {
        let (service, handle) = mock::pair();
        let api_server = tokio::spawn(api_server(
            handle,
            self.status.clone(),
            self.stored.clone(),
            self.refused.clone(),
            self.unanswered,
        ));
        let client = ClientBuilder::new(service, "default").with_layer(&self.metrics.count_requests());
        let context = self.context(client.build());
        let context = Arc::new(context);
        let mut results = Vec::new();
        for guard in order {
            results.push(reconcile(Arc::new(guard), context.clone()).await);
        }
        drop(context);
        (results, api_server.await.unwrap())
    }
}

async fn api_server(
    mut handle: mock::Handle<Request<Body>, Response<Body>>,
    mut status: Value,
    stored: Vec<(&'static str, Value)>,
    refused: Option<(&'static str, Value)>,
    unanswered: Option<&'static str>,
) -> Vec<Asked> {
    let mut open = Vec::new();
    let object_at = |path: &str| {
        let mut found = stored.iter().filter(|(end, _)| path.ends_with(end));
        found.next().map(|(_, object)| object.clone())
    };
    let mut asked = Vec::new();
    while let Some((request, send)) = pin!(&mut handle).next_request().await {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let mut line = format!("{method} {path}");
        if method == http::Method::POST {
            line = format!("{line}/{}", body["metadata"]["name"].as_str().unwrap_or_default());
        }
        if unanswered.is_some_and(|part| line.contains(part)) {
            asked.push((line, body));
            open.push(send);
            continue;
        }
        let (code, answer) = match &refused {
            Some((part, answer)) if line.contains(part) => (answer["code"].as_u64().unwrap(), answer.clone()),
            _ if path == "/.well-known/openid-configuration" => {
                (200, json!({"issuer": "https://issuer.contoso.example"}))
            }
            _ if method == http::Method::GET && path.ends_with("/mcpservers") => {
                let object = json!({"metadata": {"name": "azure-devops"}, "status": status});
                (
                    200,
                    json!({"kind": "McpServerList", "apiVersion": "behalf.dev/v1alpha1", "metadata": {}, "items": [object]}),
                )
            }
            _ if method == http::Method::GET && object_at(&path).is_some() => {
                (200, object_at(&path).unwrap_or_default())
            }
            _ if method == http::Method::POST && object_at(&line).is_some() => {
                (409, failure(409, "AlreadyExists", "already exists"))
            }
            _ if method == http::Method::GET => (404, failure(404, "NotFound", "not found")),
            // The API server returns the whole object for a write of any part of it.
            _ if path.ends_with("/status") => {
                status = body["status"].clone();
                (200, json!(server(QUICKSTART)))
            }
            _ => (200, body.clone()),
        };
        asked.push((line, body));
        let response = Response::builder()
            .status(u16::try_from(code).unwrap())
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    asked
}

pub(super) fn failure(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}

/// Returns the statuses that were written for an object.
pub(super) fn statuses<'a>(asked: &'a [Asked], name: &str) -> Vec<&'a Value> {
    let end = format!("/{name}/status");
    asked
        .iter()
        .filter(|(line, _)| line.ends_with(&end))
        .map(|(_, body)| &body["status"])
        .collect()
}

/// Returns the reasons of the events that were published.
pub(super) fn event_reasons(asked: &[Asked]) -> Vec<&str> {
    asked
        .iter()
        .filter(|(line, _)| line.contains("/events"))
        .map(|(_, body)| body["reason"].as_str().unwrap())
        .collect()
}

/// Returns status, reason and message of a condition in a status.
pub(super) fn condition<'a>(status: &'a Value, kind: &str) -> Option<[&'a str; 3]> {
    let conditions = status["conditions"].as_array()?;
    let condition = conditions.iter().find(|condition| condition["type"] == kind)?;
    let text = |key: &str| condition[key].as_str().unwrap_or_default();
    Some([text("status"), text("reason"), text("message")])
}
