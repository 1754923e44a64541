//! A planted slowdown: forwards bytes to a program and holds each piece of a client back for a while. The gate proves with
//! it that it would notice a slower sidecar.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::{BenchError, Step as _};
use crate::pacer::Pacer;

/// A running proxy. Dropping it closes its port.
pub(crate) struct DelayingProxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl DelayingProxy {
    pub(crate) async fn start(to: SocketAddr, delay: Duration) -> Result<Self, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .step("start the delaying proxy")?;
        let address = listener.local_addr().step("start the delaying proxy")?;
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, to, delay));
            }
        });
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DelayingProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards one connection until one side closes it.
async fn forward(client: TcpStream, to: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect(to).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async move {
        let pacer = Pacer::new()?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = from_client.read(&mut buffer).await?;
            if read == 0 {
                return to_server.shutdown().await;
            }
            pacer.sleep_until(Instant::now() + delay).await?;
            to_server.write_all(&buffer[..read]).await?;
        }
    };
    let answers = tokio::io::copy(&mut from_server, &mut to_client);
    tokio::select! {
        ended = requests => ended,
        ended = answers => ended.map(drop),
    }
}
