//! A proxy that opens tunnels with CONNECT, and records which it was asked for. It can also read what is in them, as the proxy
//! of a company that inspects TLS does.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::listener::{ListenError, TlsIdentity};

/// Maximum size of the head of a CONNECT request in bytes.
const HEAD: usize = 8 * 1024;

/// A free port of the loopback address.
const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A proxy, on loopback unless its start says otherwise. Dropping it ends its tunnels.
pub struct ConnectProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    _stop: DropGuard,
}

impl ConnectProxy {
    /// Starts a proxy that knows these names, as `host:port`, and connects to addresses as they are. It refuses other names
    /// with 502.
    pub async fn start(names: &[(&str, SocketAddr)]) -> Result<Self, ListenError> {
        Self::start_with(LOOPBACK, names, None, None).await
    }

    /// Starts the same proxy at another address of this machine, for the Pods of a cluster. Port 0: any free one.
    pub async fn start_at(address: SocketAddr, names: &[(&str, SocketAddr)]) -> Result<Self, ListenError> {
        Self::start_with(address, names, None, None).await
    }

    /// Starts a proxy that opens no tunnel. It writes `answer` to each request and closes the connection.
    pub async fn answering(answer: &str) -> Result<Self, ListenError> {
        Self::start_with(LOOPBACK, &[], None, Some(answer)).await
    }

    /// Starts a proxy that has this identity for each name, and passes what it decrypts on without TLS.
    pub async fn intercepting(
        names: &[(&str, SocketAddr)],
        identity: &TlsIdentity,
    ) -> Result<Self, ListenError> {
        Self::start_with(LOOPBACK, names, Some(identity.acceptor()?), None).await
    }

    async fn start_with(
        address: SocketAddr,
        names: &[(&str, SocketAddr)],
        tls: Option<TlsAcceptor>,
        answer: Option<&str>,
    ) -> Result<Self, ListenError> {
        let bind = |source| ListenError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        let names = names.iter().map(|&(name, address)| (name.to_owned(), address));
        let known = Arc::new(Known {
            names: names.collect(),
            tls,
            answer: answer.map(str::to_owned),
        });
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let record = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Some(Ok((client, _))) = stop.run_until_cancelled(listener.accept()).await {
                let (known, record, stop) = (Arc::clone(&known), Arc::clone(&record), stop.clone());
                // An error ends one tunnel, which its client notices.
                tokio::spawn(async move { stop.run_until_cancelled(tunnel(client, &known, &record)).await });
            }
        });
        Ok(Self {
            address,
            asked,
            _stop: guard,
        })
    }

    /// The address for `proxy.https`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The destinations of all CONNECT requests so far, as `host:port`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The destinations that a proxy knows.
struct Known {
    names: HashMap<String, SocketAddr>,
    tls: Option<TlsAcceptor>,

    /// In place of a tunnel.
    answer: Option<String>,
}

async fn tunnel(mut client: TcpStream, known: &Known, record: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        head.push(client.read_u8().await?);
    }
    let text = String::from_utf8_lossy(&head);
    let mut words = text.split(' ');
    let (Some("CONNECT"), Some(destination)) = (words.next(), words.next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n").await;
    };
    record
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(destination.to_owned());
    if let Some(answer) = &known.answer {
        return client.write_all(answer.as_bytes()).await;
    }
    let address = known
        .names
        .get(destination)
        .copied()
        .or_else(|| destination.parse().ok());
    let server = match address {
        Some(address) => TcpStream::connect(address).await.ok(),
        None => None,
    };
    let Some(mut server) = server else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    };
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    match &known.tls {
        None => tokio::io::copy_bidirectional(&mut client, &mut server).await?,
        Some(tls) => tokio::io::copy_bidirectional(&mut tls.accept(client).await?, &mut server).await?,
    };
    Ok(())
}
