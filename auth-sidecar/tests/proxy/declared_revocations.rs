//! A revocation that an administrator declares ends open streams and calls.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use behalf_auth_sidecar::store::StoreKey;
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::{ANA, BEN, Person};
use futures::{StreamExt as _, future, poll};
use jiff::SignedDuration;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::revocation::{end_of, open, server_streams};
use crate::tool_error::tool_error;
use crate::world::{Sidecar, World, call};

/// Revokes the sessions of this user, as the kubelet does after a change of the object.
pub(crate) fn revoke(world: &World, person: Person) {
    let before = world.clock.now() + SignedDuration::from_secs(1);
    let file = json!({"users": [{"id": person.object_id, "before": before}]});
    let new = world.file("revocations.new");
    std::fs::write(&new, file.to_string()).unwrap();
    std::fs::rename(new, world.file("revocations.json")).unwrap();
}

/// Follows the file of revocations, as the started process does.
pub(crate) fn follow_revocations(sidecar: &Sidecar) {
    let sessions = sidecar.sessions.clone();
    tokio::spawn(async move { sessions.follow_revocations().await });
}

#[tokio::test]
async fn open_streams_of_the_revoked_user_alone_end_within_two_seconds() {
    let world = World::start().await;
    server_streams(&world, "text/event-stream");
    let sidecar = world.sidecar_for_client();
    follow_revocations(&sidecar);
    let ana = sidecar.sign_in_as(&world, ANA).await;
    let ben = sidecar.sign_in_as(&world, BEN).await;
    let opened = sidecar
        .sessions
        .open(&Secret::new(&*ana.access_token))
        .await
        .unwrap();
    let record = StoreKey::Session(opened.id);
    drop(opened);
    let streams = [
        open(&sidecar, &ana, &Method::GET).await,
        open(&sidecar, &ana, &Method::POST).await,
    ];
    let mut stays = open(&sidecar, &ben, &Method::GET).await;
    revoke(&world, ANA);
    for stream in streams {
        assert!(
            end_of(stream).await.is_none(),
            "an end that no client takes for a fault"
        );
    }
    assert!(poll!(stays.next()).is_pending());
    // No call of the session is needed to remove its record.
    timeout(Duration::from_secs(2), async {
        while sidecar.sessions.store().get(&record).await.unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the record stays");
    assert_eq!(
        sidecar.post(&ana, &call()).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_tool_call_without_an_answer_is_told_that_it_may_have_run() {
    let world = World::start().await;
    let (sidecar, silent) = world.sidecar_with_silent_server().await;
    follow_revocations(&sidecar);
    let ana = sidecar.sign_in_as(&world, ANA).await;
    let message = call();
    let waits = sidecar.post(&ana, &message);
    let server = async {
        let (mut connection, _) = silent.accept().await.unwrap();
        assert!(connection.read(&mut [0; 4096]).await.unwrap() > 0);
        revoke(&world, ANA);
        connection
    };
    let both = timeout(Duration::from_secs(5), future::join(waits, server));
    let (response, _connection) = both.await.expect("the call still waits");
    assert!(tool_error(response).await.contains("it may have run"));
}
