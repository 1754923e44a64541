//! Refresh tokens: rotation, replay, revocation and key rotation.

use behalf_auth_sidecar::sessions::{SessionError, SignInAgain};
use behalf_auth_sidecar::store::{SessionStore as _, StoreKey, Written};
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::{ANA, BEN};

use crate::fixture::{REDIRECT_URI, World};

async fn is_open(world: &World, access: &str) -> bool {
    match world.sessions.open(&Secret::new(access)).await {
        Ok(_) => true,
        Err(SessionError::Invalid) => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// Regression: a login every hour: `claude-ai-mcp#840`, `claude-ai-mcp#247`, `claude-ai-mcp#228`, `claude-code#65036`,
/// `obot#4191`, `toolhive#6556`, `fastmcp#2468`, `gateway sample (empty refresh token)`.
#[tokio::test]
async fn a_refresh_issues_a_new_access_token_for_the_session() {
    let world = World::start().await;
    let (login, mut tokens) = world.session(ANA).await;
    for _ in 0..5 {
        world.advance(3600);
        assert!(!is_open(&world, &tokens.access).await, "an hour is over");
        tokens = world
            .refresh(&login.client_id, &tokens.refresh, &[])
            .await
            .tokens();
        assert!(is_open(&world, &tokens.access).await);
    }
}

#[tokio::test]
async fn an_older_access_token_stays_valid_after_a_refresh() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    assert_ne!(renewed.refresh, tokens.refresh);
    assert!(is_open(&world, &tokens.access).await);
    assert!(is_open(&world, &renewed.access).await);
}

/// Regression: `fastmcp#4265`, `fastmcp#4264`, `claude-code#85236`, repeated and parallel refreshes that ended the session.
#[tokio::test]
async fn a_replay_within_the_grace_gets_the_same_generation() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let first = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(119);
    let second = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    // Both tokens have one generation, so that the second use is a replay and not a theft.
    let third = world
        .refresh(&login.client_id, &first.refresh, &[])
        .await
        .tokens();
    assert_eq!(
        world.refresh(&login.client_id, &second.refresh, &[]).await.status,
        200
    );
    assert!(is_open(&world, &third.access).await);
}

#[tokio::test]
async fn parallel_refreshes_all_succeed() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let refreshes = (0..8).map(|_| world.refresh(&login.client_id, &tokens.refresh, &[]));
    for answer in futures::future::join_all(refreshes).await {
        assert!(is_open(&world, &answer.tokens().access).await);
    }
}

/// Regression: `claude-code#66210`, an old refresh token that was sent again after four days.
#[tokio::test]
async fn a_replay_after_the_grace_ends_the_family() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(120);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    assert!(!is_open(&world, &renewed.access).await);
    world
        .refresh(&login.client_id, &renewed.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_replay_with_too_wide_a_scope_ends_the_family() {
    let world = World::start_with(|config| config.access.writes = false).await;
    let (login, tokens) = world.session(ANA).await;
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    let wide = [("scope", "mcp:read mcp:run")];
    world
        .refresh(&login.client_id, &renewed.refresh, &wide)
        .await
        .assert_error(400, "invalid_scope");
    assert!(is_open(&world, &renewed.access).await);
    world.advance(120);
    world
        .refresh(&login.client_id, &tokens.refresh, &wide)
        .await
        .assert_error(400, "invalid_grant");
    assert!(!is_open(&world, &renewed.access).await);
}

#[tokio::test]
async fn the_end_of_one_family_does_not_affect_others() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let (other_login, other) = world.session(ANA).await;
    let (_, ben) = world.session(BEN).await;
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(120);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    assert!(is_open(&world, &other.access).await && is_open(&world, &ben.access).await);
    assert_eq!(
        world
            .refresh(&other_login.client_id, &other.refresh, &[])
            .await
            .status,
        200
    );
}

