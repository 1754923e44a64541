//! Replicas with one Redis share the downstream tokens of their sessions.

use std::sync::Arc;

use axum::http::StatusCode;
use behalf_auth_sidecar::store::RedisStore;
use behalf_contract::ExchangePlace::Sidecar as InSidecar;
use behalf_contract::Injection::Header;
use behalf_contract::ReauthenticateReason::TokenRefused;
use behalf_contract::RedisTopology;
use behalf_entra::Secret;
use behalf_simulators::entra::{Effect, Fault, RequestKind};
use jiff::SignedDuration;

use crate::fake_server::mcp;
use crate::redis_server::{RedisServer, store_at};
use crate::second_try::{exchanges, refused, token};
use crate::world::{Login, Sidecar, World, call};

struct Replicas {
    world: World,
    redis: RedisServer,
}

impl Replicas {
    async fn start() -> Self {
        Self {
            world: World::start().await,
            redis: RedisServer::start(&[]).await,
        }
    }

    fn store(&self) -> RedisStore {
        store_at(RedisTopology::Standalone, &[self.redis.endpoint()])
    }

    /// A replica that has just started.
    fn replica(&self) -> Sidecar {
        let config = self.world.config(InSidecar, Header);
        self.world.sidecar_with_store(config, Arc::new(self.store()))
    }

    async fn calls(&self, replica: &Sidecar, login: &Login) -> StatusCode {
        replica.post(login, &call()).await.status()
    }

    /// The downstream tokens that the server received, in order.
    fn received(&self) -> Vec<String> {
        self.world.server.received().iter().map(token).collect()
    }

    /// The only key of this kind.
    async fn key(&self, kind: &str) -> String {
        let pattern = format!("*:{kind}");
        let keys: Vec<String> = self.redis.ask(&["KEYS", &pattern]).await.unwrap();
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys[0].clone()
    }

    /// Entra answers the next exchange with 503, and asks for a pause of 30 s.
    async fn entra_fails_at_the_next_exchange(&self) {
        let outage = Effect::Status {
            status: 503,
            retry_after_seconds: Some(30),
        };
        let fault = Fault::once([RequestKind::OnBehalfOf], outage);
        self.world.control().add_fault(&fault).await.unwrap();
    }

    fn server_refuses(&self, refused_token: String) {
        self.world.server.answers(move |request| {
            if token(request) == refused_token {
                refused(TokenRefused, None)
            } else {
                mcp(request)
            }
        });
    }
}

#[tokio::test]
async fn the_exchange_of_one_replica_serves_the_others_and_a_restarted_one() {
    let replicas = Replicas::start().await;
    let [first, second] = [replicas.replica(), replicas.replica()];
    let login = first.sign_in(&replicas.world).await;
    for replica in [&first, &second, &replicas.replica()] {
        assert_eq!(replicas.calls(replica, &login).await, StatusCode::OK);
    }
    assert_eq!(exchanges(&replicas.world).await, 1);
    let received = replicas.received();
    assert!(received.iter().all(|token| *token == received[0]));
    replicas.redis.every_key_expires().await;
}

#[tokio::test]
async fn a_warm_call_reads_the_session_once_a_second_and_writes_nothing() {
    const CALLS: usize = 5;
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    replicas.redis.ask::<()>(&["CONFIG", "RESETSTAT"]).await.unwrap();
    for _ in 0..CALLS {
        replicas.world.clock.advance(SignedDuration::from_secs(1));
        assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    }
    let commands: String = replicas.redis.ask(&["INFO", "commandstats"]).await.unwrap();
    assert!(
        commands.contains(&format!("cmdstat_eval:calls={CALLS},")),
        "{commands}"
    );
    for write in ["hset", "del", "pexpireat"] {
        assert!(!commands.contains(&format!("cmdstat_{write}:")), "{commands}");
    }
}

#[tokio::test]
async fn a_refused_token_is_exchanged_once_more_for_all_replicas() {
    let replicas = Replicas::start().await;
    let all = [replicas.replica(), replicas.replica(), replicas.replica()];
    let login = all[0].sign_in(&replicas.world).await;
    for replica in &all {
        assert_eq!(replicas.calls(replica, &login).await, StatusCode::OK);
    }
    replicas.server_refuses(replicas.received()[0].clone());
    for replica in all.iter().chain([&replicas.replica()]) {
        assert_eq!(replicas.calls(replica, &login).await, StatusCode::OK);
    }
    assert_eq!(exchanges(&replicas.world).await, 2);
}

#[tokio::test]
async fn a_refused_token_is_not_left_for_the_others_when_its_exchange_fails() {
    let replicas = Replicas::start().await;
    let first = replicas.replica();
    let login = first.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&first, &login).await, StatusCode::OK);
    let old = replicas.received()[0].clone();
    replicas.server_refuses(old.clone());
    replicas.entra_fails_at_the_next_exchange().await;
    assert_eq!(
        replicas.calls(&first, &login).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let before = replicas.received().len();
    assert_eq!(replicas.calls(&replicas.replica(), &login).await, StatusCode::OK);
    assert!(!replicas.received()[before..].contains(&old));
}

