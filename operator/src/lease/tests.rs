//! Several processes and one Lease, against an API server that refuses writes of an old version. The time is the test's.

use std::pin::pin;
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower_test::mock;

use super::*;
use crate::testing::time;

/// The Lease as the API server stores it, and its version.
#[derive(Default)]
struct Stored {
    lease: Value,
    version: u32,
}

/// How the API server answers a process.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// No request is answered, and none is carried out.
    Silent,
    /// The next write is carried out and not answered.
    LosesOneAnswer,
}

#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<Stored>>);

/// A process that wants to lead.
struct Replica {
    leadership: Leadership,
    fault: Arc<Mutex<Fault>>,
}

impl ApiServer {
    fn replica(&self, identity: &str) -> Replica {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        let fault = Arc::new(Mutex::new(Fault::None));
        let (stored, now) = (self.clone(), fault.clone());
        tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some((request, send)) = pin!(&mut handle).next_request().await {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let fault = *now.lock().unwrap();
                let answer = (fault != Fault::Silent).then(|| stored.answer(&method, body));
                let is_lost = fault == Fault::LosesOneAnswer && method != Method::GET;
                match answer {
                    Some((code, answer)) if !is_lost => {
                        let body = Body::from(serde_json::to_vec(&answer).unwrap());
                        send.send_response(Response::builder().status(code).body(body).unwrap());
                    }
                    _ => unanswered.push(send),
                }
                if is_lost {
                    *now.lock().unwrap() = Fault::None;
                }
            }
        });
        let options = LeaseOptions {
            namespace: "behalf-system",
            name: "behalf-operator",
            identity,
        };
        let client = Client::new(service, "behalf-system");
        Replica {
            leadership: Leadership::new(client, Some(options), || time(0)),
            fault,
        }
    }

    fn answer(&self, method: &Method, mut body: Value) -> (u16, Value) {
        let mut stored = self.0.lock().unwrap();
        let status = |code, reason| {
            (
                code,
                json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason}),
            )
        };
        let exists = !stored.lease.is_null();
        if *method == Method::GET {
            return if exists {
                (200, stored.lease.clone())
            } else {
                status(404, "NotFound")
            };
        }
        let is_current = body["metadata"]["resourceVersion"] == json!(stored.version.to_string());
        match (method, exists) {
            (&Method::POST, true) => return status(409, "AlreadyExists"),
            (&Method::PUT, false) => return status(404, "NotFound"),
            (&Method::PUT, true) if !is_current => return status(409, "Conflict"),
            _ => {}
        }
        stored.version += 1;
        body["metadata"]["resourceVersion"] = json!(stored.version.to_string());
        stored.lease = body.clone();
        (200, body)
    }

    fn holder(&self) -> Value {
        self.0.lock().unwrap().lease["spec"]["holderIdentity"].clone()
    }
}

impl Replica {
    fn meets(&self, fault: Fault) {
        *self.fault.lock().unwrap() = fault;
    }

    /// Leads, and holds the Lease for this long.
    async fn leads_for(&mut self, time: Duration) {
        self.leadership.acquire(|| {}).await;
        assert!(
            timeout(time, self.leadership.renew_until_lost()).await.is_err(),
            "the Lease was lost"
        );
    }

