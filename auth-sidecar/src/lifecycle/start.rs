//! Starts the sidecar in order (host key, services, ports, socket, tasks), and stops it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{ObjectIdentity, SidecarConfig};
use behalf_runtime::{ConfigFile, Http2Limits, Limits, WhenFull, serve, serve_and_drain};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, AdminSocketError};
use crate::host_key::{HostKey, HostKeyError};
use crate::lifecycle::drain;
use crate::observe::{FederationProbe, HandshakeProbe, ProbeLoop, TenantProbe};
use crate::router;
use crate::services::{Environment, Services, ServicesError};
use crate::upstream::Upstream;

/// Maximum number of connections to the public port. `docs/proxy.md` adds up their memory.
const PUBLIC_CONNECTIONS: usize = 4096;

/// Maximum time for the first bytes of a connection to the public port. Gateways open some connections ahead of
/// use, and open others when these are closed.
const FIRST_BYTES: Duration = Duration::from_secs(30);

/// Maximum time for the head of a request to the public port, the wait for the next request included. Usual
/// gateways close an idle connection after 60 s, so that the gateway closes first.
const HEAD: Duration = Duration::from_secs(90);

/// Maximum size of a request's head at the public port, and of the bytes read ahead of its body. Gateways
/// have the same limit; the largest token of the sidecar has a few KiB.
const HEAD_BYTES: u32 = 32 * 1024;

/// A connection closes when its client reads nothing of an answer for this long. This is twice the longest
/// pause of usual networks.
const WRITE: Duration = Duration::from_mins(1);

/// HTTP/2 at the public port. A gateway opens a new connection when one was closed for lack of use.
const HTTP2: Http2Limits = Http2Limits {
    connections: 128,
    ping: Duration::from_secs(30),
    idle: Duration::from_mins(3),
};

/// Time between two reads of the keyring file. The kubelet takes up to a minute to write a new file.
const KEYRING_INTERVAL: Duration = Duration::from_secs(5);

/// Why the sidecar did not start. Each message says what to do. Meanwhile the kubelet restarts the container.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or a mounted file cannot be used.
    #[error(transparent)]
    Services(#[from] ServicesError),

    /// A port is in use, or the process may not bind it.
    #[error(
        "failed to listen on {address} ({field}): stop the process that uses the port, or configure another port"
    )]
    Bind {
        /// Address and port from the configuration.
        address: SocketAddr,

        /// The field of the configuration that names the address.
        field: &'static str,

        /// Error of the operating system.
        #[source]
        source: std::io::Error,
    },

    /// The administration socket cannot be created.
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),

    /// The host key cannot be written or read.
    #[error("failed to prepare the host key for the server")]
    HostKey(#[from] HostKeyError),
}

/// A sidecar that has started: ports bound, host key written.
#[derive(Debug)]
pub struct Sidecar {
    public: SocketAddr,
    internal: SocketAddr,
    upstream: Upstream,
    grace_period_seconds: u32,
    /// Its cancellation asks clients to open connections to other Pods.
    drain: CancellationToken,
    /// Its cancellation ends all tasks.
    end: CancellationToken,
    tasks: JoinSet<()>,
    /// The export of traces. It ends at once without a collector.
    traces: JoinHandle<()>,
    traces_end: CancellationToken,
}

