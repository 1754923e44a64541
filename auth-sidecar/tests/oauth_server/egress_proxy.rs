//! The sidecar reaches Entra and the hosts of metadata documents through the proxy of the installation.

use std::net::SocketAddr;
use std::sync::Arc;

use behalf_auth_sidecar::clients::PublicAddresses;
use behalf_contract::{EgressProxy, SidecarConfig};
use behalf_entra::AZURE_DEVOPS_SCOPE;
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::connect_proxy::ConnectProxy;
use behalf_simulators::entra::{EntraSimulator, EntraSimulatorOptions};
use behalf_simulators::people::{ANA, CLIENT_ID};
use reqwest::dns::{Name, Resolve, Resolving};

use crate::document_host::DocumentHost;
use crate::fixture::{REDIRECT_URI, World};

const CLIENT: &str = "https://client.example/oauth/client.json";

const ENTRA: &str = "entra.example:443";

/// Makes the sidecar use this proxy.
fn through(proxy: &ConnectProxy, no_proxy: &[&str], config: &mut SidecarConfig) {
    config.egress_proxy = Some(EgressProxy {
        https: proxy.url().parse().unwrap(),
        no_proxy: no_proxy.iter().map(|hosts| hosts.parse().unwrap()).collect(),
    });
}

/// A resolver as in a network whose name servers know no name of the internet.
struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err("no such name".into()) })
    }
}

async fn document() -> DocumentHost {
    let host = DocumentHost::start().await;
    host.publish_client(CLIENT, &[REDIRECT_URI]);
    host
}

#[tokio::test]
async fn entra_is_reached_through_a_proxy_that_inspects_tls() {
    let options = EntraSimulatorOptions {
        public_base: Some("https://entra.example".parse().unwrap()),
        ..EntraSimulatorOptions::default()
    };
    let entra = EntraSimulator::start(options).await.unwrap();
    let authority = CertificateAuthority::generate("Proxy").unwrap();
    let identity = authority.issue(&["entra.example"]).unwrap();
    let bundle = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), authority.certificate_pem()).unwrap();
    let proxy = ConnectProxy::intercepting(&[(ENTRA, entra.address())], &identity)
        .await
        .unwrap();
    let world = World::start_with(|config| {
        config.entra.authority = entra.authority();
        config.entra.certificate_authority_file = Some(bundle.path().to_owned());
        through(&proxy, &[], config);
    })
    .await;
    let credentials = [world.issuer.credential()];
    let control = entra.control();
    control
        .put_federated_credentials(CLIENT_ID, &credentials)
        .await
        .unwrap();
    let services = &world.replicas[0];
    services
        .entra
        .client_credentials(AZURE_DEVOPS_SCOPE)
        .await
        .unwrap();
    let asked = proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|host| host == ENTRA),
        "{asked:?}"
    );
}

#[tokio::test]
async fn a_host_of_the_list_is_reached_without_the_proxy() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[]).await.unwrap();
    let world = host
        .world_with(|config| through(&proxy, &[".example"], config))
        .await;
    world.login_of(CLIENT, ANA).await;
    assert_eq!(proxy.asked(), [""; 0]);
}

/// Regression: `fastmcp#4292`, where a guard that pins addresses failed behind a forward proxy.
#[tokio::test]
async fn the_proxy_is_asked_for_the_checked_address_of_a_document_that_any_host_may_have() {
    let host = document().await;
    // A proxy that knows the name would lead it elsewhere, as with DNS rebinding.
    let elsewhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let proxy = ConnectProxy::start(&[("client.example:443", elsewhere)])
        .await
        .unwrap();
    let world = host.world_with(|config| through(&proxy, &[], config)).await;
    world.login_of(CLIENT, ANA).await;
    assert_eq!(proxy.asked(), [host.address().to_string()]);
}

#[tokio::test]
async fn the_proxy_is_not_asked_for_a_host_with_an_address_that_is_not_public() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[("client.example:443", host.address())])
        .await
        .unwrap();
    let guard = Arc::new(PublicAddresses::of(Arc::new(host.resolver())));
    let world = host
        .world_resolving(guard, |config| through(&proxy, &[], config))
        .await;
    let page = world.get(&world.authorize_path(CLIENT, &[])).await;
    page.assert_page(400);
    assert_eq!(proxy.asked(), [""; 0]);
}

