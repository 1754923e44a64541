//! Serves the simulators as Pods do: `behalf-simulator entra`, `behalf-simulator azure-devops`, and the
//! conformance suite's fixtures: `behalf-simulator fixture-server`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use behalf_simulators::azure_devops::{
    AzureDevOpsOptions, AzureDevOpsSimulator, Clock, Endpoints, Issuer, Ports,
};
use behalf_simulators::entra::{Directory, EntraSimulator, EntraSimulatorOptions, IssuerAccess};
use behalf_simulators::fixture_server;
use behalf_simulators::listener::TlsIdentity;
use behalf_simulators::people::TENANT_ID;
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use url::Url;

/// Simulators of Entra and Azure DevOps. For tests and demos: no account, no data and no protection is real.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    service: Service,
}

#[derive(Subcommand)]
enum Service {
    /// One Entra tenant.
    Entra(Box<EntraArgs>),

    /// One Azure DevOps organization.
    AzureDevops(Box<AzureDevOpsArgs>),

    /// An MCP server with the tools that the public conformance suite calls.
    FixtureServer(FixtureServerArgs),
}

/// Certificate and key of a TLS port.
#[derive(Args)]
struct TlsArgs {
    /// PEM file with the certificate chain; without it the port speaks plain HTTP.
    #[arg(long, requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// PEM file with the private key.
    #[arg(long, requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    fn identity(&self) -> Result<Option<TlsIdentity>, Box<dyn Error>> {
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Ok(Some(TlsIdentity::from_files(certificate, key)?)),
            _ => Ok(None),
        }
    }
}

#[derive(Args)]
struct EntraArgs {
    /// Tenant id.
    #[arg(long, default_value = TENANT_ID)]
    tenant_id: String,

    /// Address of Entra's endpoints.
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: SocketAddr,

    #[command(flatten)]
    tls: TlsArgs,

    /// The URL by which other Pods reach that port, for example `https://entra.simulators.svc:8443`.
    #[arg(long)]
    public_base: Option<Url>,

    /// Address of the browser's pages, without TLS.
    #[arg(long)]
    browser_listen: Option<SocketAddr>,

    /// The URL by which a browser reaches those pages, for example `http://localhost:8081`.
    #[arg(long)]
    browser_base: Option<Url>,

    /// Address of the control port. It has no protection: keep it inside the test's network.
    #[arg(long, default_value = "0.0.0.0:9000")]
    control_listen: SocketAddr,

    /// YAML or JSON file with the directory to start with.
    #[arg(long)]
    directory: Option<PathBuf>,

    /// Seconds for which a new federated credential propagates: every second request that presents it is refused. Absent:
    /// as the directory says.
    #[arg(long)]
    federation_propagation_seconds: Option<u64>,

    /// Issuer of the cluster's `ServiceAccount` tokens, exactly as they name it. Absent, in a Pod: the issuer
    /// of the Pod's own token, read from the API server with that token.
    #[arg(long)]
    cluster_issuer: Option<String>,

    /// The address to fetch that issuer's documents from.
    #[arg(long, requires = "cluster_issuer")]
    cluster_issuer_base: Option<Url>,

    /// PEM file of the authority that signs the API server's certificate.
    #[arg(long, requires = "cluster_issuer")]
    cluster_ca: Option<PathBuf>,

    /// File with the token to show to the API server.
    #[arg(long, requires = "cluster_issuer")]
    cluster_token_file: Option<PathBuf>,
}

