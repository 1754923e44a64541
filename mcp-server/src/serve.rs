//! Starts the server in one of its three modes, and stops it on a signal.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use behalf_contract::{ExchangePlace, Injection, ServerConfig, endpoints, paths};
use behalf_entra::{
    Clock, EntraClient, FederatedTokenFile, HttpLimits, OnBehalfOf, Proxies, Settings, SettingsError,
    SystemClock, TokenRequestObserver, TokenRules, TokenValidator, TrustError, TrustRoots,
};
use behalf_runtime::{Limits, LogFormat, LogLevel, Logging, Signals, WhenFull, serve, warn_of_ignored_proxy};
use rmcp::ServiceExt as _;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Credentials};
use crate::azure_cli::{AzureCli, AzureCliError};
use crate::cli::{Cli, Command, Local};
use crate::config::{self, ConfigError};
use crate::hop::{self, Hop, HostKey, HostKeyError, IncomingToken};
use crate::metrics::Metrics;
use crate::probes::{self, Readiness};
use crate::stdio::{self, CheckedStdio};

/// Time limits of requests to Azure DevOps, which delays answers to busy users by up to 30 seconds.
const AZURE_DEVOPS: HttpLimits = HttpLimits {
    connect: Duration::from_secs(5),
    request: Duration::from_secs(40),
};

/// Limits of the MCP port. Only the sidecar connects to it, or on a laptop the programs of one person. The sidecar
/// closes idle connections after seconds, so the server never closes one while a request arrives.
const MCP: Limits = Limits {
    connections: 1024,
    when_full: WhenFull::CloseIdle,
    first_bytes: Duration::from_secs(30),
    head: Duration::from_secs(90),
    // The sidecar's limit for request heads, plus the size of a token of Entra.
    head_bytes: 128 * 1024,
    keep_alive: true,
    write: Duration::from_mins(1),
    finish: FINISH,
    http2: None,
};

/// Time in which a stopping server finishes its calls. Each call ends within 45 s.
const FINISH: Duration = Duration::from_secs(50);

/// Maximum size of the cached downstream tokens in bytes: 10,000 tokens of 3 KiB, one for each session of a Pod within
/// an hour.
const TOKENS: u64 = 32 * 1024 * 1024;

