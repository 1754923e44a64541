//! Counts and traces the requests to the API server: a layer around kube's client.
//!
//! kube repeats a request by itself that gets 429, 503 or 504. Such a request counts once, with the last answer.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use kube::client::Body;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::traces::ApiRequest;

/// The resources that the operator asks for, with their subresources. Any other path counts as [`OTHER`], so that the
/// label has a closed set of values.
const RESOURCES: [&str; 14] = [
    "configmaps",
    "deployments",
    "events",
    "httproutes",
    "leases",
    "mcpservers",
    "mcpservers/status",
    "networkpolicies",
    "poddisruptionbudgets",
    "pods",
    "replicasets",
    "secrets",
    "serviceaccounts",
    "services",
];

/// Discovery, and the issuer of `ServiceAccount` tokens.
const OTHER: &str = "other";

/// The code of a request without an answer: the connection failed, or the operator gave up.
const NO_ANSWER: &str = "none";

/// The number of requests by their labels.
pub(super) type Counters = Family<RequestLabels, Counter>;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) verb: &'static str,
    pub(super) resource: &'static str,
    pub(super) code: String,
}

/// A layer of the client that counts the requests to the API server.
#[derive(Debug, Clone)]
pub struct CountRequests(pub(super) Counters);

impl<S> Layer<S> for CountRequests {
    type Service = Counting<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counting {
            inner,
            counters: self.0.clone(),
        }
    }
}

/// A client that counts its requests.
#[derive(Debug, Clone)]
pub struct Counting<S> {
    inner: S,
    counters: Counters,
}

impl<S, B> Service<Request<Body>> for Counting<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut counted = Counted {
            counters: self.counters.clone(),
            labels: RequestLabels {
                verb: verb(request.method(), request.uri()),
                resource: resource(request.uri()),
                code: NO_ANSWER.to_owned(),
            },
        };
        let began = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            // Here, because a task of kube's client calls this service, and the task that made the request waits for the answer.
            let mut span = ApiRequest::begin(counted.labels.verb, counted.labels.resource, began);
            let answer = answer.await;
            let status = answer.as_ref().ok().map(Response::status);
            if let Some(status) = status {
                status.as_str().clone_into(&mut counted.labels.code);
            }
            span.answered(status);
            answer
        })
    }
}

/// Counts a request when it ends, also if its future is dropped.
struct Counted {
    counters: Counters,
    labels: RequestLabels,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.get_or_create(&self.labels).inc();
    }
}

/// Returns the verb, as RBAC and the audit log of the API server name it.
fn verb(method: &Method, uri: &Uri) -> &'static str {
    let is_watch = uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| matches!(pair, "watch=true" | "watch=1"))
    });
    match method.as_str() {
        "GET" if is_watch => "watch",
        "GET" if segments(uri).len() == 1 => "list",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => OTHER,
    }
}

fn resource(uri: &Uri) -> &'static str {
    let segments = segments(uri);
    let known = |resource: &&&str| match (resource.split_once('/'), &segments[..]) {
        (None, [plural] | [plural, _]) => **resource == *plural,
        (Some((of, subresource)), [plural, _, last]) => of == *plural && subresource == *last,
        _ => false,
    };
    RESOURCES.iter().find(known).copied().unwrap_or(OTHER)
}

