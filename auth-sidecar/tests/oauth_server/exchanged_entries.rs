//! A store that returns the entry of another user.

use behalf_auth_sidecar::store::{SessionStore as _, StoreKey};
use behalf_entra::Secret;
use behalf_simulators::people::{ANA, BEN, Person, TENANT_ID};
use sha2::{Digest as _, Sha256};

use crate::fixture::{REDIRECT_URI, World};
use crate::sign_in_requirements::{claims_sent, requires};

#[tokio::test]
async fn requirements_of_another_user_are_ignored() {
    let world = World::start().await;
    let (login, anas) = world.session(ANA).await;
    let bens = world.login_of(&login.client_id, BEN).await;
    let session = world.sessions.open(&Secret::new(anas.access)).await.unwrap();
    let again = requires(r#"{"access_token":{}}"#);
    world.sessions.require_sign_in(&session, again).await.unwrap();
    let kept = world
        .store
        .get(&StoreKey::Pending(user_key(ANA)))
        .await
        .unwrap()
        .expect("one entry");
    let end = kept.expires_at;
    world
        .store
        .put(&StoreKey::Pending(user_key(BEN)), 0, kept.value, end)
        .await
        .unwrap();
    let before = claims_sent(&world).await.len();
    world.login_of(&bens.client_id, BEN).await;
    assert_eq!(claims_sent(&world).await[before..], [None]);
}

#[tokio::test]
async fn a_session_list_of_another_user_ends_no_sessions() {
    const MAX_SESSIONS: usize = 64;
    let world = World::start().await;
    let client_id = world.register(&[REDIRECT_URI]).await;
    let mut anas = Vec::new();
    for _ in 0..MAX_SESSIONS {
        let login = world.login_of(&client_id, ANA).await;
        anas.push(world.redeem(&login, &[]).await.tokens());
    }
    let kept = world.store.get(&StoreKey::User(user_key(ANA))).await.unwrap();
    let kept = kept.expect("a list");
    world
        .store
        .put(&StoreKey::User(user_key(BEN)), 0, kept.value, kept.expires_at)
        .await
        .unwrap();
    world.login_of(&client_id, BEN).await;
    for tokens in anas {
        assert!(world.sessions.open(&Secret::new(tokens.access)).await.is_ok());
    }
}

/// Returns the key of a user in the store.
pub(crate) fn user_key(person: Person) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in [TENANT_ID, person.object_id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