#[tokio::test]
async fn a_document_of_a_host_with_another_certificate_is_refused_in_a_tunnel() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[]).await.unwrap();
    let world = host.world_with(|config| through(&proxy, &[], config)).await;
    host.publish_client("https://unnamed.example/c", &[REDIRECT_URI]);
    let page = world
        .get(&world.authorize_path("https://unnamed.example/c", &[]))
        .await;
    page.assert_page(400);
    assert_eq!((proxy.asked().len(), host.requests()), (1, 0));
}

#[tokio::test]
async fn the_proxy_resolves_the_hosts_that_the_installation_lists() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[("client.example:443", host.address())])
        .await
        .unwrap();
    let listed = |config: &mut SidecarConfig| {
        config.clients.metadata_documents.hosts_by_name = vec!["client.example".to_owned()];
        through(&proxy, &[], config);
    };
    let world = host.world_resolving(Arc::new(NoNames), listed).await;
    world.login_of(CLIENT, ANA).await;
    assert_eq!(proxy.asked(), ["client.example:443"]);
    // Names below it are other hosts.
    for id in ["https://evil.example/c", "https://a.client.example/c"] {
        let page = world.get(&world.authorize_path(id, &[])).await;
        page.assert_page(400);
    }
    assert_eq!(proxy.asked().len(), 1);
}

/// The author of an `McpServer` writes `allowedHosts`, and must not choose what the proxy reaches in the company's network.
#[tokio::test]
async fn the_hosts_that_an_object_lists_are_asked_for_by_address_and_only_if_it_is_public() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[("client.example:443", host.address())])
        .await
        .unwrap();
    let listed = |config: &mut SidecarConfig| {
        config.clients.metadata_documents.allowed_hosts = vec!["client.example".to_owned()];
        through(&proxy, &[], config);
    };
    let world = host.world_with(listed).await;
    world.login_of(CLIENT, ANA).await;
    assert_eq!(proxy.asked(), [host.address().to_string()]);

    let guard = Arc::new(PublicAddresses::of(Arc::new(host.resolver())));
    let world = host.world_resolving(guard, listed).await;
    let page = world.get(&world.authorize_path(CLIENT, &[])).await;
    page.assert_page(400);
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_host_that_the_installation_lists_and_the_object_does_not_is_refused() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[("client.example:443", host.address())])
        .await
        .unwrap();
    let world = host
        .world_with(|config| {
            let documents = &mut config.clients.metadata_documents;
            documents.hosts_by_name = vec!["client.example".to_owned()];
            documents.allowed_hosts = vec!["vscode.dev".to_owned()];
            through(&proxy, &[], config);
        })
        .await;
    let page = world.get(&world.authorize_path(CLIENT, &[])).await;
    page.assert_page(403);
    assert_eq!(proxy.asked(), [""; 0]);
}

/// A name that only begins like that of a Service went past the proxy.
#[tokio::test]
async fn a_host_with_svc_inside_of_its_name_is_reached_through_the_proxy() {
    let host = document().await;
    let id = "https://a.b.svc.evil.example/c";
    let proxy = ConnectProxy::start(&[]).await.unwrap();
    let world = host.world_with(|config| through(&proxy, &[], config)).await;
    let page = world.get(&world.authorize_path(id, &[])).await;
    // The certificate does not name it.
    page.assert_page(400);
    assert_eq!(proxy.asked(), [host.address().to_string()]);
}

#[tokio::test]
async fn redirects_and_large_documents_are_refused_in_a_tunnel() {
    let host = document().await;
    let proxy = ConnectProxy::start(&[]).await.unwrap();
    let world = host.world_with(|config| through(&proxy, &[], config)).await;
    host.put("https://client.example/large", || {
        crate::document_host::json_body(&"x".repeat(6 * 1024))
    });
    host.put("https://client.example/moved", || {
        let mut response = crate::document_host::status(302);
        response.headers_mut().insert("location", CLIENT.parse().unwrap());
        response
    });
    for path in ["large", "moved"] {
        let id = format!("https://client.example/{path}");
        let page = world.get(&world.authorize_path(&id, &[])).await;
        page.assert_page(400);
    }
    assert_eq!(host.requests(), 2);
}
