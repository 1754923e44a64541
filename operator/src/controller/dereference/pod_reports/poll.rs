//! Polls the status documents of all Pods and triggers a reconcile of the object when a document changes.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{Outcome, StatusDocument};
use behalf_runtime::spread;
use behalf_runtime::trace::{RequestSpan, Tracer};
use futures::StreamExt as _;
use futures::channel::mpsc::UnboundedSender;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior};

use super::{DocumentError, PodReports};
use crate::api::v1alpha1::Guarded;
use crate::controller::watches::Compact;
use crate::telemetry::traces;

/// Maximum number of Pods that are read at the same time. A Pod that does not answer occupies its place for
/// two seconds.
const CONCURRENCY: usize = 32;

/// Time between two looks of the loop for Pods that are due.
const TICK: Duration = Duration::from_millis(250);

/// Time until the next look after a Pod has changed. It is shorter than the time in which a reconcile gathers events, so that
/// the reconcile of a Pod that has become ready finds its report.
const AFTER_CHANGE: Duration = Duration::from_millis(25);

/// Time between two reads of a Pod while something in it is not verified.
const SOON: Duration = Duration::from_secs(2);

/// Time between two reads of a Pod in which everything is verified.
const SETTLED: Duration = Duration::from_secs(10);

/// Time that each existing Pod adds to the minimum interval between two reads of one Pod. It limits the loop
/// to fifty reads a second.
const SOON_FOR_EACH: Duration = Duration::from_millis(20);

/// Polls until `changed` has no receiver. `pods` lists all Pods, `pod_changed` is notified when that list has changed, `read` reads
/// the status document of one. A read that triggers a reconcile has a trace.
pub async fn run<R>(
    reports: Arc<PodReports>,
    pods: impl Fn() -> Vec<Arc<Compact<Pod>>>,
    pod_changed: Arc<Notify>,
    read: impl Fn(IpAddr) -> R,
    changed: UnboundedSender<ObjectRef<Guarded>>,
    random: fn() -> u32,
    tracer: Option<Tracer>,
) where
    R: Future<Output = Result<StatusDocument, DocumentError>>,
{
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reads = FuturesUnordered::new();
    let mut is_hurried = false;
    // A Pod that is being read is not due.
    let mut due: HashMap<String, Option<Instant>> = HashMap::new();
    while !changed.is_closed() {
        tokio::select! {
            // Only here are all Pods looked at: with hundreds of them, each look costs more than a read.
            _ = ticks.tick() => is_hurried = false,
            () = pod_changed.notified(), if !is_hurried => {
                ticks.reset_after(AFTER_CHANGE);
                is_hurried = true;
                continue;
            }
            Some(read) = reads.next() => {
                let (pod, span, answer): (Target, Option<RequestSpan>, Result<StatusDocument, DocumentError>) = read;
                let soon = soon(due.len());
                let wait = if answer.as_ref().is_ok_and(works) { SETTLED } else { soon };
                let trace = span.as_ref().map(RequestSpan::trace);
                if let Some(next) = due.get_mut(&pod.uid) {
                    *next = Some(Instant::now() + spread(wait, random()));
                    if let (Some(trace), Err(_)) = (&trace, &answer) {
                        traces::failed(trace, "unreachable");
                    }
                    if reports.store(&pod.uid, pod.ready, answer) {
                        // Without a receiver the loop ends.
                        let _ = changed.unbounded_send(pod.server);
                        continue;
                    }
                }
                if let Some(trace) = trace {
                    trace.discard();
                }
                continue;
            }
        }
        let targets: Vec<Target> = pods().iter().filter_map(|pod| Target::of(pod)).collect();
        let running: HashSet<&str> = targets.iter().map(|target| target.uid.as_str()).collect();
        due.retain(|uid, _| running.contains(uid.as_str()));
        reports.keep_only(|uid| running.contains(uid));
        let now = Instant::now();
        let mut waiting: Vec<(Instant, Target)> = targets
            .into_iter()
            .filter_map(|target| {
                let next = *due.entry(target.uid.clone()).or_insert(Some(now));
                Some((next.filter(|next| *next <= now)?, target))
            })
            .collect();
        // The Pod that has waited longest comes first, so each is read even if there are too many.
        waiting.sort_by_key(|(next, _)| *next);
        waiting.truncate(CONCURRENCY.saturating_sub(reads.len()));
        for (_, target) in waiting {
            due.insert(target.uid.clone(), None);
            let span = tracer.as_ref().map(|tracer| target.trace(tracer));
            let answer = read(target.address);
            reads.push(async move { (target, span, answer.await) });
        }
    }
}

