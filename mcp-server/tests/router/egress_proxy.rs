//! The server reaches Entra and Azure DevOps through the proxy of the installation.

use std::net::SocketAddr;

use behalf_contract::{AzureDevOpsEndpoints, EgressProxy, ExchangePlace, Injection, ServerConfig};
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::connect_proxy::ConnectProxy;
use behalf_simulators::entra::RequestKind;
use serde_json::json;
use url::Url;

use crate::support::World;

const AZURE: &str = "devops.example";
const ENTRA: &str = "entra.example";

/// A proxy that inspects TLS, and its certificate authority.
struct Inspecting {
    proxy: ConnectProxy,
    bundle: tempfile::NamedTempFile,
}

impl Inspecting {
    async fn start(host: &str, address: SocketAddr) -> Self {
        let authority = CertificateAuthority::generate("Proxy").unwrap();
        let identity = authority.issue(&[host]).unwrap();
        let bundle = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(bundle.path(), authority.certificate_pem()).unwrap();
        let destination = format!("{host}:443");
        let proxy = ConnectProxy::intercepting(&[(&destination, address)], &identity).await;
        let proxy = proxy.unwrap();
        Self { proxy, bundle }
    }

    /// Azure DevOps is at a host outside of the cluster, and the server uses the proxy.
    fn configure(&self, config: &mut ServerConfig) {
        let base = Url::parse(&format!("https://{AZURE}")).unwrap();
        config.azure_dev_ops.endpoints = AzureDevOpsEndpoints {
            core: base.clone(),
            release: base.clone(),
            identity: base,
        };
        config.certificate_authority_file = Some(self.bundle.path().to_owned());
        config.egress_proxy = Some(EgressProxy {
            https: self.proxy.url().parse().unwrap(),
            no_proxy: Vec::new(),
        });
    }
}

#[tokio::test]
async fn azure_devops_is_reached_through_a_proxy_that_inspects_tls() {
    let world = World::start().await;
    let inspecting = Inspecting::start(AZURE, world.azure_address()).await;
    let pod = world.pod_with(ExchangePlace::Sidecar, Injection::Header, |config| {
        inspecting.configure(config);
    });
    let token = world.azure_token("ana").await;
    let answer = pod.call(&token, "list_pipeline_runs", json!({"top": 1})).await;
    assert!(answer.structured().is_object());
    let asked = inspecting.proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|host| *host == format!("{AZURE}:443")),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_server_that_exchanges_reaches_entra_through_the_proxy() {
    let world = World::start_at(&format!("https://{ENTRA}")).await;
    let inspecting = Inspecting::start(ENTRA, world.entra_address()).await;
    let pod = world.pod_with(ExchangePlace::Server, Injection::Header, |config| {
        inspecting.configure(config);
    });
    let token = world.user_token("ana").await;
    // The proxy does not know Azure DevOps, which is asked after the exchange.
    pod.call(&token, "list_pipeline_runs", json!({"top": 1}))
        .await
        .tool_error();
    let exchanges = world.entra().requests_of(RequestKind::OnBehalfOf).await.unwrap();
    assert_eq!(exchanges.len(), 1);
    let asked = inspecting.proxy.asked();
    assert!(asked.contains(&format!("{ENTRA}:443")), "{asked:?}");
    assert!(asked.contains(&format!("{AZURE}:443")), "{asked:?}");
}
