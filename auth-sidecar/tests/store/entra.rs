//! A Redis that authenticates its clients with Entra.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use behalf_auth_sidecar::store::{RedisStore, SessionStore as _, StoreKey};
use behalf_contract::{RedisAuthentication, RedisTopology};
use behalf_entra::{
    Clock as _, EntraClient, FederatedTokenFile, HttpLimits, Proxies, RetryPolicy, Settings, SystemClock,
    TrustRoots,
};
use behalf_simulators::entra::{
    Effect, EntraSimulator, EntraSimulatorOptions, Fault, IssuerFixture, RequestKind,
};
use behalf_simulators::people::{CLIENT_ID, SERVICE_PRINCIPAL_OBJECT_ID, TENANT_ID};
use jiff::SignedDuration;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::conformance::{Real, check_all};
use crate::redis_entra_checker::EntraChecker;
use crate::redis_server::{Program, RedisCluster, RedisServer, cluster_node, config, free_port, object};
use crate::secured::{Files, authority, certificate};

const KEY: StoreKey = StoreKey::User([1; 32]);

struct World {
    entra: EntraSimulator,
    checker: EntraChecker,
    store: RedisStore,
    issuer: IssuerFixture,
    redis: RedisServer,
    folder: TempDir,
}

impl World {
    /// Entra does not yet trust the `ServiceAccount`.
    async fn start() -> Self {
        // Idempotent: the first test of the process installs the provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issuer = IssuerFixture::start().await.unwrap();
        let entra = EntraSimulator::start(EntraSimulatorOptions::default())
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        issuer.write_token(&token_file, &issuer.token().unwrap()).unwrap();
        let redis = RedisServer::start(&[]).await;
        let checker = EntraChecker::start(redis.port).await;
        let mut config = config(RedisTopology::Standalone, &[checker.endpoint()]);
        config.authentication = authentication();
        let client = client(&entra, token_file);
        Self {
            store: RedisStore::new(&config, &object(), Some(client)).unwrap(),
            entra,
            checker,
            issuer,
            redis,
            folder,
        }
    }

    async fn start_trusted() -> Self {
        let world = Self::start().await;
        let credential = [world.issuer.credential()];
        let control = world.entra.control();
        control
            .put_federated_credentials(CLIENT_ID, &credential)
            .await
            .unwrap();
        world
    }

    /// Entra's tokens for Redis live for this many seconds.
    async fn start_with_tokens_of(life: u64) -> Self {
        let world = Self::start_trusted().await;
        let control = world.entra.control();
        control
            .update_settings(|settings| settings.redis_token_seconds = Some(life))
            .await
            .unwrap();
        world
    }

    async fn tokens_asked_for(&self) -> usize {
        let control = self.entra.control();
        let requests = control.requests_of(RequestKind::ClientCredentials).await;
        requests.unwrap().len()
    }

    /// Calls again and again for this time. Every call must fail.
    async fn fails_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            assert!(self.store.get(&KEY).await.is_err());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn authentication() -> RedisAuthentication {
    RedisAuthentication::Entra {
        client_id: None,
        scope: "https://redis.azure.com/.default".to_owned(),
    }
}

fn client(entra: &EntraSimulator, token_file: PathBuf) -> EntraClient {
    EntraClient::with_retry_policy(
        Settings::new(&entra.authority(), TENANT_ID, CLIENT_ID).unwrap(),
        FederatedTokenFile::new(token_file),
        TrustRoots::system()
            .http_client(HttpLimits::default(), Proxies::None)
            .unwrap(),
        Arc::new(SystemClock),
        RetryPolicy {
            attempts: 1,
            ..RetryPolicy::default()
        },
    )
}

#[tokio::test]
async fn the_user_is_the_oid_of_the_token_and_the_token_is_the_password() {
    let world = World::start_trusted().await;
    check_all(&world.store, &Real).await;
    let authentications = world.checker.authentications();
    assert!(!authentications.is_empty());
    for one in authentications {
        assert!(
            one.is_accepted && one.user == SERVICE_PRINCIPAL_OBJECT_ID,
            "{one:?}"
        );
    }
    assert_eq!(world.tokens_asked_for().await, 1);
}

#[tokio::test]
async fn a_token_is_replaced_on_the_same_connection_before_it_expires() {
    const LIFE: u64 = 4;
    let world = World::start_with_tokens_of(LIFE).await;
    let end = SystemClock.now() + SignedDuration::from_mins(1);
    world.store.put(&KEY, 0, vec![1], end).await.unwrap();
    // Two lifetimes and a half.
    let end = Instant::now() + Duration::from_secs(LIFE * 5 / 2);
    while Instant::now() < end {
        assert!(world.store.get(&KEY).await.unwrap().is_some());
        sleep(Duration::from_millis(20)).await;
    }
    let authentications = world.checker.authentications();
    assert!(
        authentications
            .iter()
            .all(|one| one.connection == 1 && one.is_accepted),
        "{authentications:?}"
    );
    let mut tokens: Vec<_> = authentications.into_iter().map(|one| one.token).collect();
    tokens.dedup();
    assert!(tokens.len() >= 3, "{} tokens", tokens.len());
    assert_eq!(world.checker.expired(), 0);
}

#[tokio::test]
async fn a_new_connection_does_not_wait_for_a_slow_entra_while_the_old_token_lives() {
    const LIFE: u64 = 12;
    let world = World::start_with_tokens_of(LIFE).await;
    world.store.ping().await.unwrap();
    let hold = Fault::always([RequestKind::ClientCredentials], Effect::Hold);
    let control = world.entra.control();
    control.add_fault(&hold).await.unwrap();
    // In the last quarter of its life the token is asked for again.
    while world.tokens_asked_for().await < 2 {
        sleep(Duration::from_millis(20)).await;
    }
    // The connection of the store is subscribed to announcements.
    let closed = world.redis.ask::<u8>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    assert_eq!(closed.unwrap(), 1);
    let tokens = |connection| {
        let all = world.checker.authentications().into_iter();
        let of_one = all.filter(|one| one.connection == connection);
        of_one.map(|one| one.token).collect::<Vec<_>>()
    };
    while tokens(2).is_empty() {
        world.store.get(&KEY).await.unwrap();
    }
    let old = tokens(1)[0].clone();
    assert!(tokens(2).iter().all(|token| *token == old));
    control.clear_faults().await.unwrap();
    let replaced = async {
        while tokens(2).iter().all(|token| *token == old) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), replaced).await.unwrap();
    assert_eq!(world.checker.expired(), 0);
    assert_eq!(world.tokens_asked_for().await, 2);
}

