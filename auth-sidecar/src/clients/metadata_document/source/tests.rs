//! Tests which destinations a proxy is asked for, and what the log says when it leads to no document.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::routing::get;
use behalf_contract::DirectHosts;
use behalf_simulators::certificates::CertificateAuthority;
use behalf_simulators::connect_proxy::ConnectProxy;
use behalf_simulators::listener::{Listener, Serving};
use reqwest::dns::{Addrs, Name, Resolving};
use rstest::rstest;
use tempfile::NamedTempFile;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clients::metadata_document::public_addresses::PublicAddresses;

const HOST: &str = "client.example";
const ONE: &str = "192.0.2.1:443";
const TWO: &str = "192.0.2.2:443";
const SIX: &str = "[2001:db8::6]:443";
const SEVEN: &str = "[2001:db8::7]:443";

/// Finds these addresses for every name. `None`: the name servers never answer.
struct Found(Option<Vec<SocketAddr>>);

impl Resolve for Found {
    fn resolve(&self, _: Name) -> Resolving {
        let found = self.0.clone();
        Box::pin(async move {
            match found {
                Some(found) => Ok(Box::new(found.into_iter()) as Addrs),
                None => std::future::pending().await,
            }
        })
    }
}

fn found(addresses: &[&str]) -> Found {
    // Look-ups return port 0.
    let parse = |address: &&str| {
        let address: SocketAddr = address.parse().unwrap();
        SocketAddr::new(address.ip(), 0)
    };
    Found(Some(addresses.iter().map(parse).collect()))
}

/// A host that answers every request, with a certificate for [`HOST`], and a file with its certificate authority.
async fn host() -> (Serving, NamedTempFile) {
    host_of(Router::new().route("/a/b", get(|| async { "the document" }))).await
}

async fn host_of(router: Router) -> (Serving, NamedTempFile) {
    let authority = CertificateAuthority::generate("Documents").unwrap();
    let identity = authority.issue(&[HOST]).unwrap();
    let bundle = NamedTempFile::new().unwrap();
    std::fs::write(bundle.path(), authority.certificate_pem()).unwrap();
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), Some(&identity)).await;
    (listener.unwrap().serve(router), bundle)
}

fn source(bundle: &NamedTempFile, proxy: &str, resolver: impl Resolve + 'static, by_name: &[&str]) -> Source {
    // Idempotent: the first test of the process installs the provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let proxy = EgressProxy {
        https: proxy.parse().unwrap(),
        no_proxy: Vec::<DirectHosts>::new(),
    };
    let roots = TrustRoots::with_bundle(bundle.path());
    let by_name: Vec<_> = by_name.iter().map(|&host| host.to_owned()).collect();
    Source::new((&roots, Some(&proxy)), Arc::new(resolver), &by_name).unwrap()
}

async fn read(source: &Source) -> Result<String, String> {
    let url = DocumentUrl::parse(&format!("https://{HOST}/a/b")).unwrap();
    let response = source.get(&url).await.map_err(|error| error.to_string())?;
    let bytes = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn an_address_of_ipv6_is_named_in_brackets() {
    let (host, bundle) = host().await;
    let proxy = ConnectProxy::start(&[(SIX, host.address())]).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&[SIX]), &[]);
    assert_eq!(read(&source).await.unwrap(), "the document");
    assert_eq!(proxy.asked(), [SIX]);
}

#[tokio::test]
async fn addresses_that_the_proxy_refuses_are_followed_by_those_of_the_other_family() {
    let (host, bundle) = host().await;
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let known = [(SIX, nobody), (SEVEN, nobody), (ONE, host.address())];
    let proxy = ConnectProxy::start(&known).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&[SIX, SEVEN, ONE]), &[]);
    assert_eq!(read(&source).await.unwrap(), "the document");
    assert_eq!(proxy.asked(), [SIX, ONE]);
}

#[test]
fn addresses_of_both_families_are_tried_in_turn() {
    let parse =
        |texts: &[&str]| -> Vec<SocketAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let tried = |texts: &[&str]| in_turn(parse(texts));
    assert_eq!(tried(&[SIX, SEVEN, ONE, TWO]), parse(&[SIX, ONE, SEVEN, TWO]));
    assert_eq!(tried(&[ONE, TWO, SIX]), parse(&[ONE, SIX, TWO]));
    assert_eq!(tried(&[ONE, TWO]), parse(&[ONE, TWO]));
    assert_eq!(tried(&[]), []);
    let many = tried(&[ONE, ONE, ONE, ONE, ONE, SIX]);
    assert_eq!(many, parse(&[ONE, SIX, ONE, ONE]));
}

