//! Every part of the sidecar, built once from the configuration.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use behalf_contract::{RedisAuthentication, SidecarConfig, StoreConfig, StoreKind, endpoints, paths};
use behalf_entra::{
    Clock, EntraClient, FederatedTokenFile, HttpLimits, RetryPolicy, Settings, SettingsError, TokenRules,
    TokenSource, TokenValidator, TrustError, sign_in_scope,
};
use behalf_runtime::ConfigFile;
use behalf_runtime::trace::Tracer;
use reqwest::dns::Resolve;
use tokio_util::sync::CancellationToken;

use crate::access::AccessPolicy;
use crate::access::challenge::Challenger;
use crate::clients::{Clients, MetadataDocuments, StaticClientError};
use crate::host_key::HostKey;
use crate::http::client_address::TrustedProxies;
use crate::http::public_url::Addresses;
use crate::keys::{KeyringHandle, Random};
use crate::limits::address_budget::AddressBudgets;
use crate::limits::body_budget::MessageMemory;
use crate::limits::oauth_budgets;
use crate::mounted_file::MountedFileError;
use crate::observe::sign_ins::SignIns;
use crate::observe::{ProbeResults, ProbeTrigger};
use crate::revocations_file::RevocationsFile;
use crate::sessions::{SessionRules, Sessions};
use crate::store::{MemoryLimits, MemoryStore, ObservedStore, RedisSettingsError, RedisStore, SessionStore};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::{self, EntraRequests};
use crate::trust_roots::trust_roots;
use crate::upstream::{NotLoopback, Upstream};

/// The inputs of the process beside its configuration.
#[derive(Clone)]
pub struct Environment {
    /// The projected `ServiceAccount` token. Without one the sidecar does not start.
    pub federated_token_file: Option<PathBuf>,

    /// How often a failed request to Entra is tried again.
    pub entra_retry: RetryPolicy,

    /// The source of the current time.
    pub clock: Arc<dyn Clock>,

    /// The source of keys, ids and jitter.
    pub random: Arc<dyn Random>,

    /// Finds the addresses that a fetch of a client's metadata document may connect to. Outside of tests it is
    /// [`crate::clients::PublicAddresses`].
    pub document_resolver: Arc<dyn Resolve>,
}

