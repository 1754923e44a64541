//! Creates the parts of the operator and runs them until a signal stops the process.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use behalf_contract::{EgressProxyError, ports};
use behalf_runtime::Signals;
use behalf_runtime::trace::Tracer;
use futures::StreamExt as _;
use futures::channel::mpsc::{self, UnboundedSender};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::client::ClientBuilder;
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::ObjectRef;
use kube::{Client, ResourceExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::v1alpha1::{Guarded, McpServer};
use crate::cli::Run;
use crate::controller::dereference::pod_reports::{PodReports, StatusReader, poll};
use crate::controller::dereference::{Issuer, Sources};
use crate::controller::jitter;
use crate::controller::queue::Queue;
use crate::controller::validate::Defaults;
use crate::controller::watches;
use crate::controller::watches::scope::{EmptyScope, Scope};
use crate::controller::{self, Context};
use crate::error_chain::chain;
use crate::field_manager::FIELD_MANAGER;
use crate::health::{self, HealthState};
use crate::lease::{Leadership, LeaseLost};
use crate::telemetry::metrics::{Gauges, Metrics};
use crate::telemetry::traces;

/// Why the operator cannot run. A missing CRD or a silent API server is no reason: the operator waits for them.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is no namespace to watch.
    #[error(transparent)]
    Scope(#[from] EmptyScope),

    /// The installation's proxy cannot be used.
    #[error(transparent)]
    Proxy(#[from] EgressProxyError),

    /// The configuration of the cluster was not found.
    #[error("failed to find the cluster: run in a Pod, or set KUBECONFIG")]
    Cluster(#[source] Box<kube::Error>),

    /// TLS cannot be set up.
    #[error("failed to set up the HTTP client")]
    Http(#[source] reqwest::Error),

    /// The operator cannot listen on its port.
    #[error("failed to listen on {address}: choose another with --port")]
    Listen {
        /// Address and port of probes and metrics.
        address: SocketAddr,

        /// Error of the operating system.
        #[source]
        source: io::Error,
    },

    /// Another operator leads, or may lead. After a restart this one stands by.
    #[error("stopped, because {0}")]
    LeaseLost(LeaseLost),

    /// The operating system refuses signal handlers.
    #[error("failed to listen for signals")]
    Signal(#[source] io::Error),
}

/// Time between two checks for the CRD, and between two checks of the Pods' reachability.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Waits for the Lease, then runs until SIGTERM or SIGINT, finishes the reconciles that have begun, and gives the Lease back.
pub async fn run(options: Run, clock: fn() -> Timestamp) -> Result<(), RunError> {
    let scope = options.scope()?;
    let defaults = options.defaults()?;
    let metrics = Arc::new(Metrics::default());
    let client = connect(&metrics)
        .await
        .map_err(|error| RunError::Cluster(Box::new(error)))?;
    let stop = Signals::listen().map_err(RunError::Signal)?.into_token();
    let address = SocketAddr::new(options.listen(), options.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let process = Process {
        options,
        scope,
        defaults,
        client,
        metrics,
        listener,
        ready: Arc::default(),
        stop,
        clock,
    };
    process.run().await
}

/// An operator that has its connections and watches nothing yet.
struct Process {
    options: Run,
    scope: Scope,
    defaults: Defaults,
    client: Client,
    metrics: Arc<Metrics>,
    listener: TcpListener,
    ready: Arc<AtomicBool>,
    stop: CancellationToken,
    clock: fn() -> Timestamp,
}

impl Process {
    async fn run(self) -> Result<(), RunError> {
        let Self {
            options,
            scope,
            defaults,
            client,
            metrics,
            listener,
            ready,
            stop,
            clock,
        } = self;
        let tracer = options.trace_receiver().and_then(|receiver| {
            let metrics = metrics.clone();
            let dropped = move |reason, count| metrics.spans_dropped(reason, count);
            traces::tracer(receiver, dropped, clock)
        });
        let status = StatusReader::new().map_err(RunError::Http)?;
        let (changed, to_reconcile) = mpsc::unbounded();
        // Nothing is watched before the controller runs.
        let queue = Queue::default();
        let (controller, stores) = watches::start(&client, &scope, to_reconcile, &queue);
        let sources = Sources {
            client: client.clone(),
            stores,
            reports: Arc::new(PodReports::default()),
            issuer: Arc::new(Issuer::default()),
            references: Arc::default(),
            recent_secrets: Arc::default(),
        };
        let health = HealthState {
            ready: ready.clone(),
            metrics: metrics.clone(),
            gauges: {
                let (sources, queue) = (sources.clone(), queue.clone());
                Arc::new(move || Gauges {
                    reconciles_waiting: queue.count(),
                    ..sources.gauges()
                })
            },
        };
        let serving = tokio::spawn(health::serve(listener, health, stop.clone()));

        let mut leadership = Leadership::new(client.clone(), options.lease(), clock);
        let leads = async {
            wait_for_crd(&client, &scope).await;
            leadership.acquire(|| ready.store(true, Ordering::Release)).await;
        };
        tokio::select! {
            () = leads => metrics.leads(),
            () = stop.clone().cancelled_owned() => return Ok(()),
        }
        // A replica that stands by is ready. One that leads is ready when its caches are full.
        ready.store(false, Ordering::Release);
        let reporter = Reporter {
            controller: FIELD_MANAGER.to_owned(),
            instance: options.pod_name.clone(),
        };
        let Sources { stores, reports, .. } = sources.clone();
        let referring = tokio::spawn(follow_references(&sources, &scope, changed.clone()));
        let context = {
            let recorder = Recorder::new(client, reporter);
            let metrics = (metrics, tracer.clone());
            Context::new(sources, defaults, queue, recorder, metrics, clock)
        };
        tracing::info!(
            operator.version = env!("CARGO_PKG_VERSION"),
            watch.namespaces = %scope,
            "Operator is running"
        );
        let context = Arc::new(context);
        let watching = tokio::spawn(run_maintenance(context.clone(), ready, stop.clone()));
        let traces_end = CancellationToken::new();
        let exporting = tokio::spawn(export(tracer.clone(), traces_end.clone()));
        let polling = tokio::spawn(async move {
            let read = |address| {
                let status = status.clone();
                async move { status.read(address).await }
            };
            let pod_changed = stores.pod_changed.clone();
            let pods = || stores.own_pods();
            poll::run(reports, pods, pod_changed, read, changed, jitter::random, tracer).await;
        });
        let reconciles = controller::run(controller.graceful_shutdown_on(stop.cancelled_owned()), context);
        tokio::select! {
            () = reconciles.for_each(|_| std::future::ready(())) => leadership.release().await,
            lost = leadership.renew_until_lost() => return Err(RunError::LeaseLost(lost)),
        }
        polling.abort();
        referring.abort();
        watching.abort();
        serving.abort();
        // Last, so that the collector gets the spans of the last reconciles. It fails only if it panicked.
        traces_end.cancel();
        let _ = exporting.await;
        tracing::info!("Operator has stopped");
        Ok(())
    }
}

/// Sends the traces to the collector until `stop` is cancelled. Returns at once without a collector.
async fn export(tracer: Option<Tracer>, stop: CancellationToken) {
    if let Some(tracer) = tracer {
        tracer.export(stop).await;
    }
}

/// Returns a client of the cluster's API server whose requests the metrics count.
async fn connect(metrics: &Metrics) -> Result<Client, kube::Error> {
    let config = kube::Config::infer().await.map_err(kube::Error::InferConfig)?;
    let builder = ClientBuilder::try_from(config)?;
    Ok(builder.with_layer(&metrics.count_requests()).build())
}

/// Triggers a reconcile of the objects that refer to something that has changed.
fn follow_references(
    sources: &Sources,
    scope: &Scope,
    changed: UnboundedSender<ObjectRef<Guarded>>,
) -> impl Future<Output = ()> + Send + use<> {
    let references = sources.references.clone();
    let affected = references.changes(&sources.client, scope);
    affected.for_each(move |server| {
        // The send fails only after the controller, which owns the receiver, has ended.
        let _ = changed.unbounded_send(server);
        std::future::ready(())
    })
}

/// Waits while the CRD of `McpServers` is not installed. A chart may install the operator before the CRD, and
/// an exit would only hide the reason in a restart count. The CRD is the same in every namespace, so the
/// first namespace that answers is enough. The watches report every other error.
async fn wait_for_crd(client: &Client, scope: &Scope) {
    for (namespace, servers) in scope.apis::<McpServer>(client) {
        loop {
            match servers.list_metadata(&ListParams::default().limit(1)).await {
                Ok(_) => return,
                // The body is plain text and contains no reason.
                Err(kube::Error::Api(status)) if status.code == 404 => tracing::error!(
                    "CRD mcpservers.behalf.dev is not installed; install the chart behalf-crds"
                ),
                Err(error) => {
                    let namespace = namespace.as_deref().unwrap_or("all");
                    tracing::warn!(
                        watch.namespace = namespace, error = %chain(&error),
                        "Unable to list McpServers in namespace {namespace}: check the operator's rights and that the API server answers"
                    );
                    break;
                }
            }
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    }
}

/// Reports readiness once the caches are full, removes entries of deleted objects, and logs when the operator
/// cannot reach most Pods.
async fn run_maintenance(context: Arc<Context>, ready: Arc<AtomicBool>, stop: CancellationToken) {
    let Sources { stores, reports, .. } = &context.sources;
    if stores.ready().await.is_err() {
        return;
    }
    ready.store(true, Ordering::Release);
    let mut lost = false;
    while !stop.is_cancelled() {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let servers = stores.servers.state();
        let uids: HashSet<String> = servers.iter().filter_map(|server| server.uid()).collect();
        context.retries.keep_only(|uid| uids.contains(uid));
        context.sources.recent_secrets.keep_only(|uid| uids.contains(uid));
        context.stored_forms.keep_only(|uid| uids.contains(uid));
        context.postponed_writes.keep_only(|uid| uids.contains(uid));
        context
            .sources
            .references
            .keep_only(|object| stores.servers.get(object).is_some());
        context
            .queue
            .keep_only(|object| stores.servers.get(object).is_some());
        let (unreachable, all) = reports.counts();
        match (lost, reports.most_unreachable()) {
            (false, true) => tracing::error!(
                pods.unreachable = unreachable,
                pods.all = all,
                "Operator cannot reach most Pods on port {}; check network policies and the operator's network. No status blames its \
                 Pods meanwhile",
                ports::INTERNAL
            ),
            (true, false) => tracing::info!("Operator reaches its Pods again"),
            _ => {}
        }
        lost = reports.most_unreachable();
    }
}

#[cfg(test)]
mod tests;
