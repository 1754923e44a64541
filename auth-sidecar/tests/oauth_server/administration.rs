//! The commands of an administrator, through the socket, with three replicas over one store.

use std::path::PathBuf;
use std::time::Duration;

use behalf_auth_sidecar::admin;
use behalf_auth_sidecar::cli::{Cli, Command};
use behalf_auth_sidecar::store::{SessionStore as _, StoreKey};
use behalf_contract::is_registered_client_label;
use behalf_entra::{Clock as _, Secret};
use behalf_simulators::people::{ANA, BEN, Person};
use clap::Parser as _;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::answer::Tokens;
use crate::fixture::World;
use crate::sign_in_requirements::requires;

/// Maximum time until the end of a session reaches every replica.
const IN_FORCE: Duration = Duration::from_secs(2);

/// Three replicas; the second one answers on the socket.
struct Administration {
    world: World,
    socket: PathBuf,
}

impl Administration {
    async fn start() -> Self {
        let world = World::start_replicas(3, |_| {}).await;
        let services = world.replicas[1].clone();
        let socket = services.config.admin_socket.clone();
        let listener = admin::bind(&socket).unwrap();
        tokio::spawn(async move { axum::serve(listener, admin::router(services)).await });
        Self { world, socket }
    }

    /// Runs a command as `kubectl exec` does. Returns its output, or the text of its error.
    async fn run_with(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let (output, outcome) = self.run_to_end(arguments, input).await;
        outcome.map(|()| output)
    }

    /// As [`Self::run_with`], with the output also after an error.
    async fn run_to_end(&self, arguments: &[&str], input: &str) -> (String, Result<(), String>) {
        let socket = self.socket.to_str().unwrap();
        let begin = ["behalf-auth-sidecar", "admin", "--socket", socket];
        let cli = Cli::try_parse_from(begin.iter().chain(arguments)).unwrap();
        let Some(Command::Admin(arguments)) = cli.command else {
            panic!("no command")
        };
        let mut output = Vec::new();
        let outcome = admin::run(&arguments, input.as_bytes(), &mut output).await;
        (
            String::from_utf8(output).unwrap(),
            outcome.map_err(|error| error.to_string()),
        )
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        self.run_with(arguments, "").await
    }

    async fn list(&self, more: &[&str]) -> Vec<Value> {
        let arguments = [&["-o", "json", "sessions", "list"][..], more].concat();
        serde_json::from_str(&self.run(&arguments).await.unwrap()).unwrap()
    }

    async fn introspect(&self, token: &str) -> Value {
        let output = self.run_with(&["-o", "json", "introspect"], token).await;
        serde_json::from_str(&output.unwrap()).unwrap()
    }

    /// Runs a command. Returns when the open requests of this session have ended in every replica.
    async fn run_and_end(&self, arguments: &[&str], tokens: &Tokens) -> String {
        let mut opened = Vec::new();
        for replica in &self.world.replicas {
            let access = Secret::new(&*tokens.access);
            opened.push(replica.sessions.open(&access).await.unwrap());
        }
        let output = self.run(arguments).await.unwrap();
        for session in opened {
            timeout(IN_FORCE, session.ended()).await.expect("goes on");
        }
        output
    }

    async fn is_active(&self, tokens: &Tokens) -> bool {
        let both = [&tokens.access, &tokens.refresh];
        let [access, refresh] = both.map(|token| self.introspect(token));
        let (access, refresh) = (access.await, refresh.await);
        assert_eq!(access["active"], refresh["active"]);
        access["active"] == true
    }
}

