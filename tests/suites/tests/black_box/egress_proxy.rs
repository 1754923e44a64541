//! The proxy of the installation: Entra and Azure DevOps are on the internet, which Pods reach through the proxy alone.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use behalf_demo::forward::Forward;
use behalf_demo::mcp_client::{CLIENT_NAME, Era, PendingSignIn};
use behalf_local_cluster::cluster::Cluster;
use behalf_simulators::azure_devops::{
    AzureDevOpsOptions, AzureDevOpsSimulator, Endpoints, Issuer, ORGANIZATION, Ports,
};
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::connect_proxy::ConnectProxy;
use behalf_simulators::entra::{Directory, EntraSimulator, EntraSimulatorOptions, IssuerAccess, RequestKind};
use behalf_simulators::people::{ANA, CLIENT_ID, TENANT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::ensure;
use crate::own_release::OwnRelease;
use crate::scratch_server::forwarding;
use crate::world::{TestResult, World};

crate::tests![OwnNamespaces: [login_and_tool_calls_go_through_the_proxy_of_the_installation]];

const NAMESPACE: &str = "egress";
const NAME: &str = "azure-devops";

/// The port of `publicUrl` on this machine.
const PORT: u16 = 8595;

/// Names that nobody resolves but the proxy.
const ENTRA: &str = "login.egress.example";
const AZURE_DEVOPS: &str = "dev.egress.example";

async fn login_and_tool_calls_go_through_the_proxy_of_the_installation(world: &World) -> TestResult {
    let allowed = json!({"allowed": {"entraHosts": [ENTRA], "azureDevOpsHosts": [AZURE_DEVOPS]}});
    let release = OwnRelease::install(world, NAMESPACE, &allowed).await?;
    let internet = Internet::start(&world.running.cluster).await?;
    release.apply(internet.objects()).await?;
    release.create_credential(&internet.entra.control(), NAME).await?;

    // Without the proxy there is no way: the simulators get no request that does not come from it.
    release
        .wait(NAME, "FederationVerified=Unknown/Unreachable", |now| {
            now.get("FederationVerified")
                .is_some_and(|found| found.status == "Unknown" && found.reason == "Unreachable")
        })
        .await?;
    let before = internet.proxy.asked();
    ensure!(before.is_empty(), "a Pod found the proxy by itself: {before:?}");
    let requests = internet.entra.control().requests().await?;
    ensure!(
        requests.is_empty(),
        "Entra was reached without the proxy: {requests:?}"
    );

    release
        .change(&json!({"proxy": {"https": internet.proxy.url()}}))
        .await?;
    release.wait(NAME, "Ready", |now| now.is("Ready", "True")).await?;
    let forward = Forward {
        local: PORT,
        namespace: NAMESPACE.to_owned(),
        service: NAME.to_owned(),
        port: 8080,
    };
    forwarding(world, forward, sign_in_and_call(world)).await?;
    internet.was_asked_for_both_alone()?;
    internet.saw_the_user().await
}

async fn sign_in_and_call(world: &World) -> TestResult {
    let mcp = Url::parse(&format!("http://localhost:{PORT}/mcp"))?;
    let pending = PendingSignIn::begin(&mcp).await?;
    let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).client_name(CLIENT_NAME);
    let back = Browser::new()?.sign_in(&visit).await?;
    let signed_in = pending.finish(&back.redirect).await?;
    world.remember_unrecorded(&signed_in).await?;
    let connection = signed_in.connect(Era::Modern).await?;
    let mut results = Vec::new();
    for tool in ["list_pipeline_runs", "list_deployments"] {
        results.push((tool, connection.call(tool, json!({"project": "shop"})).await));
    }
    connection.close().await;
    for (tool, result) in results {
        let result = result?;
        ensure!(
            result.is_error != Some(true),
            "{tool} failed: {}",
            behalf_demo::text(&result)
        );
    }
    Ok(())
}

/// Both simulators at loopback addresses of this machine, which no Pod reaches, and the proxy, which every Pod reaches.
struct Internet {
    entra: EntraSimulator,
    azure_devops: AzureDevOpsSimulator,
    proxy: ConnectProxy,
    certificate_authority: String,
    _folder: TempDir,
}

