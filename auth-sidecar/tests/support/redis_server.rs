//! Servers of Redis and Valkey that a test starts on loopback and that end with it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use behalf_auth_sidecar::store::RedisStore;
use behalf_contract::{ObjectIdentity, RedisAuthentication, RedisConfig, RedisTopology};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use url::Url;

/// The programs that keep sessions. `.ci/prerequisites unit` installs both.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    /// Debian's package `redis-server`.
    Redis,

    /// Debian's package `valkey-tools`, which `.ci/valkey` unpacks into the cache, or the `valkey-server` in PATH.
    Valkey,
}

impl Program {
    fn path(self) -> PathBuf {
        match self {
            Self::Redis => PathBuf::from("redis-server"),
            Self::Valkey => {
                let cached = cache().join("valkey/valkey-server");
                if cached.exists() {
                    cached
                } else {
                    PathBuf::from("valkey-server")
                }
            }
        }
    }
}

/// The cache of the scripts in `.ci`.
fn cache() -> PathBuf {
    let folder = |name| std::env::var_os(name).map(PathBuf::from);
    let below = |folder: PathBuf| folder.join("behalf");
    let of_user = || folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    folder("CACHE").or_else(|| of_user().map(below)).unwrap()
}

/// Maximum time for a server or a cluster to come up on a busy machine.
const START: Duration = Duration::from_secs(30);

pub(crate) fn object() -> ObjectIdentity {
    ObjectIdentity {
        namespace: "mcp".to_owned(),
        name: "azure-devops".to_owned(),
    }
}

pub(crate) fn config(topology: RedisTopology, endpoints: &[Url]) -> RedisConfig {
    RedisConfig {
        topology,
        endpoints: endpoints.to_vec(),
        authentication: RedisAuthentication::None,
        certificate_authority_file: None,
    }
}

pub(crate) fn store_at(topology: RedisTopology, endpoints: &[Url]) -> RedisStore {
    RedisStore::new(&config(topology, endpoints), &object(), None).unwrap()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// One server without persistence.
pub(crate) struct RedisServer {
    program: Program,
    process: Child,
    pub(crate) port: u16,
    arguments: Vec<String>,
    _folder: TempDir,
}

impl RedisServer {
    /// Starts a Redis with these arguments and waits until it answers.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_program(Program::Redis, arguments).await
    }

    /// Starts a server with these arguments and waits until it answers.
    pub(crate) async fn start_program(program: Program, arguments: &[&str]) -> Self {
        let server = Self::start_at(program, free_port(), arguments);
        server.wait_for_port().await;
        server
    }

    /// Starts a server at a port.
    pub(crate) fn start_at(program: Program, port: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port_text = port.to_string();
        let folder_text = folder.path().to_str().unwrap();
        let mut all = vec![
            "--bind",
            "127.0.0.1",
            "--dir",
            folder_text,
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        if !arguments.contains(&"--port") {
            all.extend(["--port", &port_text]);
        }
        all.extend(arguments);
        let arguments: Vec<String> = all.into_iter().map(str::to_owned).collect();
        Self {
            program,
            process: spawn(program, &arguments),
            port,
            arguments,
            _folder: folder,
        }
    }

    pub(crate) fn endpoint(&self) -> Url {
        Url::parse(&format!("redis://127.0.0.1:{}", self.port)).unwrap()
    }

    pub(crate) async fn wait_for_port(&self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let connects = async {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START, connects)
            .await
            .expect("the server does not listen");
    }

    /// The value of an argument.
    fn argument(&self, name: &str) -> Option<&str> {
        let mut arguments = self.arguments.iter();
        arguments.find(|argument| *argument == name)?;
        arguments.next().map(String::as_str)
    }

    /// The port that a node of a cluster announces to clients.
    fn announced_port(&self) -> String {
        let announced = self.argument("--cluster-announce-port");
        let announced = announced.or_else(|| self.argument("--tls-port"));
        announced.map_or_else(|| self.port.to_string(), str::to_owned)
    }

    /// Ends the server and all that it kept.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts a server that was killed, at the same port.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.program, &self.arguments);
        self.wait_for_port().await;
    }

    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(self.endpoint()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query_async(&mut connection).await
    }

    /// Number of connections since the server started, with the one that asks.
    pub(crate) async fn connections_received(&self) -> u32 {
        let statistics: String = self.ask(&["INFO", "stats"]).await.unwrap();
        let connections = statistics
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        connections.unwrap().trim().parse().unwrap()
    }

    /// Every key that the server holds has an expiry.
    pub(crate) async fn every_key_expires(&self) {
        let keys: Vec<String> = self.ask(&["KEYS", "*"]).await.unwrap();
        assert!(!keys.is_empty(), "the server holds nothing");
        for key in keys {
            let remaining: i64 = self.ask(&["PTTL", &key]).await.unwrap();
            assert!(remaining > 0, "{key} has no expiry: PTTL is {remaining}");
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(program: Program, arguments: &[String]) -> Child {
    Command::new(program.path())
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("failed to start {program:?}: {error}; run .ci/prerequisites unit"))
}

/// A node of a cluster. Its bus has a port of its own: the default, 10,000 above the first port, may not exist.
pub(crate) async fn cluster_node(program: Program, port: u16, arguments: &[&str]) -> RedisServer {
    let bus_port = free_port().to_string();
    let cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    let arguments = [&cluster[..], &["--cluster-port", &bus_port], arguments].concat();
    let node = RedisServer::start_at(program, port, &arguments);
    node.wait_for_port().await;
    node
}

/// Three primaries that share the slots.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) async fn start(program: Program) -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(cluster_node(program, free_port(), &[]).await);
        }
        Self::of(nodes).await
    }

    /// Joins three nodes, and waits until they agree.
    pub(crate) async fn of(nodes: Vec<RedisServer>) -> Self {
        let cluster = Self { nodes };
        cluster.join().await;
        timeout(START, cluster.agreed())
            .await
            .expect("the cluster does not agree on its slots");
        cluster
    }

    pub(crate) fn endpoint(&self) -> Url {
        self.nodes[0].endpoint()
    }

    async fn join(&self) {
        for (node, slots) in self.nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            let (first, last) = slots.split_once(' ').unwrap();
            node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", first, last])
                .await
                .unwrap();
        }
        for node in &self.nodes[1..] {
            let (port, bus_port) = (node.announced_port(), node.argument("--cluster-port"));
            self.nodes[0]
                .ask::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, bus_port.unwrap()])
                .await
                .unwrap();
        }
    }

    /// Waits until every node knows an owner of every slot.
    async fn agreed(&self) {
        for node in &self.nodes {
            loop {
                let information: String = node.ask(&["CLUSTER", "INFO"]).await.unwrap();
                if information.contains("cluster_state:ok") && information.contains("cluster_known_nodes:3") {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