impl Sidecar {
    /// Writes the host key, builds the services, binds both ports and starts the tasks. `/startupz` answers 200
    /// only after all of it.
    pub async fn start(
        loaded: ConfigFile<SidecarConfig>,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let mut bytes = [0; 32];
        environment.random.fill(&mut bytes);
        let host_key = HostKey::establish(&loaded.config.host_key_file, &bytes)?;
        let services = Arc::new(Services::new(loaded, environment, &host_key)?);
        let config = &services.config;

        let public_listener = bind(config.listen.public, "listen.public").await?;
        let internal_listener = bind(config.listen.internal, "listen.internal").await?;
        let public = public_listener.local_addr().unwrap_or(config.listen.public);
        let internal = internal_listener.local_addr().unwrap_or(config.listen.internal);

        let admin_listener = admin::bind(&config.admin_socket)?;

        let end = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let probe_loop = ProbeLoop {
            probe_results: Arc::clone(&services.probe_results),
            metrics: Arc::clone(&services.metrics),
            clock: Arc::clone(&services.clock),
            random: Arc::clone(&services.random),
            stop: end.clone(),
        };
        let federation = FederationProbe::new(services.entra.clone(), config);
        tasks.spawn(
            probe_loop
                .clone()
                .federation(federation, services.federation_trigger.clone()),
        );
        if let Some(probe) = TenantProbe::of(config).map_err(ServicesError::Trust)? {
            tasks.spawn(probe_loop.clone().tenant(probe));
        }
        tasks.spawn(probe_loop.handshake(HandshakeProbe::new(services.upstream.clone())));
        let (stop, keyring) = (end.clone(), Arc::clone(&services.keyring));
        tasks.spawn(async move {
            stop.run_until_cancelled(keyring.follow(KEYRING_INTERVAL)).await;
        });
        let (stop, sessions) = (end.clone(), Arc::clone(&services.sessions));
        tasks.spawn(async move {
            stop.run_until_cancelled(sessions.follow_remote_ends()).await;
        });
        let (stop, sessions) = (end.clone(), Arc::clone(&services.sessions));
        tasks.spawn(async move {
            stop.run_until_cancelled(sessions.follow_revocations()).await;
        });
        let (stop, admin) = (end.clone(), admin::router(Arc::clone(&services)));
        tasks.spawn(async move {
            let serve = axum::serve(admin_listener, admin).into_future();
            stop.run_until_cancelled(serve).await;
        });
        let traces_end = CancellationToken::new();
        let traces = tokio::spawn(services.export_traces(traces_end.clone()));
        let grace_period_seconds = config.termination_grace_period_seconds;
        let finish = drain::drain_limit(grace_period_seconds);
        tasks.spawn(serve_and_drain(
            public_listener,
            router::public_port(&services),
            public_limits(finish),
            services.drain.clone(),
            end.clone(),
        ));
        tasks.spawn(serve(
            internal_listener,
            router::internal_router(Arc::clone(&services)),
            Limits::probes(finish),
            end.clone(),
        ));
        services.mark_started();
        let ObjectIdentity { namespace, name, .. } = &config.object;
        tracing::info!(
            mcp_server.name = format!("{namespace}/{name}"),
            public.port = public.port(),
            internal.port = internal.port(),
            "Started the sidecar of {namespace}/{name}"
        );
        Ok(Self {
            public,
            internal,
            upstream: services.upstream.clone(),
            grace_period_seconds,
            drain: services.drain.clone(),
            end,
            tasks,
            traces,
            traces_end,
        })
    }

    /// The bound address of the public port.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// The bound address of the internal port.
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// Serves until the server has stopped, then stops.
    pub async fn stop_after_server(self) {
        self.drain.cancel();
        let limit = drain::server_limit(self.grace_period_seconds);
        drain::wait_for_server(&self.upstream, limit).await;
        self.stop().await;
    }

    /// Accepts no new requests, lets the requests in flight finish, and returns.
    pub async fn stop(mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
        // Last, so that the collector gets the spans of the last requests.
        self.traces_end.cancel();
        // It fails only if it panicked, and then there is nothing to wait for.
        let _ = self.traces.await;
    }
}

pub(crate) fn public_limits(finish: Duration) -> Limits {
    Limits {
        connections: PUBLIC_CONNECTIONS,
        when_full: WhenFull::CloseIdle,
        first_bytes: FIRST_BYTES,
        head: HEAD,
        head_bytes: HEAD_BYTES,
        keep_alive: true,
        write: WRITE,
        finish,
        http2: Some(HTTP2),
    }
}

async fn bind(address: SocketAddr, field: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Bind {
            address,
            field,
            source,
        })
}
