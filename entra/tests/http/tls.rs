//! Trust roots: a private CA, and its replacement in place.

use std::sync::Arc;

use behalf_entra::{HttpClient, HttpLimits, Proxies, TrustError, TrustRoots};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// An https server on loopback with a CA of its own.
struct Server {
    url: String,
    ca: String,
}

impl Server {
    async fn start() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let answer = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(answer).await;
                    let _ = stream.shutdown().await;
                }
            }
        });
        Self { url, ca: ca.pem() }
    }

    async fn is_trusted_by(&self, client: &HttpClient) -> bool {
        client.client().get(&self.url).send().await.is_ok()
    }
}

fn bundle(content: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

/// As the kubelet does it: a new file takes the name.
fn replace(bundle: &NamedTempFile, content: &str) {
    let next = bundle.path().with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, bundle.path()).unwrap();
}

fn client(bundle: &NamedTempFile) -> HttpClient {
    TrustRoots::with_bundle(bundle.path())
        .http_client(HttpLimits::default(), Proxies::None)
        .unwrap()
}

#[tokio::test]
async fn trusts_a_private_ca_only_with_its_bundle() {
    let server = Server::start().await;
    let without = TrustRoots::system()
        .http_client(HttpLimits::default(), Proxies::None)
        .unwrap();
    assert!(!server.is_trusted_by(&without).await);
    assert!(server.is_trusted_by(&client(&bundle(&server.ca))).await);
}

#[tokio::test]
async fn follows_the_bundle_in_both_directions() {
    let (one, two) = (Server::start().await, Server::start().await);
    let bundle = bundle(&one.ca);
    let client = client(&bundle);
    assert!(one.is_trusted_by(&client).await);
    assert!(!two.is_trusted_by(&client).await);

    replace(&bundle, &format!("{}{}", one.ca, two.ca));
    assert!(one.is_trusted_by(&client).await);
    assert!(two.is_trusted_by(&client).await);

    replace(&bundle, &two.ca);
    assert!(!one.is_trusted_by(&client).await);
    assert!(two.is_trusted_by(&client).await);
}

#[tokio::test]
async fn a_broken_or_missing_new_bundle_changes_nothing() {
    let server = Server::start().await;
    let bundle = bundle(&server.ca);
    let client = client(&bundle);
    for broken in [
        "",
        "no certificate",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        replace(&bundle, broken);
        assert!(server.is_trusted_by(&client).await, "{broken:?}");
    }
    std::fs::remove_file(bundle.path()).unwrap();
    assert!(server.is_trusted_by(&client).await);
}

#[tokio::test]
async fn tls_settings_are_built_again_only_after_a_change_of_the_bundle() {
    let (one, two) = (Server::start().await, Server::start().await);
    let bundle = bundle(&one.ca);
    let settings = TrustRoots::with_bundle(bundle.path()).tls().unwrap();
    let first = settings.current();
    assert!(Arc::ptr_eq(&first, &settings.current()));

    replace(&bundle, "no certificate");
    assert!(Arc::ptr_eq(&first, &settings.current()));

    replace(&bundle, &two.ca);
    let second = settings.current();
    assert!(!Arc::ptr_eq(&first, &second));
    assert!(Arc::ptr_eq(&second, &settings.current()));
}

#[test]
fn a_bundle_must_be_valid_at_the_start() {
    let limits = HttpLimits::default();
    let missing = TrustRoots::with_bundle("/nowhere/ca.crt").http_client(limits, Proxies::None);
    assert!(matches!(missing, Err(TrustError::Unreadable { .. })));
    let empty = TrustRoots::with_bundle(bundle("").path()).http_client(limits, Proxies::None);
    assert!(matches!(empty, Err(TrustError::Unusable { source: None, .. })));
    let file = bundle("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let roots = TrustRoots::with_bundle(file.path());
    assert!(
        matches!(roots.tls(), Err(TrustError::Tunnel(_))),
        "{:?}",
        roots.tls()
    );
    let garbage = roots.http_client(limits, Proxies::None);
    assert!(matches!(
        garbage,
        Err(TrustError::Unusable { source: Some(_), .. })
    ));
}