    /// Returns the time until this process leads.
    async fn time_until_it_leads(&mut self) -> Duration {
        let begin = Instant::now();
        self.leadership.acquire(|| {}).await;
        begin.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_other_stands_by() {
    let api_server = ApiServer::default();
    let (mut one, mut two) = (api_server.replica("one"), api_server.replica("two"));
    one.leadership.acquire(|| panic!("nobody else leads")).await;
    let stood_by = Mutex::new(0);
    let waits = two.leadership.acquire(|| *stood_by.lock().unwrap() += 1);
    let both = async { tokio::join!(one.leadership.renew_until_lost(), waits) };
    assert!(timeout(Duration::from_hours(1), both).await.is_err());
    assert!(*stood_by.lock().unwrap() > 0);
    assert_eq!(api_server.holder(), "one");
}

#[tokio::test(start_paused = true)]
async fn the_other_leads_at_most_16_s_after_the_first_has_died() {
    let api_server = ApiServer::default();
    let (mut one, mut two) = (api_server.replica("one"), api_server.replica("two"));
    one.leads_for(Duration::from_mins(1)).await;
    // It looks at the Lease while the first one still leads.
    let _ = timeout(INTERVAL, two.leadership.acquire(|| {})).await;
    let time = two.time_until_it_leads().await;
    assert!(time <= Duration::from_secs(16), "{time:?}");
    assert!(time >= Duration::from_secs(8), "{time:?}");
}

#[tokio::test(start_paused = true)]
async fn the_other_leads_at_once_when_the_first_has_stopped() {
    let api_server = ApiServer::default();
    let (mut one, mut two) = (api_server.replica("one"), api_server.replica("two"));
    one.leads_for(Duration::from_mins(1)).await;
    one.leadership.release().await;
    assert_eq!(two.time_until_it_leads().await, Duration::ZERO);
    // The first does not release the Lease of the other.
    one.leadership.release().await;
    assert_eq!(api_server.holder(), "two");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_without_an_answer_does_not_keep_the_lease_when_its_holder_stops() {
    let api_server = ApiServer::default();
    let (mut one, mut two) = (api_server.replica("one"), api_server.replica("two"));
    one.leads_for(Duration::from_secs(10)).await;
    one.meets(Fault::LosesOneAnswer);
    // The process stops while the renewal waits for its answer.
    let _ = timeout(
        INTERVAL + Duration::from_secs(1),
        one.leadership.renew_until_lost(),
    )
    .await;
    one.leadership.release().await;
    assert_eq!(two.time_until_it_leads().await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_cannot_renew_stops_before_another_begins() {
    let api_server = ApiServer::default();
    let (mut one, mut two) = (api_server.replica("one"), api_server.replica("two"));
    one.leads_for(Duration::from_mins(1)).await;
    let begin = Instant::now();
    one.meets(Fault::Silent);
    let stops = async {
        let lost = one.leadership.renew_until_lost().await;
        assert!(matches!(lost, LeaseLost::NotRenewed(_)), "{lost}");
        begin.elapsed()
    };
    let (stopped, led) = tokio::join!(stops, two.time_until_it_leads());
    assert!(
        stopped < led,
        "stopped after {stopped:?}, the other led after {led:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_end_the_leadership() {
    let api_server = ApiServer::default();
    let mut one = api_server.replica("one");
    one.leads_for(Duration::from_secs(10)).await;
    one.meets(Fault::LosesOneAnswer);
    let holds = timeout(Duration::from_mins(1), one.leadership.renew_until_lost()).await;
    assert!(holds.is_err(), "{holds:?}");
    assert_eq!(*one.fault.lock().unwrap(), Fault::None);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_deletes_is_made_again() {
    let api_server = ApiServer::default();
    let mut one = api_server.replica("one");
    one.leads_for(Duration::from_secs(10)).await;
    *api_server.0.lock().unwrap() = Stored::default();
    let holds = timeout(Duration::from_mins(1), one.leadership.renew_until_lost()).await;
    assert!(holds.is_err(), "{holds:?}");
    assert_eq!(api_server.holder(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_process_whose_lease_another_has_taken_stops() {
    let api_server = ApiServer::default();
    let mut one = api_server.replica("one");
    one.leads_for(Duration::from_secs(10)).await;
    {
        let mut stored = api_server.0.lock().unwrap();
        stored.version += 1;
        stored.lease["metadata"]["resourceVersion"] = json!(stored.version.to_string());
        stored.lease["spec"]["holderIdentity"] = json!("two");
    }
    let lost = one.leadership.renew_until_lost().await;
    assert_eq!(
        lost.to_string(),
        "another operator has taken the Lease behalf-operator"
    );
}

#[tokio::test]
async fn without_a_lease_an_operator_leads_and_asks_nothing() {
    let (service, _handle) = mock::pair::<Request<Body>, Response<Body>>();
    let mut alone = Leadership::new(Client::new(service, "default"), None, || time(0));
    alone.acquire(|| panic!("nobody else leads")).await;
    assert!(timeout(Duration::ZERO, alone.renew_until_lost()).await.is_err());
    alone.release().await;
}
