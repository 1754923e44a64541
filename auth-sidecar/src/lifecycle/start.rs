//! The wiring: what is read, bound and written, in which order, until the process is asked to end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use behalf_contract::{ObjectIdentity, SidecarConfig, StoreConfig, StoreKind, paths};
use behalf_entra::{
    Assertion, Clock, EntraClient, HttpLimits, Settings, SettingsError, TrustError, TrustRoots, sign_in_scope,
};
use behalf_runtime::{ConfigFile, Http2Limits, Limits, WhenFull, serve};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::clients::{Clients, StaticClientError};
use crate::host_key::{HostKey, HostKeyError};
use crate::http::internal_port::InternalState;
use crate::http::public_url::Addresses;
use crate::http::router;
use crate::keys::{KeyringFileError, KeyringHandle, Random};
use crate::lifecycle::drain;
use crate::oauth::{AuthorizationServer, ServerParts};
use crate::observe::{FederationProbe, HandshakeProbe, ProbeTrigger, StatusBoard, Watch};
use crate::proxy::Proxy;
use crate::sessions::{SessionRules, Sessions};
use crate::state::{AppState, Parts};
use crate::store::{MemoryLimits, MemoryStore, SessionStore};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{NotLoopback, Upstream};

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

/// How often the keyring file is looked at; the kubelet itself takes up to a minute to bring a new one.
const KEYRING_INTERVAL: Duration = Duration::from_secs(5);

/// The inputs of the process beside its configuration.
#[derive(Clone)]
pub struct Environment {
    /// The projected token.
    pub federated_token_file: Option<PathBuf>,