/// Returns the parts of the path that follow group, version and namespace: the resource, the name and the subresource.
fn segments(uri: &Uri) -> Vec<&str> {
    let mut segments: Vec<&str> = uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .collect();
    let group_and_version = match segments.first() {
        Some(&"api") => 2,
        Some(&"apis") => 3,
        _ => segments.len(),
    };
    segments.drain(..group_and_version.min(segments.len()));
    if segments.first() == Some(&"namespaces") && segments.len() > 2 {
        segments.drain(..2);
    }
    segments
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{DeleteParams, ListParams};
    use kube::client::ClientBuilder;
    use kube::{Api, Client};
    use rstest::rstest;
    use tower_test::mock;

    use super::*;

    #[rstest]
    #[case("GET", "/api/v1/namespaces/mcp/configmaps/a", "get", "configmaps")]
    #[case("GET", "/api/v1/namespaces/mcp/configmaps?limit=500", "list", "configmaps")]
    #[case("GET", "/api/v1/configmaps?watch=true&limit=500", "watch", "configmaps")]
    #[case("GET", "/apis/apps/v1/deployments?&watch=true", "watch", "deployments")]
    #[case("POST", "/apis/events.k8s.io/v1/namespaces/mcp/events?", "create", "events")]
    #[case(
        "PUT",
        "/apis/coordination.k8s.io/v1/namespaces/b/leases/l",
        "update",
        "leases"
    )]
    #[case(
        "PATCH",
        "/apis/behalf.dev/v1alpha1/namespaces/mcp/mcpservers/a/status",
        "patch",
        "mcpservers/status"
    )]
    #[case("DELETE", "/api/v1/namespaces/mcp/services/a", "delete", "services")]
    #[case::discovery("GET", "/apis/gateway.networking.k8s.io/v1", "get", "other")]
    #[case::issuer("GET", "/.well-known/openid-configuration", "get", "other")]
    #[case::another_subresource("GET", "/api/v1/namespaces/mcp/pods/a/log", "get", "other")]
    #[case::an_object_that_is_named_like_a_resource(
        "GET",
        "/api/v1/namespaces/pods/secrets/services",
        "get",
        "secrets"
    )]
    fn verb_and_resource_are_those_of_rbac(
        #[case] method: &str,
        #[case] uri: &str,
        #[case] expected_verb: &str,
        #[case] expected_resource: &str,
    ) {
        let uri: Uri = uri.parse().unwrap();
        assert_eq!(verb(&method.parse().unwrap(), &uri), expected_verb);
        assert_eq!(resource(&uri), expected_resource);
    }

    /// Returns a client that counts, and the API server that it asks.
    fn counting(counters: &Counters) -> (Client, mock::Handle<Request<Body>, Response<Body>>) {
        let (service, handle) = mock::pair::<Request<Body>, Response<Body>>();
        let builder = ClientBuilder::new(service, "default").with_layer(&CountRequests(counters.clone()));
        (builder.build(), handle)
    }

    fn count(counters: &Counters, verb: &'static str, code: &str) -> u64 {
        let labels = RequestLabels {
            verb,
            resource: "configmaps",
            code: code.to_owned(),
        };
        counters.get_or_create(&labels).get()
    }

    #[tokio::test]
    async fn a_request_counts_with_its_answer_and_one_without_an_answer_counts_too() {
        let counters = Counters::default();
        let (client, mut handle) = counting(&counters);
        let api: Api<ConfigMap> = Api::namespaced(client, "mcp");
        let api_server = async {
            for code in [404, 200] {
                let (_, send) = pin!(&mut handle).next_request().await.unwrap();
                let body = serde_json::json!({"metadata": {}, "items": []}).to_string();
                let response = Response::builder()
                    .status(code)
                    .body(Body::from(body.into_bytes()));
                send.send_response(response.unwrap());
            }
            // The third request gets no answer.
            let (_, _send) = pin!(&mut handle).next_request().await.unwrap();
        };
        let asked = async {
            let _ = api.get_opt("a").await;
            api.list(&ListParams::default()).await.unwrap();
            assert!(api.delete("a", &DeleteParams::default()).await.is_err());
        };
        futures::future::join(api_server, asked).await;
        assert_eq!(count(&counters, "get", "404"), 1);
        assert_eq!(count(&counters, "list", "200"), 1);
        assert_eq!(count(&counters, "delete", "none"), 1);
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_counts_without_an_answer() {
        let counters = Counters::default();
        let (client, mut handle) = counting(&counters);
        let asking = tokio::spawn(async move {
            let api: Api<ConfigMap> = Api::namespaced(client, "mcp");
            api.get_opt("a").await
        });
        let (_, _send) = pin!(&mut handle).next_request().await.unwrap();
        assert_eq!(count(&counters, "get", "none"), 0);
        asking.abort();
        assert!(asking.await.unwrap_err().is_cancelled());
        assert_eq!(count(&counters, "get", "none"), 1);
    }
}
