//! Runs whole processes against a simulated API server, with the test's time.

use std::pin::pin;
use std::sync::Mutex;

use clap::Parser as _;
use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::cli::Cli;
use crate::testing::time;

/// The answers of the API server.
#[derive(Default)]
struct Cluster {
    /// The holder of the Lease.
    holder: Mutex<Option<String>>,

    /// The ends of the paths whose lists get no answer now.
    silent: Mutex<Vec<&'static str>>,
}

impl Cluster {
    fn is_silent_about(&self, path: &str) -> bool {
        self.silent.lock().unwrap().iter().any(|end| path.ends_with(end))
    }

    /// The Lease, in a version of its own each time: its holder renews it.
    fn lease(&self, version: u32) -> Value {
        let holder = self.holder.lock().unwrap().clone();
        json!({
            "metadata": {"name": "behalf-operator", "resourceVersion": version.to_string()},
            "spec": {"holderIdentity": holder},
        })
    }

    async fn serve(self: Arc<Self>, mut handle: mock::Handle<Request<Body>, Response<Body>>) {
        let (mut version, mut waiting) = (0, Vec::new());
        loop {
            // A list that was silent is answered when the test allows it.
            for (path, send) in
                std::mem::take::<Vec<(String, mock::SendResponse<Response<Body>>)>>(&mut waiting)
            {
                if self.is_silent_about(&path) {
                    waiting.push((path, send));
                } else {
                    send.send_response(answer(&list()));
                }
            }
            let next = async { pin!(&mut handle).next_request().await };
            let Ok(next) = tokio::time::timeout(Duration::from_millis(100), next).await else {
                continue;
            };
            let Some((request, send)) = next else { return };
            let path = request.uri().path().to_owned();
            version += 1;
            if path.contains("/leases/") {
                if request.method() == Method::PUT {
                    let body = request.into_body().collect_bytes().await.unwrap();
                    let written: Value = serde_json::from_slice(&body).unwrap();
                    let holder = written["spec"]["holderIdentity"].as_str().map(str::to_owned);
                    *self.holder.lock().unwrap() = holder;
                }
                send.send_response(answer(&self.lease(version)));
            } else if path.starts_with("/apis/gateway.networking.k8s.io") {
                let not_found = json!({"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": ""});
                let body = Body::from(not_found.to_string().into_bytes());
                send.send_response(Response::builder().status(404).body(body).unwrap());
            } else if request
                .uri()
                .query()
                .is_some_and(|query| query.contains("watch="))
            {
                // A watch without events.
                waiting.push(("a watch".to_owned(), send));
                self.silent.lock().unwrap().push("a watch");
            } else {
                waiting.push((path, send));
            }
        }
    }
}

fn list() -> Value {
    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})
}

fn answer(body: &Value) -> Response<Body> {
    Response::new(Body::from(body.to_string().into_bytes()))
}

async fn process(cluster: &Arc<Cluster>) -> (Process, Arc<AtomicBool>, CancellationToken) {
    let (service, handle) = mock::pair();
    tokio::spawn(cluster.clone().serve(handle));
    let arguments = "behalf-operator --watch-namespaces mcp --namespace behalf-system --pod-name one --lease behalf-operator";
    let options = Cli::parse_from(arguments.split(' ')).run;
    let (ready, stop) = (Arc::<AtomicBool>::default(), CancellationToken::new());
    let process = Process {
        scope: options.scope().unwrap(),
        defaults: options.defaults().unwrap(),
        options,
        client: Client::new(service, "default"),
        metrics: Arc::default(),
        listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        ready: ready.clone(),
        stop: stop.clone(),
        clock: || time(0),
    };
    (process, ready, stop)
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_ready_while_another_one_leads_and_when_it_leads_itself_not_before_every_cache_is_full()
{
    let cluster = Arc::new(Cluster::default());
    let lists_of = |ends: &[&'static str]| cluster.silent.lock().unwrap().extend(ends);
    let answers_for = |end: &str| cluster.silent.lock().unwrap().retain(|silent| *silent != end);
    let leader = |holder: Option<&str>| *cluster.holder.lock().unwrap() = holder.map(str::to_owned);
    let a_while = || tokio::time::sleep(Duration::from_secs(20));
    leader(Some("another"));
    lists_of(&["/mcpservers"]);
    let (process, ready, stop) = process(&cluster).await;
    let running = tokio::spawn(process.run());
    let is_ready = || ready.load(Ordering::Acquire);

    a_while().await;
    assert!(!is_ready(), "the API server has not answered yet");
    answers_for("/mcpservers");
    a_while().await;
    assert!(is_ready(), "it stands by");

    lists_of(&["/pods"]);
    leader(None);
    a_while().await;
    assert_eq!(cluster.holder.lock().unwrap().as_deref(), Some("one"));
    assert!(!is_ready(), "it leads, and one cache is not full");
    answers_for("/pods");
    a_while().await;
    assert!(is_ready(), "every cache is full");

    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(*cluster.holder.lock().unwrap(), None, "the Lease is given back");
}