    /// The time.
    pub clock: Arc<dyn Clock>,

    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Why the sidecar did not start. Each says what to do, and the kubelet starts it again meanwhile.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `AZURE_FEDERATED_TOKEN_FILE`
    #[error(
        "{} is not set: mount a projected ServiceAccount token and name its file there",
        paths::FEDERATED_TOKEN_VARIABLE
    )]
    NoFederatedToken,

    /// The application's settings.
    #[error("the configuration's section entra cannot be used")]
    Entra(#[source] SettingsError),

    /// The CA bundle.
    #[error("the configuration's entra.certificateAuthorityFile cannot be used")]
    Trust(#[source] TrustError),

    /// The keyring.
    #[error("the configuration's keyringFile cannot be used")]
    Keyring(#[from] KeyringFileError),

    /// A static client.
    #[error("the configuration's clients.static cannot be used")]
    StaticClient(#[from] StaticClientError),

    /// A port.
    #[error("failed to listen on {address} ({field}): end what holds the port, or configure another one")]
    Bind {
        /// The address.
        address: SocketAddr,

        /// The field of the configuration.
        field: &'static str,

        /// The cause.
        #[source]
        source: std::io::Error,
    },

    /// The host key.
    #[error("the server cannot be given its host key")]
    HostKey(#[from] HostKeyError),

    /// The server's address.
    #[error("the configuration's upstream cannot be used")]
    Upstream(#[from] NotLoopback),
}

/// A sidecar that has started: ports bound, host key written.
#[derive(Debug)]
pub struct Sidecar {
    public: SocketAddr,
    internal: SocketAddr,
    upstream: Upstream,
    grace_period_seconds: u32,
    /// Ends what serves the public port, then the rest.
    end: CancellationToken,
    tasks: JoinSet<()>,
}

impl Sidecar {
    /// Starts everything, in the order that the Pod relies on: what is read, the ports, the host key, and only
    /// then `/startupz` says so.
    pub async fn start(
        loaded: ConfigFile<SidecarConfig>,
        environment: Environment,
    ) -> Result<Self, StartError> {
        let ConfigFile { config, digest } = loaded;
        let config = Arc::new(config);
        let foundation = Foundation::lay(&config, &environment)?;

        let public_listener = bind(config.listen.public, "listen.public").await?;
        let internal_listener = bind(config.listen.internal, "listen.internal").await?;
        let public = public_listener.local_addr().unwrap_or(config.listen.public);
        let internal = internal_listener.local_addr().unwrap_or(config.listen.internal);

        let mut bytes = Zeroizing::new([0; 32]);
        environment.random.fill(bytes.as_mut());
        let host_key = HostKey::establish(&config.host_key_file, &bytes)?;
        let upstream = Upstream::new(&config.upstream, &host_key)?;

        let Foundation {
            entra,
            keyring,
            sessions,
            store_kind,
            server,
            metrics,
            trigger,
        } = foundation;
        let board = Arc::new(StatusBoard::default());
        let end = CancellationToken::new();
        let started = Arc::new(AtomicBool::new(false));
        let for_inside = router::internal_router(InternalState {
            configuration_digest: digest.into(),
            started: Arc::clone(&started),
            upstream: upstream.clone(),
            keyring: Arc::clone(&keyring),
            sessions: Arc::clone(&sessions),
            store_kind,
            board: Arc::clone(&board),
            sign_ins: Arc::clone(server.sign_ins()),
            metrics: Arc::clone(&metrics),
        });
        let for_clients = router::public_router(AppState::new(Parts {
            proxy: Proxy::new(&config, upstream.clone(), entra.clone()),
            config: Arc::clone(&config),
            sessions,
            server,
            metrics: Arc::clone(&metrics),
            federation_trigger: trigger.clone(),
        }));

        let mut tasks = JoinSet::new();
        let Environment { clock, random, .. } = environment;
        let watch = Watch {
            board,
            metrics,
            clock,
            random,
            stop: end.clone(),
        };
        tasks.spawn(
            watch
                .clone()
                .federation(FederationProbe::new(entra, &config), trigger),
        );
        tasks.spawn(watch.handshake(HandshakeProbe::new(upstream.clone())));
        let stop = end.clone();
        tasks.spawn(async move {
            stop.run_until_cancelled(keyring.follow(KEYRING_INTERVAL)).await;
        });
        let grace_period_seconds = config.termination_grace_period_seconds;
        let finish = drain::drain_limit(grace_period_seconds);
        tasks.spawn(serve(
            public_listener,
            for_clients,
            public_limits(finish),
            end.clone(),
        ));
        tasks.spawn(serve(
            internal_listener,
            for_inside,
            Limits::probes(finish),
            end.clone(),
        ));
        started.store(true, Ordering::Release);
        let ObjectIdentity { namespace, name, .. } = &config.object;
        tracing::info!(
            mcp_server.namespace = namespace,
            mcp_server.name = name,
            public.port = public.port(),
            internal.port = internal.port(),
            "Started the sidecar of {namespace}/{name}"
        );
        Ok(Self {
            public,
            internal,
            upstream,
            grace_period_seconds,
            end,
            tasks,
        })
    }

    /// Where the public port is.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// Where the internal port is.
    pub fn internal(&self) -> SocketAddr {
        self.internal
    }

    /// Goes on serving while the server does, then stops.
    pub async fn stop_after_server(self) {
        drain::server_gone(&self.upstream, drain::patience(self.grace_period_seconds)).await;
        self.stop().await;
    }

    /// Takes nothing new, lets open requests finish, ends.
    pub async fn stop(mut self) {
        self.end.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn public_limits(finish: Duration) -> Limits {
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

/// The state that exists before any port is open.
struct Foundation {
    entra: EntraClient,
    keyring: Arc<KeyringHandle>,
    sessions: Arc<Sessions>,
    store_kind: StoreKind,
    server: Arc<AuthorizationServer>,
    metrics: Arc<Metrics>,
    trigger: ProbeTrigger,
}

impl Foundation {
    fn lay(config: &SidecarConfig, environment: &Environment) -> Result<Self, StartError> {
        let Environment {
            federated_token_file,
            clock,
            random,
        } = environment;
        let settings = Settings::new(
            &config.entra.authority,
            &config.entra.tenant_id,
            &config.entra.client_id,
        )
        .map_err(StartError::Entra)?;
        let assertion = Assertion::File(federated_token_file.clone().ok_or(StartError::NoFederatedToken)?);
        let roots = match &config.entra.certificate_authority_file {
            Some(path) => TrustRoots::with_bundle(path),
            None => TrustRoots::system(),
        };
        let http = roots
            .http_client(HttpLimits::default())
            .map_err(StartError::Trust)?;
        let entra = EntraClient::new(settings, assertion, http, Arc::clone(clock));

        let (path, object) = (&config.keyring_file, config.object.qualified_name());
        let keyring = Arc::new(KeyringHandle::load(
            path,
            object,
            Arc::clone(clock),
            Arc::clone(random),
        )?);
        let clients = Arc::new(Clients::new(
            &config.clients,
            Arc::clone(&keyring),
            Arc::clone(clock),
        )?);
        let (store, store_kind) = open_store(&config.sessions.store, clock);
        let resource = Addresses::new(&config.public_url).resource().to_owned();
        let rules = SessionRules::new(&config.sessions, resource, sign_in_scope(&config.entra.scope));
        let sessions = Arc::new(Sessions::new(
            rules,
            Arc::clone(&keyring),
            store,
            entra.clone(),
            Arc::clone(clock),
            Arc::clone(random),
        ));
        let parts = ServerParts {
            keyring: Arc::clone(&keyring),
            clients,
            sessions: Arc::clone(&sessions),
            entra: entra.clone(),
            clock: Arc::clone(clock),
            random: Arc::clone(random),
        };
        let (metrics, trigger) = (Arc::new(Metrics::default()), ProbeTrigger::default());
        let server =
            AuthorizationServer::new(config, parts).observed_by(Arc::clone(&metrics), trigger.clone());
        Ok(Self {
            entra,
            keyring,
            sessions,
            store_kind,
            server: Arc::new(server),
            metrics,
            trigger,
        })
    }
}

fn open_store(config: &StoreConfig, clock: &Arc<dyn Clock>) -> (Arc<dyn SessionStore>, StoreKind) {
    match config {
        StoreConfig::Memory => (
            Arc::new(MemoryStore::new(MemoryLimits::default(), Arc::clone(clock))),
            StoreKind::Memory,
        ),
    }
}