#[tokio::test]
async fn an_address_that_never_answers_leaves_time_for_the_next_one() {
    let (host, bundle) = host().await;
    // The system accepts connections, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let known = [(SIX, silent.local_addr().unwrap()), (ONE, host.address())];
    let proxy = ConnectProxy::start(&known).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&[SIX, ONE]), &[]);
    // The limit of the whole fetch.
    let answer = timeout(LIMITS.request, read(&source)).await.unwrap();
    assert_eq!(answer.unwrap(), "the document");
    assert_eq!(proxy.asked(), [SIX, ONE]);
}

/// The limit of the whole fetch passed first, and the log named neither proxy nor address.
#[tokio::test]
async fn addresses_that_never_answer_are_named_before_the_fetch_ends() {
    let (_host, bundle) = host().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [SIX, ONE, SEVEN, TWO];
    let known = addresses.map(|address| (address, silent.local_addr().unwrap()));
    let proxy = ConnectProxy::start(&known).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&addresses), &[]);
    let error = timeout(LIMITS.request, read(&source)).await.unwrap().unwrap_err();
    assert!(error.contains("opened no tunnel to"), "{error}");
}

/// Starts a proxy that waits for two seconds, and then does what the proxy at `address` does.
async fn slow(address: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut proxy = TcpStream::connect(address).await.unwrap();
        tokio::io::copy_bidirectional(&mut client, &mut proxy).await
    });
    url
}

#[rstest]
#[case::address(&[])]
#[case::name(&[HOST])]
#[tokio::test]
async fn the_only_destination_of_a_host_has_the_time_of_the_whole_fetch(#[case] by_name: &[&str]) {
    let (host, bundle) = host().await;
    let name = format!("{HOST}:443");
    let proxy = ConnectProxy::start(&[(ONE, host.address()), (&name, host.address())])
        .await
        .unwrap();
    let address = proxy.url().strip_prefix("http://").unwrap().parse().unwrap();
    let source = source(&bundle, &slow(address).await, found(&[ONE]), by_name);
    assert_eq!(read(&source).await.unwrap(), "the document");
}

#[tokio::test]
async fn a_host_that_does_not_answer_in_the_tunnel_has_a_text_of_its_own() {
    let silent = Router::new().route("/a/b", get(std::future::pending::<&str>));
    let (host, bundle) = host_of(silent).await;
    let proxy = ConnectProxy::start(&[(ONE, host.address())]).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&[ONE]), &[]);
    let error = timeout(LIMITS.request, read(&source)).await.unwrap().unwrap_err();
    assert_eq!(error, TunnelError::HostTimedOut.to_string());
}

#[tokio::test(start_paused = true)]
async fn name_servers_that_never_answer_have_a_limit_of_their_own() {
    let (_host, bundle) = host().await;
    let source = source(&bundle, "http://127.0.0.1:1", Found(None), &[]);
    let began = tokio::time::Instant::now();
    let error = read(&source).await.unwrap_err();
    assert!(error.contains("allowed.documentHosts"), "{error}");
    assert!(began.elapsed() < LIMITS.request / 2);
}

#[tokio::test]
async fn a_host_without_a_public_address_is_no_host_to_list() {
    let (_host, bundle) = host().await;
    let guard = PublicAddresses::of(Arc::new(found(&["10.0.0.1:0"])));
    let source = source(&bundle, "http://127.0.0.1:1", guard, &[]);
    let error = read(&source).await.unwrap_err();
    assert_eq!(error, NoPublicAddress.to_string());
}