/// Why the server does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The settings of the Entra application are not valid.
    #[error("the Entra application is not usable")]
    Settings(#[from] SettingsError),

    /// The certificate authorities cannot be loaded.
    #[error(transparent)]
    Trust(#[from] TrustError),

    /// The host key cannot be read.
    #[error(transparent)]
    HostKey(#[from] HostKeyError),

    /// The Azure CLI cannot be used.
    #[error(transparent)]
    AzureCli(#[from] AzureCliError),

    /// The address cannot be listened on.
    #[error("failed to listen on {address}: choose a free address")]
    Listen {
        /// The address from the configuration or the flag.
        address: SocketAddr,

        /// The error of the operating system.
        #[source]
        source: io::Error,
    },

    /// The process cannot register for signals.
    #[error("failed to wait for signals")]
    Signals(#[source] io::Error),

    /// The client on standard input did not begin with the handshake of the protocol.
    #[error("the client did not begin a session")]
    Handshake(#[source] Box<rmcp::service::ServerInitializeError>),

    /// The session on standard input failed.
    #[error("the session ended abnormally")]
    Session(#[source] tokio::task::JoinError),
}

/// Runs the mode that the command line names, until a signal stops it.
pub async fn run(cli: Cli) -> Result<(), ServeError> {
    start_logging(&cli);
    match cli.command {
        Command::Serve {
            config,
            configuration_digest,
            suppress_sign_in_page,
        } => pod(&config, configuration_digest.as_deref(), suppress_sign_in_page).await,
        Command::Stdio { local } => serve_stdio(&local).await,
        Command::Http { local, listen } => http(&local, listen).await,
    }
}

/// The MCP library logs nothing: its warnings and errors repeat method names, headers and messages that
/// clients choose, and at debug it logs whole requests and answers. Its failures still reach the client as
/// answers, or this program as errors.
fn start_logging(cli: &Cli) {
    let logging = Logging {
        format: match cli.command {
            Command::Serve { .. } => LogFormat::Json,
            Command::Stdio { .. } | Command::Http { .. } => LogFormat::Text,
        },
        level: cli.log,
        ours: &["behalf_mcp_server", "behalf_entra"],
        libraries: LogLevel::Warn,
        silent: &["rmcp"],
    };
    logging.start();
}

async fn pod(path: &Path, digest: Option<&str>, suppress_sign_in_page: bool) -> Result<(), ServeError> {
    let stop = stop_on_signal()?;
    let config = config::load(path, digest)?;
    warn_of_ignored_proxy(config.egress_proxy.is_some(), std::env::vars_os());
    let app = pod_app(
        &config,
        federated_token_file(),
        suppress_sign_in_page,
        Arc::new(SystemClock),
    )?;
    let mcp = listen(config.listen.mcp).await?;
    let probes = listen(config.listen.probes).await?;
    let readiness = Readiness::default();
    readiness.set(true);
    tracing::info!(
        azure_devops.organization = config.azure_dev_ops.organization,
        token_exchange.at = ?config.token_exchange.at,
        token_exchange.injection = ?config.token_exchange.injection,
        "Serving Azure DevOps at {}, probes at {}",
        local_address(&mcp, config.listen.mcp),
        local_address(&probes, config.listen.probes)
    );
    let stopping = readiness.clone();
    let signalled = stop.clone();
    tokio::spawn(async move {
        signalled.cancelled().await;
        stopping.set(false);
        tracing::info!("Stopping, finishing the calls in progress");
    });
    // The probes answer until the last call has ended.
    let last = CancellationToken::new();
    let probes = tokio::spawn(serve(
        probes,
        probes::router(readiness, app.metrics()),
        Limits::probes(FINISH),
        last.clone(),
    ));
    let traces_end = CancellationToken::new();
    let traces = tokio::spawn(app.export_traces(traces_end.clone()));
    serve(mcp, app.router(), MCP, stop).await;
    traces_end.cancel();
    // It fails only if it panicked, and then there is nothing to wait for.
    let _ = traces.await;
    last.cancel();
    let _ = probes.await;
    tracing::info!("Stopped");
    Ok(())
}

/// Builds the server of a Pod from its configuration.
pub fn pod_app(
    config: &ServerConfig,
    federated_token: Option<PathBuf>,
    suppress_sign_in_page: bool,
    clock: Arc<dyn Clock>,
) -> Result<App, ServeError> {
    let roots = trust_roots(config.certificate_authority_file.as_deref());
    let proxies = Proxies::from(config.egress_proxy.as_ref());
    let argument = config.token_exchange.injection == Injection::Argument;
    let metrics = Arc::new(Metrics::default());
    let tracer = match &config.tracing {
        Some(tracing) => {
            let http = roots.http_client(HttpLimits::default(), proxies.clone())?;
            Some(hop::tracer(tracing, http, Arc::clone(&clock)))
        }
        None => None,
    };
    let (incoming_token, tenant) = match (
        config.token_exchange.at,
        &config.entra,
        &config.token_exchange.scope,
    ) {
        (ExchangePlace::Sidecar, entra, _) => (
            IncomingToken::Downstream { argument },
            entra.as_ref().map(|entra| entra.tenant_id.clone()),
        ),
        (ExchangePlace::Server, Some(entra), Some(scope)) => {
            let assertion = FederatedTokenFile::new(federated_token.ok_or(ConfigError::NoFederatedToken)?);
            let settings = Settings::new(&entra.authority, &entra.tenant_id, &entra.client_id)?;
            let tenant = settings.tenant_id().to_owned();
            let bundle = entra
                .certificate_authority_file
                .as_deref()
                .or(config.certificate_authority_file.as_deref());
            let http = trust_roots(bundle).http_client(HttpLimits::default(), proxies.clone())?;
            let observer: Arc<dyn TokenRequestObserver> = Arc::clone(&metrics) as _;
            let client = EntraClient::new(settings, assertion, http, clock).observed_by(observer);
            let rules = TokenRules {
                required_scope: entra.required_scope().to_owned(),
                ..TokenRules::default()
            };
            let validator = Box::new(TokenValidator::new(client.clone(), rules));
            let exchange = OnBehalfOf::new(client, scope.as_str(), TOKENS);
            (
                IncomingToken::User {
                    argument,
                    validator,
                    exchange: Box::new(exchange),
                },
                Some(tenant),
            )
        }
        (ExchangePlace::Server, _, _) => return Err(ConfigError::NoApplication.into()),
    };
    let hop = Hop::new(HostKey::load(&config.host_key_file)?, incoming_token);
    let http = roots.http_client(AZURE_DEVOPS, proxies)?;
    Ok(App::new(
        &config.azure_dev_ops,
        http,
        tenant,
        suppress_sign_in_page,
        Credentials::InnerHop(hop),
        metrics,
    )
    .traced(tracer))
}

async fn serve_stdio(local: &Local) -> Result<(), ServeError> {
    let stop = stop_on_signal()?;
    let app = local_app(local)?;
    tracing::info!(
        "Serving the Azure DevOps organization {} on standard input and output",
        local.organization
    );
    let CheckedStdio {
        input,
        output,
        written,
    } = stdio::check(tokio::io::stdin(), tokio::io::stdout());
    let outcome = serve_session(&app, (input, output), &stop).await;
    // The last answers are still to be written.
    let _ = written.await;
    outcome
}

async fn serve_session(
    app: &App,
    transport: (DuplexStream, DuplexStream),
    stop: &CancellationToken,
) -> Result<(), ServeError> {
    let session = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        session = app.server().serve(transport) => match session {
            Ok(session) => session,
            // The client closed its side before the handshake.
            Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
            Err(error) => return Err(ServeError::Handshake(Box::new(error))),
        },
    };
    let cancel = session.cancellation_token();
    let mut ended = Box::pin(session.waiting());
    let ended = tokio::select! {
        ended = &mut ended => ended,
        () = stop.cancelled() => {
            cancel.cancel();
            ended.await
        }
    };
    ended.map(|_| ()).map_err(ServeError::Session)
}

async fn http(local: &Local, address: SocketAddr) -> Result<(), ServeError> {
    config::check_listen(address)?;
    let stop = stop_on_signal()?;
    let app = local_app(local)?;
    let listener = listen(address).await?;
    tracing::info!(
        "Serving the Azure DevOps organization {} at http://{}{} with the Azure CLI's login: every program \
         that can connect to it acts as you",
        local.organization,
        local_address(&listener, address),
        endpoints::MCP
    );
    serve(listener, app.router(), MCP, stop).await;
    Ok(())
}

fn local_app(local: &Local) -> Result<App, ServeError> {
    let config = local.azure_devops();
    config::check_azure_devops(&config)?;
    let roots = trust_roots(local.certificate_authority.as_deref());
    let http = roots.http_client(AZURE_DEVOPS, Proxies::Environment)?;
    let login = AzureCli::new(local.tenant.clone(), Arc::new(SystemClock))?;
    Ok(App::new(
        &config,
        http,
        None,
        local.suppress_sign_in_page,
        Credentials::AzureCli(Arc::new(login)),
        Arc::default(),
    ))
}

fn trust_roots(bundle: Option<&Path>) -> TrustRoots {
    bundle.map_or_else(TrustRoots::system, TrustRoots::with_bundle)
}

fn federated_token_file() -> Option<PathBuf> {
    std::env::var_os(paths::FEDERATED_TOKEN_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServeError::Listen { address, source })
}

/// Returns the address with the port that the system chose for port 0.
fn local_address(listener: &TcpListener, asked: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(asked)
}

/// Returns a token that SIGTERM and SIGINT cancel.
fn stop_on_signal() -> Result<CancellationToken, ServeError> {
    let signals = Signals::listen().map_err(ServeError::Signals)?;
    Ok(signals.into_token())
}
