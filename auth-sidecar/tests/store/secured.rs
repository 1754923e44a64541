//! TLS with a private certificate authority, and users with passwords.

use std::path::PathBuf;
use std::time::Duration;

use behalf_auth_sidecar::keys::SystemRandom;
use behalf_auth_sidecar::sessions::SessionId;
use behalf_auth_sidecar::store::{Announcement, RedisStore, SessionStore, StoreError, StoreKey};
use behalf_contract::{RedisAuthentication, RedisConfig, RedisTopology};
use behalf_entra::{Clock as _, SystemClock};
use jiff::SignedDuration;
use rcgen::{BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::conformance::{Real, check_all};
use crate::redis_server::{Program, RedisCluster, RedisServer, cluster_node, config, free_port, object};

/// The rights that a user needs, as `docs/stores.md` lists them.
const RIGHTS: &str = "resetkeys ~behalf:mcp/azure-devops:* resetchannels &behalf:mcp/azure-devops:* -@all +publish +subscribe +scan +eval +hget +hset +hstrlen +pexpireat +pexpiretime +del +ping +info";

pub(crate) struct Files {
    folder: TempDir,
}

impl Files {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

pub(crate) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // OpenSSL takes a certificate for self-signed if its issuer has the same name.
    parameters
        .distinguished_name
        .push(DnType::CommonName, "Test authority");
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names.
pub(crate) fn certificate(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let parameters = CertificateParams::new(names).unwrap();
    (parameters.signed_by(&key, issuer).unwrap(), key)
}

/// The arguments of a server that has a certificate for these names.
fn tls_arguments(
    files: &Files,
    issuer: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
    port: u16,
) -> Vec<String> {
    let (certificate, key) = certificate(issuer, names);
    let path = |path: PathBuf| path.to_str().unwrap().to_owned();
    [
        ("--tls-port", port.to_string()),
        (
            "--tls-cert-file",
            path(files.write("redis.crt", &certificate.pem())),
        ),
        (
            "--tls-key-file",
            path(files.write("redis.key", &key.serialize_pem())),
        ),
        ("--tls-auth-clients", "no".to_owned()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect()
}

async fn with_tls(
    program: Program,
    files: &Files,
    issuer: &CertifiedIssuer<'static, KeyPair>,
) -> (RedisServer, RedisConfig) {
    let port = free_port();
    let tls = tls_arguments(files, issuer, &["localhost", "127.0.0.1"], port);
    let mut arguments = vec!["--port", "0"];
    arguments.extend(tls.iter().map(String::as_str));
    let server = RedisServer::start_at(program, port, &arguments);
    server.wait_for_port().await;
    let endpoint = Url::parse(&format!("rediss://localhost:{port}")).unwrap();
    (server, config(RedisTopology::Standalone, &[endpoint]))
}

#[rstest]
#[tokio::test]
async fn a_server_behind_tls_keeps_the_promises_of_a_store(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, issuer) = (Files::new(), authority());
    let (_server, mut config) = with_tls(program, &files, &issuer).await;
    config.certificate_authority_file = Some(files.write("ca.crt", &issuer.pem()));
    let store = RedisStore::new(&config, &object(), None).unwrap();
    check_all(&store, &Real).await;
}

#[rstest]
#[tokio::test]
async fn a_server_with_a_certificate_of_another_authority_is_refused(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, issuer) = (Files::new(), authority());
    let (_server, mut config) = with_tls(program, &files, &issuer).await;
    let other = authority();
    for bundle in [None, Some(files.write("ca.crt", &other.pem()))] {
        config.certificate_authority_file = bundle;
        let store = RedisStore::new(&config, &object(), None).unwrap();
        let refused = store.get(&StoreKey::User([1; 32])).await;
        assert!(matches!(refused, Err(StoreError::Unreachable(_))), "{refused:?}");
    }
}

#[rstest]
#[tokio::test]
async fn a_changed_certificate_authority_is_used_by_the_next_connection(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, issuer) = (Files::new(), authority());
    let (_server, mut config) = with_tls(program, &files, &issuer).await;
    config.certificate_authority_file = Some(files.write("ca.crt", &authority().pem()));
    let store = RedisStore::new(&config, &object(), None).unwrap();
    assert!(store.ping().await.is_err(), "a certificate of another authority");
    files.write("ca.crt", &issuer.pem());
    let answers = async {
        while store.ping().await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(20), answers).await.unwrap();
}

/// Azure Managed Redis with the clustering policy OSS: the nodes announce the address of a host whose name alone is in the
/// certificate. Regression: `redis-rs#1963`.
#[rstest]
#[tokio::test]
async fn a_cluster_whose_certificate_names_its_host_alone_keeps_the_promises_of_a_store(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, issuer) = (Files::new(), authority());
    let bundle = files.write("ca.crt", &issuer.pem());
    let (mut nodes, mut endpoints) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let tls_port = free_port();
        let tls = tls_arguments(&files, &issuer, &["localhost"], tls_port);
        let mut arguments = vec!["--tls-cluster", "yes", "--tls-ca-cert-file"];
        arguments.push(bundle.to_str().unwrap());
        arguments.extend(tls.iter().map(String::as_str));
        nodes.push(cluster_node(program, free_port(), &arguments).await);
        endpoints.push(Url::parse(&format!("rediss://localhost:{tls_port}")).unwrap());
    }
    let _cluster = RedisCluster::of(nodes).await;
    let mut config = config(RedisTopology::Cluster, &endpoints[..1]);
    config.certificate_authority_file = Some(bundle);
    let store = RedisStore::new(&config, &object(), None).unwrap();
    check_all(&store, &Real).await;
}

