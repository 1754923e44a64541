//! Three replicas with one Redis: the end of a session, and refreshes and calls of one session at the same time.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use behalf_auth_sidecar::admin;
use behalf_auth_sidecar::cli::{Cli, Command};
use behalf_contract::Injection::{self, Header, None as Nothing};
use behalf_contract::RedisTopology;
use behalf_entra::Secret;
use behalf_simulators::entra::RequestKind;
use behalf_simulators::people::{ANA, BEN};
use clap::Parser as _;
use futures::{StreamExt as _, future, poll};
use jiff::SignedDuration;
use rstest::rstest;

use crate::declared_revocations::{self, follow_revocations};
use crate::redis_server::{RedisServer, store_at};
use crate::revocation::{end_of, open, revoke, server_streams, status};
use crate::world::{CLIENT, Login, Sidecar, World, body};

struct Replicas {
    world: World,
    all: [Sidecar; 3],
    _redis: RedisServer,
}

impl Replicas {
    async fn start(injection: Injection) -> Self {
        let world = World::start().await;
        let redis = RedisServer::start(&[]).await;
        let all = [(); 3].map(|()| {
            let store = store_at(RedisTopology::Standalone, &[redis.endpoint()]);
            world.sidecar_with_store(world.config_for_client(injection), Arc::new(store))
        });
        for replica in &all {
            let sessions = replica.sessions.clone();
            tokio::spawn(async move { sessions.follow_remote_ends().await });
            follow_revocations(replica);
        }
        Self {
            world,
            all,
            _redis: redis,
        }
    }
}

/// The ways to end a session.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The client sends its refresh token to `/revoke` (RFC 7009).
    Client,

    /// An administrator runs `admin sessions revoke` in one Pod.
    Command,

    /// An administrator adds the user to `sessions.revocations`.
    Declaration,
}

impl End {
    /// Ends the sessions of Ana. What one replica alone does happens at the second one.
    async fn apply(self, replicas: &Replicas, login: &Login) {
        let second = &replicas.all[1];
        match self {
            Self::Client => revoke(second, login.refresh_token.expose()).await,
            Self::Command => revoke_by_command(second).await,
            Self::Declaration => declared_revocations::revoke(&replicas.world, ANA),
        }
    }
}

/// Runs the command as `kubectl exec` does.
async fn revoke_by_command(replica: &Sidecar) {
    let socket = replica.services.config.admin_socket.clone();
    let listener = admin::bind(&socket).unwrap();
    let router = admin::router(replica.services.clone());
    let serves = tokio::spawn(async move { axum::serve(listener, router).await });
    let begin = [
        "behalf-auth-sidecar",
        "admin",
        "--socket",
        socket.to_str().unwrap(),
    ];
    let command = ["sessions", "revoke", "--user", ANA.object_id];
    let cli = Cli::try_parse_from(begin.iter().chain(&command)).unwrap();
    let Some(Command::Admin(arguments)) = cli.command else {
        panic!("no command")
    };
    admin::run(&arguments, std::io::empty(), &mut Vec::new())
        .await
        .unwrap();
    serves.abort();
}

#[rstest]
#[tokio::test]
async fn streams_and_calls_of_an_ended_session_end_on_every_replica_within_two_seconds(
    #[values(End::Client, End::Command, End::Declaration)] end: End,
) {
    let replicas = Replicas::start(Nothing).await;
    server_streams(&replicas.world, "text/event-stream");
    let ana = replicas.all[0].sign_in_as(&replicas.world, ANA).await;
    let ben = replicas.all[0].sign_in_as(&replicas.world, BEN).await;
    let (mut streams, mut others) = (Vec::new(), Vec::new());
    for replica in &replicas.all {
        streams.push(open(replica, &ana, &Method::GET).await);
        streams.push(open(replica, &ana, &Method::POST).await);
        others.push(open(replica, &ben, &Method::GET).await);
    }
    end.apply(&replicas, &ana).await;
    // Each of them waits for two seconds, at the same time.
    let ends = future::join_all(streams.into_iter().map(end_of)).await;
    assert!(
        ends.iter().all(Option::is_none),
        "an end that no client takes for a fault"
    );
    for replica in &replicas.all {
        assert_eq!(status(replica, &ana).await, StatusCode::UNAUTHORIZED);
        assert_eq!(status(replica, &ben).await, StatusCode::OK);
    }
    for mut other in others {
        assert!(poll!(other.next()).is_pending(), "another user's stream ended");
    }
}

/// Refreshes at this replica through `/token`, as a client does.
async fn refresh(replica: &Sidecar, refresh_token: &Secret) -> Login {
    let fields = [
        ("grant_type", "refresh_token"),
        ("client_id", CLIENT),
        ("refresh_token", refresh_token.expose()),
    ];
    let answer = replica.post_form("/token", &fields).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer = body(answer).await;
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Login {
        access_token: text("access_token"),
        refresh_token: Secret::new(text("refresh_token")),
        at_entra: String::new(),
    }
}

/// Regression: `fastmcp#4265`, `fastmcp#4264`, `claude-code#85236`, parallel refreshes that ended the session;
/// `toolhive#4122`, replicas that renewed one token at the same time.
#[tokio::test]
async fn a_hundred_refreshes_and_calls_of_one_session_over_three_replicas_ask_entra_once() {
    const CLIENTS: usize = 100;
    let replicas = Replicas::start(Header).await;
    let (world, all) = (&replicas.world, &replicas.all);
    let at_entra = Some(world.refresh_token().await);
    let login = all[0]
        .sign_in_for(world, SignedDuration::from_mins(5), at_entra)
        .await;
    let work = (0..CLIENTS).map(|number| {
        let token = &login.refresh_token;
        async move {
            let renewed = refresh(&all[number % 3], token).await;
            let called = status(&all[(number + 1) % 3], &renewed).await;
            (renewed, called)
        }
    });
    let renewed = future::join_all(work).await;
    assert!(renewed.iter().all(|(_, called)| *called == StatusCode::OK));
    let control = world.control();
    let at_entra = control.requests_of(RequestKind::RefreshToken).await.unwrap();
    assert_eq!(at_entra.len(), 1);

    let mut last = None;
    for (number, (renewed, _)) in renewed.iter().enumerate() {
        last = Some(refresh(&all[(number + 2) % 3], &renewed.refresh_token).await);
    }
    let last = refresh(&all[0], &last.unwrap().refresh_token).await;
    for replica in all {
        assert_eq!(status(replica, &last).await, StatusCode::OK, "the family lives");
    }
    let at_entra = control.requests_of(RequestKind::RefreshToken).await.unwrap();
    assert_eq!(at_entra.len(), 1);
}