/// Regression: `GHSA-5h2m-4q8j-pqpj` (`CVE-2025-69196`), tokens that were valid at other servers.
#[tokio::test]
async fn a_refresh_token_is_bound_to_client_and_resource() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let other = world.register(&[REDIRECT_URI]).await;
    world
        .refresh(&other, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    let foreign = [("resource", "https://other.contoso.example/mcp")];
    world
        .refresh(&login.client_id, &tokens.refresh, &foreign)
        .await
        .assert_error(400, "invalid_target");
    assert_eq!(
        world.refresh(&login.client_id, &tokens.refresh, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn a_required_sign_in_refuses_the_refresh_and_keeps_the_session() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let again = SignInAgain::default();
    world.sessions.require_sign_in(&session, again).await.unwrap();
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    assert!(is_open(&world, &tokens.access).await);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
    assert!(is_open(&world, &tokens.access).await, "asking again is no reuse");
    let again = world.login_of(&login.client_id, ANA).await;
    let tokens = world.redeem(&again, &[]).await.tokens();
    assert_eq!(
        world.refresh(&login.client_id, &tokens.refresh, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn use_extends_a_session_and_idleness_ends_it() {
    let world = World::start_with(|config| {
        config.sessions.idle_lifetime_seconds = 3600;
        config.sessions.access_token_lifetime_seconds = 24 * 3600;
    })
    .await;
    let (login, tokens) = world.session(ANA).await;
    for _ in 0..5 {
        world.advance(3000);
        assert!(is_open(&world, &tokens.access).await);
    }
    world.advance(3600);
    assert!(!is_open(&world, &tokens.access).await);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn the_maximum_lifetime_ends_a_session_that_is_in_use() {
    let world = World::start_with(|config| config.sessions.maximum_lifetime_seconds = 7200).await;
    let (login, tokens) = world.session(ANA).await;
    world.advance(3000);
    let tokens = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(3000);
    let answer = world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    assert_eq!(
        answer.json()["expires_in"],
        1200,
        "the key does not outlive its session"
    );
    world.advance(1200);
    let last = answer.tokens();
    assert!(!is_open(&world, &last.access).await);
    world
        .refresh(&login.client_id, &last.refresh, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_store_outage_is_503_and_ends_nothing() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    world.store.set_broken(true);
    world
        .redeem(&login, &[])
        .await
        .assert_error(503, "temporarily_unavailable");
    world.store.set_broken(false);
    let tokens = world.redeem(&login, &[]).await.tokens();
    world.store.set_broken(true);
    world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .assert_error(503, "temporarily_unavailable");
    let revoke = [("client_id", &*login.client_id), ("token", &tokens.refresh)];
    world
        .post_form("/revoke", &revoke, &[])
        .await
        .assert_error(503, "temporarily_unavailable");
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await;
    assert!(
        matches!(
            opened,
            Err(SessionError::Unavailable {
                retry_after: Some(_),
                ..
            })
        ),
        "{opened:?}"
    );
    world.store.set_broken(false);
    assert!(is_open(&world, &tokens.access).await);
    assert_eq!(
        world.refresh(&login.client_id, &tokens.refresh, &[]).await.status,
        200
    );
}

#[tokio::test]
async fn revoking_either_token_ends_the_session() {
    let world = World::start().await;
    for use_refresh in [true, false] {
        let (login, tokens) = world.session(ANA).await;
        let token = if use_refresh {
            &tokens.refresh
        } else {
            &tokens.access
        };
        let fields = [
            ("client_id", &*login.client_id),
            ("token", token),
            ("token_type_hint", "refresh_token"),
        ];
        for _ in 0..2 {
            let answer = world.post_form("/revoke", &fields, &[]).await;
            assert_eq!((answer.status.as_u16(), answer.body.as_str()), (200, ""));
        }
        assert!(!is_open(&world, &tokens.access).await);
        world
            .refresh(&login.client_id, &tokens.refresh, &[])
            .await
            .assert_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_client_cannot_revoke_the_token_of_another_client() {
    let world = World::start().await;
    let (_, tokens) = world.session(ANA).await;
    let other = world.register(&[REDIRECT_URI]).await;
    let revoke = |client_id: String, token: String| {
        let world = &world;
        async move {
            world
                .post_form("/revoke", &[("client_id", &client_id), ("token", &token)], &[])
                .await
        }
    };
    revoke(other.clone(), tokens.refresh.clone())
        .await
        .assert_error(400, "unauthorized_client");
    assert!(is_open(&world, &tokens.access).await);
    assert_eq!(
        revoke(other.clone(), "unknown".to_owned()).await.status,
        200,
        "RFC 7009, section 2.2"
    );
    revoke("nobody".to_owned(), tokens.refresh)
        .await
        .assert_error(401, "invalid_client");
    revoke(other, String::new())
        .await
        .assert_error(400, "invalid_request");
}

#[tokio::test]
async fn sessions_survive_a_rotation_of_keys() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    // A key is first added for opening only and seals later. Texts of the old key stay valid.
    for sealing in ["k1", "k2"] {
        world.write_keyring(sealing, &["k1", "k2"]);
        world.keyring.reload().unwrap();
        assert!(is_open(&world, &tokens.access).await);
    }
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    assert!(renewed.access.starts_with("bha1.k2."), "sealed with the new key");
    world.write_keyring("k2", &["k2"]);
    world.keyring.reload().unwrap();
    // A call remembers its session for a second.
    world.advance(1);
    assert!(!is_open(&world, &tokens.access).await, "its key is retired");
    assert!(
        is_open(&world, &renewed.access).await,
        "the record was sealed again when it was written"
    );
}

#[tokio::test]
async fn an_unknown_key_is_503_while_a_rotation_is_pending() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    // A replica that has not read k3 yet, in the middle of a rotation.
    let foreign = tokens.access.replacen(".k1.", ".k3.", 1);
    assert!(!is_open(&world, &foreign).await);
    let added = world.clock.now();
    world.write_keyring_with_new("k1", &["k1"], ("k2", added));
    world.keyring.reload().unwrap();
    let opened = world.sessions.open(&Secret::new(foreign)).await;
    assert!(
        matches!(opened, Err(SessionError::Unavailable { .. })),
        "{opened:?}"
    );
    let foreign = tokens.refresh.replacen(".k1.", ".k3.", 1);
    world
        .refresh(&login.client_id, &foreign, &[])
        .await
        .assert_error(503, "temporarily_unavailable");
}

#[tokio::test]
async fn a_code_at_the_revocation_endpoint_is_an_unsupported_token_type() {
    let world = World::start().await;
    let login = world.login(ANA).await;
    let fields = [("client_id", &*login.client_id), ("token", &*login.code)];
    let answer = world.post_form("/revoke", &fields, &[]).await;
    answer.assert_error(400, "unsupported_token_type");
    assert_eq!(world.redeem(&login, &[]).await.status, 200);
}

#[tokio::test]
async fn a_token_of_an_ended_session_or_of_an_earlier_generation_is_revoked_with_200() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    // RFC 7009, section 2.2: the answer does not depend on the state of the token, or on a wrong hint.
    for (token, hint) in [
        (&tokens.refresh, "access_token"),
        (&renewed.refresh, "refresh_token"),
        (&renewed.access, "unknown"),
    ] {
        let fields = [
            ("client_id", &*login.client_id),
            ("token", token),
            ("token_type_hint", hint),
        ];
        assert_eq!(world.post_form("/revoke", &fields, &[]).await.status, 200);
        assert!(!is_open(&world, &renewed.access).await);
    }
}

/// Another version of the sidecar could read it, and its session would go on after an upgrade that is rolled back.
#[tokio::test]
async fn a_revocation_removes_a_record_that_this_version_cannot_read() {
    let world = World::start().await;
    let (login, tokens) = world.session(ANA).await;
    let opened = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let key = StoreKey::Session(opened.id);
    let entry = world.store.get(&key).await.unwrap().unwrap();
    let unreadable = b"a later form".to_vec();
    let put = world
        .store
        .put(&key, entry.revision, unreadable, entry.expires_at);
    assert_eq!(put.await.unwrap(), Written::Stored);
    let fields = [("client_id", &*login.client_id), ("token", &tokens.refresh)];
    assert_eq!(world.post_form("/revoke", &fields, &[]).await.status, 200);
    assert!(world.store.get(&key).await.unwrap().is_none());
}