impl Internet {
    async fn start(cluster: &Cluster) -> TestResult<Self> {
        let folder = TempDir::new()?;
        let authority = CertificateAuthority::generate("Internet")?;
        let identity = authority.issue(&[ENTRA, AZURE_DEVOPS, "127.0.0.1"])?;
        let authority_file = folder.path().join("internet.pem");
        std::fs::write(&authority_file, authority.certificate_pem())?;

        let mut directory = Directory::contoso();
        directory.issuers.push(issuer_of(cluster, folder.path())?);
        let browser = free_address()?;
        let entra = EntraSimulator::start(EntraSimulatorOptions {
            directory,
            tls: Some(identity.clone()),
            public_base: Some(Url::parse(&format!("https://{ENTRA}"))?),
            browser_listen: Some(browser),
            browser_base: Some(Url::parse(&format!("http://{browser}"))?),
            ..EntraSimulatorOptions::default()
        })
        .await?;

        let address = free_address()?;
        let base = Url::parse(&format!("https://{AZURE_DEVOPS}"))?;
        let azure_devops = AzureDevOpsSimulator::start(AzureDevOpsOptions {
            issuer: Issuer {
                authority: Url::parse(&format!("https://{}", entra.address()))?,
                tenant_id: TENANT_ID.to_owned(),
                certificate_authority: Some(authority_file),
            },
            ports: Ports::Shared(address),
            tls: Some(identity),
            endpoints: Some(Endpoints {
                core: base.clone(),
                release: base.clone(),
                identity: base,
            }),
            ..AzureDevOpsOptions::new(entra.authority())
        })
        .await?;

        let host = cluster
            .host_address()
            .ok_or("the Pods of this kind of cluster do not reach this machine")?;
        let proxy = ConnectProxy::start_at(
            SocketAddr::new(IpAddr::V4(host), 0),
            &[(&https(ENTRA), entra.address()), (&https(AZURE_DEVOPS), address)],
        )
        .await?;
        Ok(Self {
            entra,
            azure_devops,
            proxy,
            certificate_authority: authority.certificate_pem().to_owned(),
            _folder: folder,
        })
    }

    /// An object of the article's shape, in which sidecar and server both call Entra.
    fn objects(&self) -> [Value; 2] {
        let azure_devops = format!("https://{AZURE_DEVOPS}");
        let authority = json!({"name": "internet", "key": "ca.crt"});
        [
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "internet"},
                "data": {"ca.crt": self.certificate_authority},
            }),
            json!({
                "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": NAME},
                "spec": {
                    "publicUrl": format!("http://localhost:{PORT}"),
                    "entra": {
                        "tenantId": TENANT_ID, "clientId": CLIENT_ID,
                        "authority": format!("https://{ENTRA}"), "certificateAuthorityRef": authority,
                    },
                    "server": {"azureDevOps": {
                        "organization": ORGANIZATION,
                        "endpoints": {"core": azure_devops, "release": azure_devops, "identity": azure_devops},
                    }},
                    "tokenExchange": {"at": "Server", "injection": "Argument"},
                },
            }),
        ]
    }

    fn was_asked_for_both_alone(&self) -> TestResult {
        let asked = self.proxy.asked();
        println!("    the proxy opened {} tunnels", asked.len());
        let hosts: BTreeSet<String> = asked.into_iter().collect();
        ensure!(
            hosts == BTreeSet::from([https(ENTRA), https(AZURE_DEVOPS)]),
            "the proxy was asked for {hosts:?}"
        );
        Ok(())
    }

    async fn saw_the_user(&self) -> TestResult {
        for kind in [RequestKind::AuthorizationCode, RequestKind::OnBehalfOf] {
            let requests = self.entra.control().requests_of(kind).await?;
            ensure!(!requests.is_empty(), "Entra got no request {kind:?}");
        }
        let calls = self.azure_devops.control().record().await?;
        ensure!(
            calls
                .iter()
                .any(|call| call.object_id.as_deref() == Some(ANA.object_id) && call.status == Some(200)),
            "Azure DevOps answered no call of Ana: {calls:?}"
        );
        Ok(())
    }
}

/// The destination of a tunnel.
fn https(host: &str) -> String {
    format!("{host}:443")
}

/// How this process reads the keys of the cluster's `ServiceAccount` tokens.
fn issuer_of(cluster: &Cluster, folder: &Path) -> TestResult<IssuerAccess> {
    let document = cluster.kubectl(&["get", "--raw", "/.well-known/openid-configuration"])?;
    let document: Value = serde_json::from_str(&document)?;
    let server = [
        "config",
        "view",
        "--minify",
        "--output",
        "jsonpath={.clusters[0].cluster.server}",
    ];
    let namespaced = ["--namespace", NAMESPACE];
    let kubectl = |arguments: &[&str]| cluster.kubectl(&[&namespaced[..], arguments].concat());
    let authority = [
        "get",
        "configmap",
        "kube-root-ca.crt",
        "--output",
        "jsonpath={.data.ca\\.crt}",
    ];
    let file = |name: &str, text: String| -> TestResult<_> {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        Ok(Some(path))
    };
    let issuer = document["issuer"].as_str();
    Ok(IssuerAccess {
        issuer: issuer.ok_or("the cluster's document names no issuer")?.to_owned(),
        base: Some(Url::parse(&cluster.kubectl(&server)?)?),
        certificate_authority_file: file("cluster.pem", kubectl(&authority)?)?,
        bearer_token_file: file("token", kubectl(&["create", "token", "default"])?)?,
    })
}

/// A loopback address that nobody listens on now.
fn free_address() -> TestResult<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