fn users(sessions: &[Value]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session["user"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_list_names_user_client_and_times_of_each_session_and_nothing_secret() {
    let admin = Administration::start().await;
    let world = &admin.world;
    let login_time = world.clock.now();
    let (login, tokens) = world.session(ANA).await;
    world.advance(600);
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    let code = world.login(BEN).await;

    let sessions = admin.list(&[]).await;
    assert_eq!(
        users(&sessions),
        [BEN.object_id, ANA.object_id],
        "the newest login first"
    );
    let [bens, anas] = &sessions[..] else { panic!() };
    assert_eq!(bens["lastUsedAt"], Value::Null, "the code is not redeemed");
    assert_eq!(anas["clientName"], "A test client");
    let label = anas["clientId"].as_str().unwrap();
    assert!(
        is_registered_client_label(label),
        "the id of a registered client is a sealed text: {label}"
    );
    let second = |member: &str| {
        let time: jiff::Timestamp = anas[member].as_str().unwrap().parse().unwrap();
        time.as_second()
    };
    assert_eq!(second("signedInAt"), login_time.as_second());
    assert_eq!(second("lastUsedAt"), world.clock.now().as_second());

    let table = admin.run(&["sessions", "list"]).await.unwrap();
    assert!(
        table.contains(ANA.object_id) && table.contains("A test client") && table.contains(label),
        "{table}"
    );
    let json = serde_json::to_string(&sessions).unwrap();
    let mut secrets = vec![
        tokens.access,
        tokens.refresh,
        renewed.access,
        renewed.refresh,
        code.code,
    ];
    secrets.extend(
        world
            .entra
            .control()
            .secrets()
            .await
            .unwrap()
            .into_iter()
            .map(|secret| secret.value),
    );
    for text in [&table, &json] {
        assert!(secrets.iter().all(|secret| !text.contains(secret)));
        for person in [ANA, BEN] {
            assert!(!text.contains(person.user_name) && !text.contains(person.display_name));
        }
    }
    assert_eq!(
        users(&admin.list(&["--user", ANA.object_id]).await),
        [ANA.object_id]
    );
}

#[tokio::test]
async fn a_session_that_a_listing_misses_ends_with_the_others_of_its_user() {
    let admin = Administration::start().await;
    let (_, tokens) = admin.world.session(ANA).await;
    admin.world.store.hide_next_listing();
    let output = admin.run(&["sessions", "revoke", "--user", ANA.object_id]).await;
    assert_eq!(output.unwrap(), "Revoked 1 session.\n");
    assert!(!admin.is_active(&tokens).await);
}

#[tokio::test]
async fn a_revocation_that_may_have_missed_sessions_says_so_and_fails() {
    let admin = Administration::start().await;
    admin.world.session(ANA).await;
    // As if the user signed in again after each listing.
    admin.world.store.keep_sessions();
    let arguments = ["-o", "json", "sessions", "revoke", "--user", ANA.object_id];
    let (output, outcome) = admin.run_to_end(&arguments, "").await;
    let error = outcome.unwrap_err();
    assert!(
        error.contains("still found sessions") && error.contains("spec.sessions.revocations"),
        "{error}"
    );
    let output: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(output, json!({"revoked": 8, "complete": false}));
}

#[tokio::test]
async fn a_session_that_is_revoked_by_id_ends_in_every_replica_and_alone() {
    let admin = Administration::start().await;
    let (login, tokens) = admin.world.session(ANA).await;
    let id = admin.list(&[]).await[0]["id"].as_str().unwrap().to_owned();
    let (_, other) = admin.world.session(ANA).await;
    let output = admin.run_and_end(&["sessions", "revoke", &id], &tokens).await;
    assert_eq!(output, "Revoked 1 session.\n");
    assert!(!admin.is_active(&tokens).await);
    assert!(admin.is_active(&other).await);
    let refused = admin.world.refresh(&login.client_id, &tokens.refresh, &[]).await;
    refused.assert_error(400, "invalid_grant");
    assert_eq!(admin.list(&[]).await.len(), 1);
}

#[tokio::test]
async fn all_sessions_of_a_user_end_and_codes_too() {
    let admin = Administration::start().await;
    let (_, one) = admin.world.session(ANA).await;
    let (_, two) = admin.world.session(ANA).await;
    let (_, bens) = admin.world.session(BEN).await;
    let code = admin.world.login(ANA).await;
    let user = ANA.object_id.to_ascii_uppercase();
    let output = admin
        .run_and_end(&["sessions", "revoke", "--user", &user], &one)
        .await;
    assert_eq!(output, "Revoked 3 sessions.\n");
    assert!(!admin.is_active(&two).await);
    assert!(admin.is_active(&bens).await);
    admin
        .world
        .redeem(&code, &[])
        .await
        .assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn sessions_that_are_revoked_in_the_object_are_not_listed_and_their_tokens_not_active() {
    let admin = Administration::start().await;
    let (_, tokens) = admin.world.session(ANA).await;
    let opened = admin.world.replicas[1]
        .sessions
        .open(&Secret::new(&*tokens.access))
        .await
        .unwrap();
    admin.world.advance(1);
    // A replica that has not removed the record yet.
    admin.world.store.keep_sessions();
    let before = admin.world.clock.now().to_string();
    admin
        .world
        .write_revocations(&json!({"before": before, "users": []}));
    timeout(IN_FORCE, opened.ended()).await.expect("goes on");
    assert!(admin.list(&[]).await.is_empty());
    assert!(!admin.is_active(&tokens).await);
}

#[tokio::test]
async fn introspection_answers_as_rfc_7662_says_and_changes_nothing() {
    let admin = Administration::start().await;
    let world = &admin.world;
    let (login, tokens) = world.session(ANA).await;
    let issued = world.clock.now().as_second();
    let answer = admin.introspect(&format!("{}\n", tokens.access)).await;
    let expected = json!({
        "active": true, "token_use": "access_token", "scope": "mcp:read mcp:run",
        "client_id": login.client_id, "sub": ANA.object_id, "aud": world.resource(), "iss": world.issuer_url(),
        "iat": issued, "auth_time": issued, "exp": issued + 3600, "sid": answer["sid"],
    });
    assert_eq!(answer, expected);
    assert_eq!(answer["sid"], admin.list(&[]).await[0]["id"]);

    // A replay of this refresh token would end the session. Its introspection does not.
    let renewed = world
        .refresh(&login.client_id, &tokens.refresh, &[])
        .await
        .tokens();
    world.advance(121);
    assert_eq!(admin.introspect(&tokens.refresh).await, json!({"active": false}));
    assert_eq!(
        admin.introspect(&renewed.refresh).await["token_use"],
        "refresh_token"
    );
    world
        .refresh(&login.client_id, &renewed.refresh, &[])
        .await
        .tokens();

    let code = world.login(ANA).await.code;
    for other in [code.as_str(), "garbage", &login.client_id, &tokens.access[1..]] {
        assert_eq!(admin.introspect(other).await, json!({"active": false}));
    }
    world.advance(3600);
    assert_eq!(admin.introspect(&tokens.access).await, json!({"active": false}));
}

#[tokio::test]
async fn a_command_that_fails_names_the_next_step() {
    let mut admin = Administration::start().await;
    let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
    for (arguments, expected) in [
        (&["sessions", "revoke", unknown][..], "no session has the id"),
        (
            &["sessions", "revoke", "../introspect"][..],
            "is not the id of a session",
        ),
        (
            &["sessions", "revoke", "--user", "ana@contoso.example"][..],
            "az ad user show",
        ),
        (&["sessions", "list", "--user", "ana"][..], "az ad user show"),
        (&["introspect"][..], "pass -i to kubectl exec"),
    ] {
        let error = admin.run(arguments).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    admin.world.store.set_broken(true);
    let error = admin.run(&["sessions", "list"]).await.unwrap_err();
    assert!(error.contains("try again"), "{error}");
    admin.socket.set_file_name("nothing.sock");
    let error = admin.run(&["sessions", "list"]).await.unwrap_err();
    assert!(error.contains("kubectl exec"), "{error}");
}

#[tokio::test]
async fn more_sessions_than_one_page_are_all_listed() {
    let admin = Administration::start().await;
    let client_id = admin.world.register(&[crate::fixture::REDIRECT_URI]).await;
    let people: [Person; 2] = [ANA, BEN];
    // A user has at most 64 sessions, and a page at most 100.
    for number in 0..104 {
        admin.world.login_of(&client_id, people[number % 2]).await;
    }
    assert_eq!(admin.list(&[]).await.len(), 104);
    assert_eq!(admin.list(&["--user", BEN.object_id]).await.len(), 52);
}

#[tokio::test]
async fn tokens_that_entra_refuses_are_not_active() {
    let admin = Administration::start().await;
    let world = &admin.world;
    world.entra_tokens_live_an_hour().await;
    let (_, tokens) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*tokens.access)).await.unwrap();
    let again = requires(r#"{"access_token":{}}"#);
    world.sessions.require_sign_in(&session, again).await.unwrap();
    // Calls that need no new token go on. A refresh does not.
    assert_eq!(admin.introspect(&tokens.access).await["active"], true);
    assert_eq!(admin.introspect(&tokens.refresh).await, json!({"active": false}));

    let (_, revoked) = world.session(ANA).await;
    let session = world.sessions.open(&Secret::new(&*revoked.access)).await.unwrap();
    world.entra.control().revoke(ANA.user_name).await.unwrap();
    world.advance(52 * 60);
    world.sessions.user_token(&session).await.unwrap_err();
    assert!(!admin.is_active(&revoked).await);
}

/// A store that anybody changes must not make an administrator revoke the wrong session.
#[tokio::test]
async fn the_entry_of_another_session_is_not_listed() {
    let admin = Administration::start().await;
    let world = &admin.world;
    let mut sessions = Vec::new();
    for person in [ANA, BEN] {
        let (_, tokens) = world.session(person).await;
        sessions.push(
            world
                .sessions
                .open(&Secret::new(&*tokens.access))
                .await
                .unwrap()
                .id,
        );
    }
    let [anas, bens] = [sessions[0], sessions[1]].map(StoreKey::Session);
    let entry = world.store.remove(&anas).await.unwrap().unwrap();
    world.store.remove(&bens).await.unwrap();
    world
        .store
        .put(&bens, 0, entry.value, entry.expires_at)
        .await
        .unwrap();
    assert!(admin.list(&[]).await.is_empty());
}
