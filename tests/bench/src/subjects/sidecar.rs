//! The sidecar's own binary, with a configuration as the operator writes it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use behalf_contract::{
    AccessConfig, ClientsConfig, Consent, DynamicRegistration, EntraConfig, ExchangePlace, Injection,
    MetadataDocumentsConfig, MetadataDocumentsPolicy, ObjectIdentity, ServerKind, SessionsConfig,
    SidecarConfig, SidecarListen, StaticClient, StoreConfig, TokenExchange, VendorRedirects,
};
use behalf_entra::AZURE_DEVOPS_SCOPE;
use behalf_simulators::people::{CLIENT_ID, TENANT_ID};
use tokio::time::{Instant, sleep};
use url::Url;

use crate::call::TOOLS;
use crate::connection::Connection;
use crate::cores::SubjectCore;
use crate::error::{BenchError, Step as _};
use crate::process::{Process, free_port};
use crate::surroundings::{CLIENT, REDIRECT_URI, Surroundings};

/// Asks whether gateways may send requests.
const READY: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A running sidecar.
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,

    /// Its public URL. Browsers send its cookies to this name without TLS.
    pub(crate) base: Url,

    /// From exec to 200 at `/readyz`.
    pub(crate) until_ready: Duration,
}

/// Starts a sidecar, and waits until it is ready.
pub(crate) async fn start(
    around: &Surroundings,
    core: SubjectCore,
    program: &Path,
    name: &str,
    injection: Injection,
    store: StoreConfig,
) -> Result<Sidecar, BenchError> {
    let public = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
    let base = format!("http://localhost:{}", public.port());
    let base = Url::parse(&base).step("build the public URL")?;
    around.allow_callback(&base).await?;
    let listen = SidecarListen { public, internal };
    let config = config(around, &base, listen, injection, store, name)?;
    let file = around.file(&format!("{name}.json"));
    let text = serde_json::to_string(&config).step("write the configuration")?;
    std::fs::write(&file, text).step("write the configuration")?;
    let command = [
        program.display().to_string(),
        "--config".to_owned(),
        file.display().to_string(),
        "--federated-token-file".to_owned(),
        around.file("token").display().to_string(),
    ];
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    let begin = Instant::now();
    let mut process = Process::start(name, Some(core), &command, around.folder.path())?;
    process.listens(internal).await?;
    // 503 until the start has ended.
    while Connection::open(internal).await?.call(READY).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    let until_ready = begin.elapsed();
    process.listens(public).await?;
    Ok(Sidecar {
        process,
        address: public,
        base,
        until_ready,
    })
}

fn config(
    around: &Surroundings,
    base: &Url,
    listen: SidecarListen,
    injection: Injection,
    store: StoreConfig,
    name: &str,
) -> Result<SidecarConfig, BenchError> {
    let upstream = format!("http://{}/mcp", around.server.address());
    Ok(SidecarConfig {
        object: ObjectIdentity {
            namespace: "mcp".to_owned(),
            name: "bench".to_owned(),
        },
        public_url: base.clone(),
        entra: EntraConfig {
            tenant_id: TENANT_ID.to_owned(),
            client_id: CLIENT_ID.to_owned(),
            authority: around.entra.authority(),
            scope: format!("{CLIENT_ID}/.default"),
            federation_audience: "api://AzureADTokenExchange".to_owned(),
            certificate_authority_file: None,
        },
        upstream: Url::parse(&upstream).step("build the upstream URL")?,
        tenant_address: None,
        access: AccessConfig {
            server: ServerKind::AzureDevOps {
                organization: "contoso".to_owned(),
            },
            read_only_tools: TOOLS.map(|(tool, _)| tool.to_owned()).into(),
            writes: true,
        },
        token_exchange: TokenExchange {
            at: ExchangePlace::Sidecar,
            scope: Some(AZURE_DEVOPS_SCOPE.to_owned()),
            injection,
        },
        sessions: SessionsConfig {
            access_token_lifetime_seconds: 3600,
            idle_lifetime_seconds: 1_209_600,
            maximum_lifetime_seconds: 7_776_000,
            refresh_grace_seconds: 120,
            store,
        },
        clients: ClientsConfig {
            dynamic_registration: DynamicRegistration::Enabled,
            metadata_documents: MetadataDocumentsConfig {
                policy: MetadataDocumentsPolicy::Enabled,
                allowed_hosts: Vec::new(),
                hosts_by_name: Vec::new(),
            },
            vendor_redirects: VendorRedirects::Enabled,
            additional_redirect_hosts: Vec::new(),
            r#static: vec![StaticClient {
                client_id: CLIENT.to_owned(),
                display_name: "Bench".to_owned(),
                redirect_uris: vec![REDIRECT_URI.to_owned()],
            }],
            denied: Vec::new(),
            consent: Consent::Always,
            entra_token_clients: Vec::new(),
        },
        trusted_proxies: Vec::new(),
        tracing: None,
        egress_proxy: None,
        listen,
        keyring_file: around.file("keyring.json"),
        revocations_file: around.file("revocations.json"),
        host_key_file: around.file(&format!("{name}-host-key")),
        admin_socket: around.file(&format!("{name}-admin.sock")),
        termination_grace_period_seconds: 60,
    })
}