struct Target {
    uid: String,
    address: IpAddr,
    ready: bool,
    server: ObjectRef<Guarded>,
}

impl Target {
    fn of(pod: &Compact<Pod>) -> Option<Self> {
        let endpoint = pod.summary();
        Some(Self {
            uid: pod.uid()?,
            address: endpoint.address?,
            ready: endpoint.is_ready,
            server: pod.server()?,
        })
    }

    /// Begins the trace of a read.
    fn trace(&self, tracer: &Tracer) -> RequestSpan {
        let namespace = self.server.namespace.as_deref().unwrap_or_default();
        traces::read_status(tracer, namespace, &self.server.name)
    }
}

/// Returns whether everything that a Pod checks is verified.
fn works(document: &StatusDocument) -> bool {
    document.federation.outcome == Outcome::Verified && document.handshake.outcome == Outcome::Verified
}

fn soon(pods: usize) -> Duration {
    let pods = u32::try_from(pods).unwrap_or(u32::MAX);
    SOON_FOR_EACH.saturating_mul(pods).clamp(SOON, SETTLED)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::channel::mpsc;
    use serde_json::json;

    use super::*;
    use crate::controller::names;
    use crate::testing::document;

    fn pod(number: usize) -> Arc<Compact<Pod>> {
        let pod = json!({
            "metadata": {
                "namespace": "mcp", "uid": number.to_string(),
                "labels": {(names::SERVER_LABEL): format!("server-{number}")},
            },
            "status": {
                "phase": "Running", "podIP": format!("10.0.0.{number}"),
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn middle() -> u32 {
        u32::MAX / 2
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_reconciled_when_a_report_of_its_pod_changes_and_not_for_the_same_report() {
        let (sender, mut changed) = mpsc::unbounded();
        let reads = Arc::new(AtomicUsize::new(0));
        let count = reads.clone();
        let read = move |_| {
            let earlier = count.fetch_add(1, Ordering::Relaxed);
            // The third read returns a changed document.
            std::future::ready(Ok(document(if earlier < 2 { "sha256:0" } else { "sha256:1" })))
        };
        let reports = Arc::new(PodReports::default());
        tokio::spawn(run(
            reports,
            || vec![pod(1)],
            Arc::default(),
            read,
            sender,
            middle,
            None,
        ));
        for read in [1, 3] {
            let server = changed.next().await.unwrap();
            assert_eq!(server.name, "server-1");
            assert_eq!(reads.load(Ordering::Relaxed), read);
        }
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert!(changed.try_recv().is_err());
        let reads = reads.load(Ordering::Relaxed);
        assert!((28..=34).contains(&reads), "{reads} reads in five minutes");
    }

    #[tokio::test(start_paused = true)]
    async fn silent_pods_hold_up_neither_each_other_nor_those_that_answer() {
        let (sender, changed) = mpsc::unbounded();
        let read = |address: IpAddr| async move {
            if address.to_string() != "10.0.0.100" {
                tokio::time::sleep(Duration::from_secs(2)).await;
                return Err(DocumentError::Unreachable);
            }
            Ok(document("sha256:0"))
        };
        let pods = || (1..=100).map(pod).collect();
        let reports = Arc::new(PodReports::default());
        tokio::spawn(run(
            reports.clone(),
            pods,
            Arc::default(),
            read,
            sender,
            middle,
            None,
        ));
        let first: HashSet<String> = changed.take(100).map(|server| server.name).collect().await;
        assert_eq!(first.len(), 100, "each Pod had its turn");
        let hundredth = Arc::new(pod(100).parse().unwrap());
        assert_eq!(reports.of(&[hundredth]).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_has_become_ready_is_read_before_its_reconcile_begins() {
        let (sender, mut changed) = mpsc::unbounded();
        let (pods, pod_changed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let listed = pods.clone();
        let read = |_| std::future::ready(Ok(document("sha256:0")));
        let list = move || listed.lock().unwrap().clone();
        tokio::spawn(run(
            Arc::default(),
            list,
            pod_changed.clone(),
            read,
            sender,
            middle,
            None,
        ));
        // Shortly after a look without it.
        tokio::time::sleep(TICK + Duration::from_millis(1)).await;
        pods.lock().unwrap().push(pod(1));
        pod_changed.notify_one();
        let begin = Instant::now();
        changed.next().await.unwrap();
        assert!(
            begin.elapsed() < crate::controller::reconcile::DEBOUNCE,
            "{:?}",
            begin.elapsed()
        );
    }

    #[test]
    fn reads_less_often_the_more_pods_there_are() {
        assert_eq!(
            [1, 100, 200, 500, 100_000].map(|pods| soon(pods).as_secs()),
            [2, 2, 4, 10, 10]
        );
    }
}