/// Why the parts cannot be built. An administrator must change the configuration or the mounted files.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The environment variable of the federated token is missing.
    #[error(
        "{} is not set: mount a projected ServiceAccount token and name its file there",
        paths::FEDERATED_TOKEN_VARIABLE
    )]
    NoFederatedToken,

    /// The authority, tenant or client id is malformed.
    #[error("the configuration's section entra cannot be used")]
    Entra(#[source] SettingsError),

    /// The bundle of certificate authorities is unreadable.
    #[error("the configuration's entra.certificateAuthorityFile cannot be used")]
    Trust(#[source] TrustError),

    /// The keyring file is unreadable or malformed.
    #[error("the configuration's keyringFile cannot be used")]
    Keyring(#[source] MountedFileError),

    /// The file of revocations is unreadable or malformed. Without it, sessions that must stay ended could be used.
    #[error("the configuration's revocationsFile cannot be used")]
    Revocations(#[source] MountedFileError),

    /// A static client has no usable redirect URI.
    #[error("the configuration's clients.static cannot be used")]
    StaticClient(#[from] StaticClientError),

    /// The configured addresses of Redis cannot work.
    #[error("the configuration's sessions.store cannot be used")]
    Store(#[from] RedisSettingsError),

    /// The MCP server's address is not loopback.
    #[error("the configuration's upstream cannot be used")]
    Upstream(#[from] NotLoopback),
}

/// Contains every part of the sidecar. The handlers of both ports and the background tasks share it.
pub struct Services {
    /// The configuration that the operator wrote.
    pub config: SidecarConfig,

    /// The digest of the configuration file, which the operator compares with its own.
    pub configuration_digest: String,

    /// The source of the current time.
    pub clock: Arc<dyn Clock>,

    /// The source of keys, ids and jitter.
    pub random: Arc<dyn Random>,

    /// Seals and opens what leaves this process.
    pub keyring: Arc<KeyringHandle>,

    /// OAuth clients: static, registered, and described by a metadata document.
    pub clients: Clients,

    /// Sessions of signed-in users.
    pub sessions: Arc<Sessions>,

    /// The client of Entra's endpoints.
    pub entra: EntraClient,

    /// Checks the tokens that Entra issues at a login.
    pub validator: TokenValidator,

    /// The scope that a login requests from Entra.
    pub entra_scope: String,

    /// The addresses of this server as clients see them.
    pub addresses: Addresses,

    /// The scopes of this server, and the scopes that each tool needs.
    pub access: AccessPolicy,

    /// Writes `WWW-Authenticate`.
    pub challenger: Challenger,

    /// The proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,

    /// Cancelled when the Pod stops: clients should open connections to other Pods.
    pub drain: CancellationToken,

    /// Limits the callbacks whose code Entra does not accept.
    pub(crate) callbacks: AddressBudgets,

    /// Limits the pages that begin a login.
    pub(crate) pages: AddressBudgets,

    /// Limits the requests with a code or token.
    pub(crate) grants: AddressBudgets,

    /// The memory for messages to `/mcp` on their way in.
    pub(crate) message_memory: MessageMemory,

    /// The MCP server beside this sidecar.
    pub upstream: Upstream,

    /// Counters and gauges for Prometheus.
    pub metrics: Arc<Metrics>,

    /// Records the traces of requests. `None` without a collector.
    pub(crate) tracer: Option<Tracer>,

    /// The results of the probes.
    pub probe_results: Arc<ProbeResults>,

    /// Starts a federation probe after Entra refused this process as the application.
    pub federation_trigger: ProbeTrigger,

    /// The results of users' sign-ins and of exchanges of their tokens.
    pub sign_ins: Arc<SignIns>,

    started: AtomicBool,

    /// The answer of the last readiness probe.
    ready: AtomicBool,
}

impl Services {
    /// Builds every part that `loaded` describes. Opens no port and starts no task.
    ///
    /// # Errors
    /// [`ServicesError`] for a configuration or a mounted file that cannot be used.
    pub fn new(
        loaded: ConfigFile<SidecarConfig>,
        environment: Environment,
        host_key: &HostKey,
    ) -> Result<Self, ServicesError> {
        let store = open_store(&loaded.config, &environment)?;
        Self::with_store(loaded, environment, host_key, store)
    }

    /// As [`Services::new`], with sessions in `store` instead of the configured one.
    ///
    /// # Errors
    /// As [`Services::new`].
    pub fn with_store(
        loaded: ConfigFile<SidecarConfig>,
        environment: Environment,
        host_key: &HostKey,
        store: Arc<dyn SessionStore>,
    ) -> Result<Self, ServicesError> {
        let ConfigFile { config, digest } = loaded;
        let roots = trust_roots(&config);
        let metrics = Arc::<Metrics>::default();
        let entra = entra_client(&config, &environment, &config.entra.client_id)?
            .observed_by(Arc::new(EntraRequests(Arc::clone(&metrics))));
        let Environment {
            clock,
            random,
            document_resolver,
            ..
        } = environment;
        let keyring = KeyringHandle::load(
            &config.keyring_file,
            config.object.qualified_name(),
            Arc::clone(&clock),
            Arc::clone(&random),
        );
        let keyring = Arc::new(keyring.map_err(ServicesError::Keyring)?);
        let addresses = Addresses::new(&config.public_url);
        let access = AccessPolicy::new(&config.access);
        let entra_scope = sign_in_scope(&config.entra.scope);
        let rules = SessionRules::new(&config.sessions, addresses.resource(), &*entra_scope);
        let revocations = RevocationsFile::load(&config.revocations_file);
        let revocations = Arc::new(revocations.map_err(ServicesError::Revocations)?);
        let store = ObservedStore::of(store, Arc::clone(&metrics));
        let sessions = Sessions::new(
            rules,
            revocations,
            Arc::clone(&keyring),
            store,
            entra.clone(),
            Arc::clone(&clock),
            Arc::clone(&random),
        );
        let token_rules = TokenRules {
            required_scope: config.entra.required_scope().to_owned(),
            source: TokenSource::Entra,
            ..TokenRules::default()
        };
        let documents = MetadataDocuments::new(
            &config.clients.metadata_documents,
            (&roots, config.egress_proxy.as_ref()),
            document_resolver,
            Arc::clone(&clock),
            Arc::clone(&metrics),
        )
        .map_err(ServicesError::Trust)?;
        let tracer = match &config.tracing {
            Some(tracing) => {
                let http = roots
                    .http_client(HttpLimits::default(), config.egress_proxy.as_ref().into())
                    .map_err(ServicesError::Trust)?;
                let sources = (Arc::clone(&clock), Arc::clone(&random));
                Some(traces::tracer(tracing, http, sources, Arc::clone(&metrics)))
            }
            None => None,
        };
        let sign_ins = SignIns::new(Arc::clone(&clock), config.token_exchange.in_sidecar());
        Ok(Self {
            configuration_digest: digest,
            clients: Clients::new(
                &config.clients,
                documents,
                Arc::clone(&keyring),
                Arc::clone(&clock),
            )?,
            upstream: Upstream::new(&config.upstream, host_key)?,
            trusted_proxies: TrustedProxies::new(&config.trusted_proxies),
            challenger: Challenger::new(&addresses, access.offered()),
            drain: CancellationToken::new(),
            validator: TokenValidator::new(entra.clone(), token_rules),
            sessions: Arc::new(sessions),
            sign_ins: Arc::new(sign_ins),
            callbacks: oauth_budgets::callback_budgets(clock.now()),
            pages: oauth_budgets::page_budgets(clock.now()),
            grants: oauth_budgets::grant_budgets(clock.now()),
            message_memory: MessageMemory::of_all(),
            metrics,
            tracer,
            probe_results: Arc::default(),
            federation_trigger: ProbeTrigger::default(),
            started: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            config,
            clock,
            random,
            keyring,
            entra,
            entra_scope,
            addresses,
            access,
        })
    }

    /// The kind of store that the configuration selects.
    pub fn store_kind(&self) -> StoreKind {
        match self.config.sessions.store {
            StoreConfig::Memory => StoreKind::Memory,
            StoreConfig::Redis(_) => StoreKind::Redis,
        }
    }

    /// Sends the traces to the collector until `stop` is cancelled and the last spans are sent. Returns at once without a
    /// collector. Cancel `stop` after the last request has ended.
    pub fn export_traces(&self, stop: CancellationToken) -> impl Future<Output = ()> + Send + use<> {
        let export = self.tracer.clone().map(|tracer| tracer.export(stop));
        async move {
            if let Some(export) = export {
                export.await;
            }
        }
    }

    /// Reports success at `/startupz` from now on: the configuration is read, both ports are bound and the host
    /// key is written. It must not wait for the server: the kubelet starts the server only after this sidecar
    /// has started.
    pub fn mark_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Returns whether [`Services::mark_started`] was called.
    pub fn has_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Stores the answer of a readiness probe.
    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// Returns whether gateways may send requests to this Pod: the last readiness probe succeeded, and the Pod does not stop.
    pub(crate) fn takes_requests(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.drain.is_cancelled()
    }

    /// The redirect URI at Entra, registered there on platform Web.
    pub(crate) fn callback(&self) -> String {
        self.addresses.endpoint(endpoints::CALLBACK)
    }
}

/// Makes the client of one application, which this Pod's `ServiceAccount` token proves.
fn entra_client(
    config: &SidecarConfig,
    environment: &Environment,
    client_id: &str,
) -> Result<EntraClient, ServicesError> {
    let entra = &config.entra;
    let settings =
        Settings::new(&entra.authority, &entra.tenant_id, client_id).map_err(ServicesError::Entra)?;
    let token_file = environment.federated_token_file.clone();
    let assertion = FederatedTokenFile::new(token_file.ok_or(ServicesError::NoFederatedToken)?);
    let http = trust_roots(config)
        .http_client(HttpLimits::default(), config.egress_proxy.as_ref().into())
        .map_err(ServicesError::Trust)?;
    Ok(EntraClient::with_retry_policy(
        settings,
        assertion,
        http,
        Arc::clone(&environment.clock),
        environment.entra_retry,
    ))
}

fn open_store(
    config: &SidecarConfig,
    environment: &Environment,
) -> Result<Arc<dyn SessionStore>, ServicesError> {
    let redis = match &config.sessions.store {
        StoreConfig::Memory => {
            let clock = Arc::clone(&environment.clock);
            return Ok(Arc::new(MemoryStore::new(MemoryLimits::default(), clock)));
        }
        StoreConfig::Redis(redis) => redis,
    };
    // A client of its own: the pauses of users' requests to Entra do not concern it.
    let entra = match &redis.authentication {
        RedisAuthentication::Entra { client_id, .. } => {
            let client_id = client_id.as_ref().unwrap_or(&config.entra.client_id);
            Some(entra_client(config, environment, client_id)?)
        }
        RedisAuthentication::None | RedisAuthentication::Secret { .. } => None,
    };
    Ok(Arc::new(RedisStore::new(redis, &config.object, entra)?))
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Services")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