/// A full Redis writes nothing, and removes.
#[tokio::test]
async fn a_full_redis_keeps_no_refused_token_for_the_others() {
    let replicas = Replicas::start().await;
    let first = replicas.replica();
    let login = first.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&first, &login).await, StatusCode::OK);
    let old = replicas.received()[0].clone();
    replicas.server_refuses(old.clone());
    replicas
        .redis
        .ask::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    assert_eq!(replicas.calls(&first, &login).await, StatusCode::OK);
    let before = replicas.received().len();
    for replica in [&first, &replicas.replica()] {
        assert_eq!(replicas.calls(replica, &login).await, StatusCode::OK);
    }
    assert!(!replicas.received()[before..].contains(&old));
}

#[tokio::test]
async fn a_refused_token_that_comes_back_to_the_store_is_not_used_again() {
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    let old = replicas.received()[0].clone();
    let downstream = replicas.key("downstream").await;
    let copy = async |from: &str, to: &str| {
        let copied = replicas.redis.ask::<u8>(&["COPY", from, to, "REPLACE"]).await;
        assert_eq!(copied.unwrap(), 1);
    };
    copy(&downstream, "aside").await;
    replicas.server_refuses(old.clone());
    replicas.entra_fails_at_the_next_exchange().await;
    assert_eq!(
        replicas.calls(&replica, &login).await,
        StatusCode::SERVICE_UNAVAILABLE
    );
    copy("aside", &downstream).await;
    replicas.world.clock.advance(SignedDuration::from_secs(31));
    let before = replicas.received().len();
    assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    assert!(!replicas.received()[before..].contains(&old));
}

#[tokio::test]
async fn a_renewed_user_token_gets_a_downstream_token_of_its_own() {
    let replicas = Replicas::start().await;
    let [first, second] = [replicas.replica(), replicas.replica()];
    let refresh_token = replicas.world.refresh_token().await;
    let login = first
        .sign_in_for(
            &replicas.world,
            SignedDuration::from_mins(30),
            Some(refresh_token),
        )
        .await;
    assert_eq!(replicas.calls(&first, &login).await, StatusCode::OK);
    // Less than ten minutes of the user token are left; the downstream token has more.
    replicas.world.clock.advance(SignedDuration::from_mins(21));
    assert_eq!(replicas.calls(&second, &login).await, StatusCode::OK);
    assert_eq!(replicas.calls(&first, &login).await, StatusCode::OK);
    let received = replicas.received();
    assert_ne!(received[0], received[1]);
    assert_eq!(received[1], received[2]);
    assert_eq!(exchanges(&replicas.world).await, 2);
}

#[tokio::test]
async fn a_full_redis_does_not_fail_the_call() {
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    replicas
        .redis
        .ask::<()>(&["CONFIG", "SET", "maxmemory", "1"])
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    }
    assert_eq!(exchanges(&replicas.world).await, 1);
}

#[tokio::test]
async fn an_ended_session_leaves_no_downstream_token() {
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    replicas.key("downstream").await;
    let access = Secret::new(&*login.access_token);
    replica
        .sessions
        .revoke(&access, crate::world::CLIENT)
        .await
        .unwrap();
    let keys: Vec<String> = replicas.redis.ask(&["KEYS", "*:downstream"]).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn an_exchange_that_ends_after_its_session_leaves_no_downstream_token() {
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    let control = replicas.world.control();
    let hold = Fault::always([RequestKind::OnBehalfOf], Effect::Hold);
    control.add_fault(&hold).await.unwrap();
    let ends = async {
        while exchanges(&replicas.world).await == 0 {
            tokio::task::yield_now().await;
        }
        let access = Secret::new(&*login.access_token);
        let sessions = &replica.sessions;
        sessions.revoke(&access, crate::world::CLIENT).await.unwrap();
        control.clear_faults().await.unwrap();
    };
    // The call answers after its exchange.
    tokio::join!(replicas.calls(&replica, &login), ends);
    let fresh: Vec<String> = replicas.redis.ask(&["KEYS", "*:downstream"]).await.unwrap();
    assert!(fresh.is_empty(), "{fresh:?}");
}

/// Somebody who can write to Redis cannot make one session use another one's token.
#[tokio::test]
async fn an_entry_that_somebody_moved_or_exchanged_does_not_open() {
    let replicas = Replicas::start().await;
    let replica = replicas.replica();
    let login = replica.sign_in(&replicas.world).await;
    assert_eq!(replicas.calls(&replica, &login).await, StatusCode::OK);
    let (record, downstream) = (replicas.key("session").await, replicas.key("downstream").await);
    let other = replica.sign_in(&replicas.world).await;
    let sessions: Vec<String> = replicas.redis.ask(&["KEYS", "*:session"]).await.unwrap();
    let others = sessions.into_iter().find(|key| *key != record).unwrap();
    let others = others.replace(":session", ":downstream");
    let copy = |from: String, to: String| {
        let redis = &replicas.redis;
        async move { redis.ask::<()>(&["COPY", &from, &to, "REPLACE"]).await.unwrap() }
    };
    // The record of the same session, and the downstream token of another session.
    copy(record, downstream.clone()).await;
    copy(downstream, others).await;
    for login in [&login, &other] {
        let before = exchanges(&replicas.world).await;
        assert_eq!(replicas.calls(&replicas.replica(), login).await, StatusCode::OK);
        assert_eq!(exchanges(&replicas.world).await, before + 1);
    }
}