#[rstest]
#[case::password("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "never sends", 1)]
#[case::address_refused("HTTP/1.1 403 Forbidden\r\n\r\n", "if it admits names alone", 2)]
#[case::plain_text("SSH-2.0-OpenSSH_9.9\r\n", "check host and port of proxy.https", 1)]
#[case::closed("", "check host and port of proxy.https", 2)]
#[case::tunnel_closed("HTTP/1.1 200 OK\r\n\r\n", "ended before TLS began", 2)]
#[tokio::test]
async fn each_failure_of_the_proxy_has_a_text_with_its_own_next_step(
    #[case] answer: &str,
    #[case] advice: &str,
    #[case] addresses: usize,
) {
    let (_host, bundle) = host().await;
    let proxy = ConnectProxy::answering(answer).await.unwrap();
    let source = source(&bundle, &proxy.url(), found(&[ONE, TWO]), &[]);
    let error = read(&source).await.unwrap_err();
    assert!(error.contains(advice), "{error}");
    let is_of_names = advice.contains("names alone");
    assert_eq!(error.contains("documentHosts"), is_of_names, "{error}");
    assert!(!error.contains("certificateAuthorityRef"), "{error}");
    // Another address helps only if the failure may be that of one.
    assert_eq!(proxy.asked().len(), addresses);
}

#[tokio::test]
async fn a_refused_name_is_to_be_admitted_by_the_proxy() {
    let (_host, bundle) = host().await;
    let proxy = ConnectProxy::answering("HTTP/1.1 403 Forbidden\r\n\r\n")
        .await
        .unwrap();
    let source = source(&bundle, &proxy.url(), found(&[ONE]), &[HOST]);
    let error = read(&source).await.unwrap_err();
    assert!(error.contains("let it admit the host on port 443"), "{error}");
    assert!(!error.contains("documentHosts"), "{error}");
    assert_eq!(proxy.asked(), [format!("{HOST}:443")]);
}

#[tokio::test]
async fn a_proxy_that_is_down_is_named_once() {
    let (_host, bundle) = host().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let source = source(&bundle, &down, found(&[ONE, TWO]), &[]);
    let error = read(&source).await.unwrap_err();
    assert!(
        error.contains(&format!("no connection to the proxy {down}/")),
        "{error}"
    );
    assert!(!error.contains("documentHosts"), "{error}");
}

#[tokio::test]
async fn an_unknown_certificate_authority_is_to_be_named_in_the_object() {
    let ((host, _), (_, another)) = (host().await, host().await);
    let proxy = ConnectProxy::start(&[(ONE, host.address()), (TWO, host.address())])
        .await
        .unwrap();
    let source = source(&another, &proxy.url(), found(&[ONE, TWO]), &[]);
    let error = read(&source).await.unwrap_err();
    assert!(error.contains("spec.entra.certificateAuthorityRef"), "{error}");
    assert!(!error.contains("documentHosts"), "{error}");
    assert_eq!(proxy.asked(), [ONE], "another address has the same certificate");
}

/// Finds another address at each look-up, as an attacker's name server does after a check (DNS rebinding).
struct Changing {
    addresses: Vec<SocketAddr>,
    look_ups: AtomicUsize,
}

impl Resolve for Changing {
    fn resolve(&self, _: Name) -> Resolving {
        let turn = self.look_ups.fetch_add(1, Ordering::Relaxed);
        let found: Vec<_> = self.addresses.iter().skip(turn).take(1).copied().collect();
        Box::pin(async move { Ok(Box::new(found.into_iter()) as Addrs) })
    }
}

fn direct(bundle: &NamedTempFile, resolver: Arc<dyn Resolve>) -> Source {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Source::new((&TrustRoots::with_bundle(bundle.path()), None), resolver, &[]).unwrap()
}

#[tokio::test]
async fn without_a_proxy_the_connection_goes_to_the_address_of_the_only_look_up() {
    let ((first, bundle), (second, _)) = (host().await, host().await);
    let resolver = Arc::new(Changing {
        addresses: vec![first.address(), second.address()],
        look_ups: AtomicUsize::new(0),
    });
    let source = direct(&bundle, Arc::clone(&resolver) as Arc<dyn Resolve>);
    // Only the first host has a certificate of this authority.
    assert_eq!(read(&source).await.unwrap(), "the document");
    assert_eq!(resolver.look_ups.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_proxy_a_host_that_never_answers_ends_the_fetch_after_five_seconds() {
    let ((_host, bundle), silent) = (host().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let resolver = Found(Some(vec![silent.local_addr().unwrap()]));
    let source = direct(&bundle, Arc::new(resolver));
    let began = Instant::now();
    read(&source).await.unwrap_err();
    let took = began.elapsed();
    assert!(
        took >= Duration::from_secs(1) && took <= LIMITS.request,
        "{took:?}"
    );
}
