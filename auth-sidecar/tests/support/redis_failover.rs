//! A primary and its replica behind one address, as a Service or a managed Redis gives it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::redis_server::{Program, RedisServer};

/// Connections to its address reach the primary.
pub(crate) struct RedisPair {
    primary: RedisServer,
    replica: RedisServer,
    target: Arc<AtomicU16>,
    switched: Arc<Notify>,
    address: SocketAddr,
}

impl RedisPair {
    pub(crate) async fn start(program: Program) -> Self {
        let primary = RedisServer::start_program(program, &["--repl-diskless-sync-delay", "0"]).await;
        let port = primary.port.to_string();
        let replica = RedisServer::start_program(program, &["--replicaof", "127.0.0.1", &port]).await;
        let follows = async {
            loop {
                let information: String = replica.ask(&["INFO", "replication"]).await.unwrap();
                if information.contains("master_link_status:up") {
                    break;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), follows)
            .await
            .expect("the replica does not follow its primary");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(AtomicU16::new(primary.port));
        let switched = Arc::new(Notify::new());
        tokio::spawn(forward(listener, Arc::clone(&target), Arc::clone(&switched)));
        Self {
            primary,
            replica,
            target,
            switched,
            address,
        }
    }

    pub(crate) fn endpoint(&self) -> Url {
        Url::parse(&format!("redis://{}", self.address)).unwrap()
    }

    /// The replica has every write so far, and gets none after this.
    pub(crate) async fn separate(&self) {
        let written = offset(&self.primary, "master_repl_offset:").await;
        let copied = async {
            while offset(&self.replica, "slave_repl_offset:").await < written {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(30), copied)
            .await
            .expect("the replica does not get the writes of its primary");
        self.replica.ask::<()>(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    }

    /// The primary dies, and the address leads to the replica.
    pub(crate) fn fail_over(&mut self) {
        self.target.store(self.replica.port, Ordering::SeqCst);
        self.primary.kill();
        self.switched.notify_waiters();
    }
}

/// A place in the stream of writes. `WAIT` knows only the writes of its own connection.
async fn offset(server: &RedisServer, name: &str) -> u64 {
    let information: String = server.ask(&["INFO", "replication"]).await.unwrap();
    let offset = information.lines().find_map(|line| line.strip_prefix(name));
    offset.unwrap().trim().parse().unwrap()
}

async fn forward(listener: TcpListener, target: Arc<AtomicU16>, switched: Arc<Notify>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let port = target.load(Ordering::SeqCst);
        let switched = Arc::clone(&switched);
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                return;
            };
            // Which side ended the connection does not matter.
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                () = switched.notified() => {}
            }
        });
    }
}