impl EntraArgs {
    fn options(self) -> Result<EntraSimulatorOptions, Box<dyn Error>> {
        let mut directory = match &self.directory {
            Some(path) => serde_yaml::from_str(&std::fs::read_to_string(path)?)?,
            None => Directory::contoso(),
        };
        if let Some(seconds) = self.federation_propagation_seconds {
            directory.settings.federation_propagation_seconds = seconds;
        }
        let cluster = match self.cluster_issuer {
            Some(issuer) => Some(IssuerAccess {
                issuer,
                base: self.cluster_issuer_base,
                certificate_authority_file: self.cluster_ca,
                bearer_token_file: self.cluster_token_file,
            }),
            None => IssuerAccess::of_own_cluster(),
        };
        directory.issuers.extend(cluster);
        Ok(EntraSimulatorOptions {
            tenant_id: self.tenant_id,
            directory,
            listen: self.listen,
            tls: self.tls.identity()?,
            public_base: self.public_base,
            browser_listen: self.browser_listen,
            browser_base: self.browser_base,
            control_listen: self.control_listen,
        })
    }
}

#[derive(Args)]
struct AzureDevOpsArgs {
    /// Tenant the organization belongs to.
    #[arg(long, default_value = TENANT_ID)]
    tenant_id: String,

    /// Address of all three services. The path decides which one is meant.
    #[arg(long, default_value = "0.0.0.0:8443")]
    listen: SocketAddr,

    #[command(flatten)]
    tls: TlsArgs,

    /// The URL by which other Pods reach that port.
    #[arg(long)]
    public_base: Option<Url>,

    /// Address of the control port. It has no protection: keep it inside the test's network.
    #[arg(long, default_value = "0.0.0.0:9000")]
    control_listen: SocketAddr,

    /// Authority whose tokens are believed.
    #[arg(long)]
    entra: Url,

    /// PEM file of an authority to trust for that address, beside the system's.
    #[arg(long)]
    certificate_authority: Option<PathBuf>,
}

impl AzureDevOpsArgs {
    fn options(self) -> Result<AzureDevOpsOptions, Box<dyn Error>> {
        Ok(AzureDevOpsOptions {
            issuer: Issuer {
                authority: self.entra,
                tenant_id: self.tenant_id,
                certificate_authority: self.certificate_authority,
            },
            clock: Clock::system(),
            ports: Ports::Shared(self.listen),
            tls: self.tls.identity()?,
            endpoints: self.public_base.map(|base| Endpoints {
                core: base.clone(),
                release: base.clone(),
                identity: base,
            }),
            control_listen: self.control_listen,
        })
    }
}

#[derive(Args)]
struct FixtureServerArgs {
    /// Address of MCP, at `/mcp`.
    #[arg(long)]
    listen: SocketAddr,

    /// Address for the kubelet's probes.
    #[arg(long)]
    probes_listen: SocketAddr,

    /// The command that the Pod template gives to the built-in server, whose place this one takes.
    #[arg(hide = true)]
    command: Option<String>,
}

async fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    // The handler exists before the ports are reported as ready, so no signal is lost.
    let terminate = signal(SignalKind::terminate())?;
    match cli.service {
        Service::Entra(args) => {
            let simulator = EntraSimulator::start(args.options()?).await?;
            tracing::info!(
                authority = %simulator.authority(),
                listen.address = %simulator.address(),
                control.address = %simulator.control().base(),
                "Entra simulator serves tenant {}", simulator.tenant_id()
            );
            stopped(terminate).await?;
        }
        Service::AzureDevops(args) => {
            let simulator = AzureDevOpsSimulator::start(args.options()?).await?;
            tracing::info!(
                core.url = %simulator.core_url(),
                control.address = %simulator.control().base(),
                "Azure DevOps simulator serves {}", simulator.core_url()
            );
            stopped(terminate).await?;
        }
        Service::FixtureServer(args) => {
            tokio::select! {
                served = fixture_server::serve(args.listen, args.probes_listen) => served?,
                stopped = stopped(terminate) => stopped?,
            }
        }
    }
    Ok(())
}

/// Waits for SIGTERM, as the kubelet sends it, or Ctrl-C.
async fn stopped(mut terminate: Signal) -> std::io::Result<()> {
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => interrupted,
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).init();
    match run(Cli::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = error.as_ref(), "Simulator stops: {error}");
            ExitCode::FAILURE
        }
    }
}
