//! The identity with which the sidecar authenticates to a Redis that knows Entra.

use behalf_auth_sidecar::host_key::HostKey;
use behalf_auth_sidecar::services::Services;
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::Header;
use behalf_contract::{RedisAuthentication, RedisTopology, StoreConfig};
use behalf_runtime::ConfigFile;
use behalf_simulators::people::{CLIENT_ID, SERVICE_PRINCIPAL_OBJECT_ID};
use rstest::rstest;

use crate::redis_entra_checker::EntraChecker;
use crate::redis_server::{RedisServer, config};
use crate::world::World;

const OTHER_CLIENT: &str = "be4a1f00-c11e-4000-8000-00000000b001";
const OTHER_OBJECT: &str = "be4a1f00-c11e-4000-8000-00000000b002";

#[rstest]
#[case::the_application_of_the_server(None, SERVICE_PRINCIPAL_OBJECT_ID)]
#[case::another_application(Some(OTHER_CLIENT), OTHER_OBJECT)]
#[tokio::test]
async fn the_configured_application_authenticates_to_redis(
    #[case] client_id: Option<&str>,
    #[case] object_id: &str,
) {
    let (world, redis) = (World::start().await, RedisServer::start(&[]).await);
    let checker = EntraChecker::start(redis.port).await;
    let control = world.control();
    let mut other = control.application(CLIENT_ID).await.unwrap();
    OTHER_CLIENT.clone_into(&mut other.client_id);
    OTHER_OBJECT.clone_into(&mut other.service_principal_object_id);
    control.put_application(&other).await.unwrap();

    let mut store = config(RedisTopology::Standalone, &[checker.endpoint()]);
    store.authentication = RedisAuthentication::Entra {
        client_id: client_id.map(str::to_owned),
        scope: "https://redis.azure.com/.default".to_owned(),
    };
    let mut config = world.config(InSidecar, Header);
    config.sessions.store = StoreConfig::Redis(store);
    let loaded = ConfigFile {
        config,
        digest: "sha256:0123".to_owned(),
    };
    let services = Services::new(loaded, world.environment(), &HostKey::from_random(&[42; 32])).unwrap();
    services.sessions.store().ping().await.unwrap();
    let users: Vec<_> = checker
        .authentications()
        .into_iter()
        .map(|one| one.user)
        .collect();
    assert!(
        !users.is_empty() && users.iter().all(|user| user == object_id),
        "{users:?}"
    );
}