#[tokio::test]
async fn an_application_that_entra_refuses_asks_once_in_a_pause_and_says_why() {
    let world = World::start().await;
    world.fails_for(Duration::from_secs(2)).await;
    assert_eq!(world.tokens_asked_for().await, 1);
    assert!(world.checker.authentications().is_empty());
    let error = world.store.get(&KEY).await.unwrap_err();
    let text = behalf_runtime::error_chain(&error);
    assert!(
        text.contains("trusts this ServiceAccount") && text.contains("AADSTS"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_that_redis_refuses_is_tried_with_a_pause_and_entra_is_not_asked_again() {
    let world = World::start_trusted().await;
    world.checker.refuse_all(true);
    world.fails_for(Duration::from_secs(3)).await;
    let tries = world.checker.authentications().len();
    assert!((1..20).contains(&tries), "{tries} tries");
    let error = world.store.get(&KEY).await.unwrap_err();
    let text = behalf_runtime::error_chain(&error);
    assert!(text.contains("WRONGPASS") && !text.contains("eyJ"), "{text}");

    world.checker.refuse_all(false);
    let answers = async {
        while world.store.get(&KEY).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(10), answers).await.unwrap();
    assert_eq!(world.tokens_asked_for().await, 1);
}

/// Azure Managed Redis with the clustering policy OSS: a cluster with TLS and tokens of Entra, whose nodes announce the address
/// of a host whose name alone is in the certificate.
#[tokio::test]
async fn every_node_of_a_cluster_with_tls_gets_the_token() {
    let world = World::start_trusted().await;
    let (files, issuer) = (Files::new(), authority());
    let (certificate, key) = certificate(&issuer, &["localhost"]);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let tls = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(tls));
    let (mut checkers, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let port = free_port();
        let checker = EntraChecker::start_with(port, Some(tls.clone())).await;
        let announced = checker.port().to_string();
        let flags = ["--cluster-announce-port", &announced];
        nodes.push(cluster_node(Program::Redis, port, &flags).await);
        checkers.push(checker);
    }
    let _cluster = RedisCluster::of(nodes).await;
    let endpoint = format!("rediss://localhost:{}", checkers[0].port());
    let mut config = config(RedisTopology::Cluster, &[endpoint.parse().unwrap()]);
    config.certificate_authority_file = Some(files.write("ca.crt", &issuer.pem()));
    config.authentication = authentication();
    let client = client(&world.entra, world.folder.path().join("token"));
    let store = RedisStore::new(&config, &object(), Some(client)).unwrap();
    check_all(&store, &Real).await;
    for checker in &checkers {
        let authentications = checker.authentications();
        assert!(!authentications.is_empty(), "a node got no token");
        for one in authentications {
            assert!(
                one.is_accepted && one.user == SERVICE_PRINCIPAL_OBJECT_ID,
                "{one:?}"
            );
        }
    }
    assert_eq!(world.tokens_asked_for().await, 1);
}
