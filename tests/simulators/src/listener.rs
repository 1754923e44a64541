//! A simulator's ports: plain HTTP in process, HTTPS in a Pod, and able to break a connection on
//! command.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

/// Why a listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken or not ours.
    #[error("failed to listen on {address}")]
    Bind {
        /// The address that was asked for.
        address: SocketAddr,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },

    /// A certificate or key file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file that was named.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },

    /// The text is not PEM of the expected kind.
    #[error("certificate chain or private key is not PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),

    /// Certificate and key do not fit each other, or TLS cannot use them.
    #[error("certificate chain and private key do not make a TLS server")]
    Tls(#[source] rustls::Error),
}

/// Certificate chain and private key of a TLS server, as PEM.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Leaf certificate first, then its issuers.
    pub certificate_chain_pem: String,

    /// PKCS #8 private key of the leaf.
    pub private_key_pem: String,
}

impl TlsIdentity {
    /// Reads both PEM files, as a mounted `kubernetes.io/tls` Secret has them.
    pub fn from_files(certificate_chain: &Path, private_key: &Path) -> Result<Self, ListenError> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|source| ListenError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            certificate_chain_pem: read(certificate_chain)?,
            private_key_pem: read(private_key)?,
        })
    }

    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, ListenError> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(ListenError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(self.private_key_pem.as_bytes()).map_err(ListenError::Pem)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ListenError::Tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(ListenError::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TlsIdentity(..)")
    }
}

/// Put into a response's extensions, it makes the listener drop the connection without an answer.
#[derive(Debug, Clone, Copy)]
pub struct ResetConnection;

#[derive(Debug, thiserror::Error)]
#[error("connection is dropped on command")]
struct Dropped;

/// An open port that serves nothing yet, so that its address is known before it answers.
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Opens `address` (port 0: any free one), with TLS when an identity is given.
    pub async fn bind(address: SocketAddr, tls: Option<&TlsIdentity>) -> Result<Self, ListenError> {
        let tls = tls.map(TlsIdentity::acceptor).transpose()?;
        let bind = |source| ListenError::Bind { address, source };
        let tcp = TcpListener::bind(address).await.map_err(bind)?;
        let address = tcp.local_addr().map_err(bind)?;
        Ok(Self { tcp, address, tls })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` or `https://` and the address, without a path.
    pub fn base_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Serves until the returned value is dropped; connections end with it.
    pub fn serve(self, router: Router) -> Serving {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let address = self.address;
        tokio::spawn(accept(self, router, stop));
        Serving {
            address,
            _stop: guard,
        }
    }
}

/// A port that is being served. Dropping it closes the port and its connections.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Serving {
    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: Listener, router: Router, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.tcp.accept() => accepted,
        };
        // An accept fails if the client disconnected, or while no file descriptor is free.
        let Ok((tcp, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = tcp.set_nodelay(true);
        let (router, tls, stop) = (router.clone(), listener.tls.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = connection(tcp, tls, router) => {}
            }
        });
    }
}

/// Errors of one connection concern that client alone: it sees them itself.
async fn connection(tcp: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move {
            let response: Response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            match response.extensions().get::<ResetConnection>() {
                Some(ResetConnection) => Err(Dropped),
                None => Ok(response),
            }
        }
    });
    let builder = Builder::new(TokioExecutor::new());
    match tls {
        None => drop(builder.serve_connection(TokioIo::new(tcp), service).await),
        Some(tls) => {
            if let Ok(stream) = tls.accept(tcp).await {
                drop(builder.serve_connection(TokioIo::new(stream), service).await);
            }
        }
    }
}
