//! A Redis that wants tokens of Entra, as Azure Managed Redis does: a checker between the sidecar and a `redis-server`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_entra::{Clock as _, SystemClock};
use behalf_simulators::people::REDIS_APPLICATION_ID;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use url::Url;

/// One `AUTH`, alone or as a part of `HELLO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authentication {
    /// Number of the connection.
    pub(crate) connection: usize,
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) is_accepted: bool,
}

#[derive(Default)]
struct Record {
    authentications: Vec<Authentication>,
    connections: usize,
    /// Connections that were closed because their token expired.
    expired: usize,
    refuses_all: bool,
}

/// Accepts a user whose name is the `oid` of an unexpired token for Redis. Closes a connection whose token expires.
pub(crate) struct EntraChecker {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

impl EntraChecker {
    pub(crate) async fn start(redis_port: u16) -> Self {
        Self::start_with(redis_port, None).await
    }

    /// A checker that clients reach with TLS, or without it.
    pub(crate) async fn start_with(redis_port: u16, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::<Mutex<Record>>::default();
        let shared = Arc::clone(&record);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, redis_port))
                    .await
                    .unwrap();
                let connection = {
                    let mut record = shared.lock().unwrap();
                    record.connections += 1;
                    record.connections
                };
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => check(client, server, connection, shared).await,
                        // A client that refuses the certificate sends no command.
                        Some(tls) => {
                            if let Ok(client) = tls.accept(client).await {
                                check(client, server, connection, shared).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, record }
    }

    pub(crate) fn endpoint(&self) -> Url {
        Url::parse(&format!("redis://{}", self.address)).unwrap()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn authentications(&self) -> Vec<Authentication> {
        self.record.lock().unwrap().authentications.clone()
    }

    pub(crate) fn expired(&self) -> usize {
        self.record.lock().unwrap().expired
    }

    /// Refuses every token from now on, or none.
    pub(crate) fn refuse_all(&self, refuses: bool) {
        self.record.lock().unwrap().refuses_all = refuses;
    }
}

async fn check(
    client: impl AsyncRead + AsyncWrite,
    server: TcpStream,
    connection: usize,
    record: Arc<Mutex<Record>>,
) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_server, mut to_server) = server.into_split();
    let mut expires_at: Option<Instant> = None;
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 64 * 1024]);
    let answers = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::pin!(answers);
    loop {
        let expiry = async {
            match expires_at {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let read = tokio::select! {
            read = from_client.read(&mut chunk) => read,
            _ = &mut answers => return,
            () = expiry => {
                record.lock().unwrap().expired += 1;
                return;
            }
        };
        match read {
            Ok(length) if length > 0 => buffer.extend_from_slice(&chunk[..length]),
            _ => return,
        }
        while let Some((mut command, length)) = command(&buffer) {
            buffer.drain(..length);
            if let Some(place) = command.iter().position(|part| part.eq_ignore_ascii_case(b"AUTH"))
                && (place == 0 || command[0].eq_ignore_ascii_case(b"HELLO"))
            {
                let [user, token] =
                    [1, 2].map(|after| String::from_utf8(command[place + after].clone()).unwrap());
                let mut record = record.lock().unwrap();
                let life = life(&user, &token).filter(|_| !record.refuses_all);
                let known: [&[u8]; 2] = if life.is_some() {
                    [b"default", b"any"]
                } else {
                    [b"nobody", b"wrong"]
                };
                expires_at = life.map(|life| Instant::now() + life).or(expires_at);
                command.splice(place + 1..place + 3, known.map(<[u8]>::to_vec));
                record.authentications.push(Authentication {
                    connection,
                    user,
                    token,
                    is_accepted: life.is_some(),
                });
            }
            if to_server.write_all(&encoded(&command)).await.is_err() {
                return;
            }
        }
    }
}

/// The rest of the token's life if it is a token for Redis of this user.
fn life(user: &str, token: &str) -> Option<Duration> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let is_right = claims["oid"] == user && claims["aud"] == REDIS_APPLICATION_ID;
    let left = claims["exp"].as_i64()? * 1000 - SystemClock.now().as_millisecond();
    let left = u64::try_from(left).ok().filter(|left| *left > 0)?;
    is_right.then_some(Duration::from_millis(left))
}

/// The first command in the bytes (RESP: an array of bulk strings), and its length.
fn command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    let (count, mut place) = number(bytes, 0, b'*')?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let (length, begin) = number(bytes, place, b'$')?;
        parts.push(bytes.get(begin..begin + length)?.to_vec());
        place = begin + length + 2;
    }
    (place <= bytes.len()).then_some((parts, place))
}

/// A line with a number, and the place after it.
fn number(bytes: &[u8], place: usize, mark: u8) -> Option<(usize, usize)> {
    let rest = bytes.get(place..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], mark, "not RESP");
    let number = std::str::from_utf8(&rest[1..length]).unwrap().parse().unwrap();
    Some((number, place + length + 2))
}

fn encoded(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        bytes.extend(format!("${}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend(b"\r\n");
    }
    bytes
}