/// The files of the user `behalf`.
fn user(files: &Files, password: &str) -> RedisAuthentication {
    RedisAuthentication::Secret {
        username_file: Some(files.write("username", "behalf\n")),
        password_file: files.write("password", &format!("{password}\n")),
    }
}

async fn with_users(program: Program) -> RedisServer {
    let server = RedisServer::start_program(program, &[]).await;
    set_user(&server, "behalf", "first").await;
    server
}

async fn set_user(server: &RedisServer, name: &str, password: &str) {
    let password = format!("resetpass on >{password} {RIGHTS}");
    let mut command = vec!["ACL", "SETUSER", name];
    command.extend(password.split(' '));
    server.ask::<()>(&command).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_user_with_the_documented_rights_alone_can_keep_sessions(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, server) = (Files::new(), with_users(program).await);
    let mut config = config(RedisTopology::Standalone, &[server.endpoint()]);
    config.authentication = user(&files, "first");
    let store = RedisStore::new(&config, &object(), None).unwrap();
    check_all(&store, &Real).await;
    let denied: Vec<redis::Value> = server.ask(&["ACL", "LOG"]).await.unwrap();
    assert!(denied.is_empty(), "a command was denied: {denied:?}");

    // The policy comes from INFO.
    let get = ["ACL", "DRYRUN", "behalf", "CONFIG", "GET", "maxmemory-policy"];
    let refused: String = server.ask(&get).await.unwrap();
    assert!(refused.contains("no permission"), "{refused}");
    server
        .ask::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"])
        .await
        .unwrap();
    let report = store.report().await.unwrap();
    assert_eq!(report.eviction_policy.as_deref(), Some("allkeys-lru"));
}

#[rstest]
#[tokio::test]
async fn a_user_who_may_connect_and_not_read_is_reported(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, server) = (Files::new(), with_users(program).await);
    let mut config = config(RedisTopology::Standalone, &[server.endpoint()]);
    config.authentication = user(&files, "first");
    let store = RedisStore::new(&config, &object(), None).unwrap();
    store.report().await.unwrap();

    server
        .ask::<()>(&["ACL", "SETUSER", "behalf", "-hstrlen"])
        .await
        .unwrap();
    let report = store.report().await;
    assert!(matches!(report, Err(StoreError::Unreachable(_))), "{report:?}");
}

#[rstest]
#[tokio::test]
async fn a_user_of_a_cluster_needs_one_more_right(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, cluster) = (Files::new(), RedisCluster::start(program).await);
    for node in &cluster.nodes {
        set_user(node, "behalf", "first").await;
        node.ask::<()>(&["ACL", "SETUSER", "behalf", "+cluster|slots"])
            .await
            .unwrap();
    }
    let mut config = config(RedisTopology::Cluster, &[cluster.endpoint()]);
    config.authentication = user(&files, "first");
    let store = RedisStore::new(&config, &object(), None).unwrap();
    check_all(&store, &Real).await;
}

#[rstest]
#[tokio::test]
async fn a_wrong_password_is_unreachable_until_the_file_is_corrected(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, server) = (Files::new(), with_users(program).await);
    let mut config = config(RedisTopology::Standalone, &[server.endpoint()]);
    config.authentication = user(&files, "hunter2");
    let store = RedisStore::new(&config, &object(), None).unwrap();
    let key = StoreKey::User([1; 32]);
    let refused = store.get(&key).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unreachable(_)), "{refused:?}");
    let text = behalf_runtime::error_chain(&refused);
    assert!(text.contains("WRONGPASS") && !text.contains("hunter2"), "{text}");

    files.write("password", "first\n");
    let answers = async {
        while store.get(&key).await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), answers).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_changed_password_is_used_without_losing_a_command(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let (files, server) = (Files::new(), with_users(program).await);
    let mut config = config(RedisTopology::Standalone, &[server.endpoint()]);
    config.authentication = user(&files, "first");
    let store = RedisStore::new(&config, &object(), None).unwrap();
    let (key, end) = (
        StoreKey::User([1; 32]),
        SystemClock.now() + SignedDuration::from_mins(5),
    );
    store.put(&key, 0, vec![1], end).await.unwrap();
    // As an administrator rotates: both passwords are valid, then only the new one.
    server
        .ask::<()>(&["ACL", "SETUSER", "behalf", ">second"])
        .await
        .unwrap();
    files.write("password", "second\n");
    sleep(Duration::from_secs(7)).await;
    server
        .ask::<()>(&["ACL", "SETUSER", "behalf", "<first"])
        .await
        .unwrap();
    for _ in 0..20 {
        assert!(store.get(&key).await.unwrap().is_some());
        sleep(Duration::from_millis(20)).await;
    }
}

#[rstest]
#[tokio::test]
async fn another_user_name_is_used_without_losing_a_command_or_an_announcement(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let server = with_users(program).await;
    another_user(RedisTopology::Standalone, &server.endpoint(), &[&server]).await;
}

#[rstest]
#[tokio::test]
async fn another_user_name_is_used_by_the_connections_to_all_nodes_of_a_cluster(
    #[values(Program::Redis, Program::Valkey)] program: Program,
) {
    let cluster = RedisCluster::start(program).await;
    let nodes: Vec<_> = cluster.nodes.iter().collect();
    another_user(RedisTopology::Cluster, &cluster.endpoint(), &nodes).await;
}

/// Another user takes the place of the first, who is then deleted.
async fn another_user(topology: RedisTopology, endpoint: &Url, nodes: &[&RedisServer]) {
    let files = Files::new();
    let mut config = config(topology, std::slice::from_ref(endpoint));
    config.authentication = user(&files, "first");
    for node in nodes {
        for (name, password) in [("behalf", "first"), ("successor", "second")] {
            set_user(node, name, password).await;
            // The kubelet replaces both files at once, which here are two writes: the store may read the first user with the
            // second password.
            let more = ["ACL", "SETUSER", name, "+cluster|slots", ">second"];
            node.ask::<()>(&more).await.unwrap();
        }
    }
    let store = RedisStore::new(&config, &object(), None).unwrap();
    let mut heard = store.announcements().unwrap();
    let keys: Vec<_> = (0..20).map(|number| StoreKey::User([number; 32])).collect();
    let end = SystemClock.now() + SignedDuration::from_mins(5);
    for key in &keys {
        store.put(key, 0, vec![1], end).await.unwrap();
    }
    assert_eq!(heard.recv().await, Ok(Announcement::Lost), "the first connection");

    files.write("password", "second\n");
    files.write("username", "successor\n");
    let replaced = async {
        while connections_of(nodes, "behalf").await > 0 || connections_of(nodes, "successor").await == 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let replaced = timeout(Duration::from_secs(20), replaced).await;
    replaced.expect("a connection is still that of the first user");
    // Closes the connections of the user.
    for node in nodes {
        node.ask::<()>(&["ACL", "DELUSER", "behalf"]).await.unwrap();
    }
    for key in &keys {
        assert!(store.get(key).await.unwrap().is_some());
    }
    let id = SessionId::generate(&SystemRandom);
    store.announce_end(&id).await.unwrap();
    let announcement = timeout(Duration::from_secs(10), heard.recv()).await;
    assert_eq!(announcement.unwrap(), Ok(Announcement::SessionEnded(id)));
}

/// The number of connections of this user to all nodes.
async fn connections_of(nodes: &[&RedisServer], name: &str) -> usize {
    let user = format!("user={name} ");
    let mut count = 0;
    for node in nodes {
        let list: String = node.ask(&["CLIENT", "LIST"]).await.unwrap();
        count += list.matches(&user).count();
    }
    count
}
