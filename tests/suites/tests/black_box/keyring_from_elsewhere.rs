//! A keyring that another tool delivers (`keys.type: Secret`), in two Pods: both phases of a rotation, and a damaged file.

use behalf_demo::environment::{Conditions, Server};
use behalf_demo::mcp_client::{SignedIn, call_with_token};
use behalf_simulators::people::{ANA, BEN, Person};
use behalf_tests::commands;
use behalf_tests::limits::restoring;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::ensure;
use crate::scratch_server::{self, PORT, mcp_url, serving, sessions_in_redis, wait};
use crate::world::{TestResult, World};

crate::tests![Scratch: [
    a_keyring_from_elsewhere_rotates_in_two_phases_and_a_damaged_one_leaves_its_keys_in_use,
]];

/// The Secret of the tool, and the name of the file in it.
const SECRET: &str = "scratch-behalf-keys";
const FILE: &str = "keyring.json";

async fn a_keyring_from_elsewhere_rotates_in_two_phases_and_a_damaged_one_leaves_its_keys_in_use(
    world: &World,
) -> TestResult {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let fields = json!({
        "server": quickstart["spec"]["server"], "sessions": sessions_in_redis(world)?,
        "keys": {"type": "Secret", "secret": {"secretRef": {"name": SECRET, "key": FILE}}},
    });
    let object = scratch_server::object(world, &format!("http://localhost:{PORT}"), &fields)?;
    let work = async {
        let keyring = documented_keyring(world)?;
        deliver(world, &keyring.to_string())?;
        serving(world, &object, async || {
            let rotated = rotate(world, keyring).await?;
            damage_and_repair(world, &rotated).await
        })
        .await
    };
    restoring(work, async {
        world.kubectl(&["delete", "secret", SECRET, "--ignore-not-found"])?;
        Ok(())
    })
    .await
}

/// Adds keys, lets them seal when the status names them, and returns the new keyring.
async fn rotate(world: &World, mut keyring: Value) -> TestResult<Value> {
    let added = documented_keyring(world)?;
    let [old, new] = [sealing(&keyring), sealing(&added)];
    let session = sign_in(world, &ANA, &old).await?;
    wait(world, "status.keys.current", |now| keys(now) == (&*old, None)).await?;

    for set in ["sessions", "clients"] {
        let keys = keyring[set]["keys"].as_array_mut().ok_or("a set has no keys")?;
        keys.push(added[set]["keys"][0].clone());
    }
    deliver(world, &keyring.to_string())?;
    wait(world, "status.keys.next", |now| keys(now) == (&*old, Some(&*new))).await?;
    call(&session).await?;
    sign_in(world, &BEN, &old).await?;

    for set in ["sessions", "clients"] {
        keyring[set]["sealing"] = added[set]["sealing"].clone();
    }
    deliver(world, &keyring.to_string())?;
    let rotated = wait(world, "the new key as status.keys.current", |now| {
        keys(now) == (&*new, None)
    })
    .await?;
    ensure!(
        rotated.status.pointer("/keys/retiring/0/id") == Some(&json!(old)),
        "the earlier key is not retiring: {}",
        rotated.status["keys"]
    );
    call(&session).await?;
    session.manager().lock().await.refresh_token().await?;
    world.remember_unrecorded(&session).await?;
    is_sealed_with(&session, &new).await?;
    call(&session).await?;
    Ok(keyring)
}

/// Cuts the file off. Calls and logins go on with its keys, and the object says that the file is damaged until it is repaired.
async fn damage_and_repair(world: &World, keyring: &Value) -> TestResult {
    let key = sealing(keyring);
    let whole = keyring.to_string();
    let session = sign_in(world, &ANA, &key).await?;
    deliver(world, whole.get(..whole.len() / 2).unwrap_or_default())?;
    let damaged = wait(world, "SessionsDurable=False (KeyringUnusable)", |now| {
        now.get("SessionsDurable")
            .is_some_and(|durable| (&*durable.status, &*durable.reason) == ("False", "KeyringUnusable"))
    })
    .await?;
    ensure!(damaged.is("Ready", "True"), "damaged: {}", damaged.summary());
    call(&session).await?;
    sign_in(world, &BEN, &key).await?;
    deliver(world, &whole)?;
    wait(world, "SessionsDurable=True", |now| {
        now.is("SessionsDurable", "True")
    })
    .await?;
    call(&session).await
}

/// A keyring with one key in each set, made by the commands of `docs/keys.md`.
fn documented_keyring(world: &World) -> TestResult<Value> {
    let sections = commands::sections("docs/keys.md")?;
    let [section] = &*sections else {
        return Err("docs/keys.md has other commands than those that make a keyring".into());
    };
    let folder = tempfile::tempdir()?;
    let text = commands::shell(&world.running.cluster, folder.path(), &section.script).text()?;
    Ok(serde_json::from_str(&text)?)
}

/// Writes the Secret as the tool does.
fn deliver(world: &World, file: &str) -> TestResult {
    world.apply(&json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": {FILE: file},
    }))
}

/// The id of the key that seals sessions.
fn sealing(keyring: &Value) -> String {
    keyring["sessions"]["sealing"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// `current` and `next` of `status.keys`.
fn keys(now: &Conditions) -> (&str, Option<&str>) {
    let id = |field: &str| {
        now.status
            .pointer(&format!("/keys/{field}"))
            .and_then(Value::as_str)
    };
    (id("current").unwrap_or_default(), id("next"))
}

/// Signs a person in, whose access token this key must have sealed.
async fn sign_in(world: &World, person: &Person, key: &str) -> TestResult<SignedIn> {
    let session = scratch_server::sign_in(world, person).await?;
    is_sealed_with(&session, key).await?;
    Ok(session)
}

/// The id of the key precedes what is sealed.
async fn is_sealed_with(session: &SignedIn, key: &str) -> TestResult {
    let token = session.manager().lock().await.get_access_token().await?;
    let sealed_with = token.split('.').nth(1).unwrap_or_default();
    ensure!(
        sealed_with == key,
        "an access token is sealed with the key {sealed_with}, not {key}"
    );
    Ok(())
}

async fn call(session: &SignedIn) -> TestResult {
    let token = session.manager().lock().await.get_access_token().await?;
    let status = call_with_token(&mcp_url()?, &token).await?.status();
    ensure!(status == StatusCode::OK, "a call was answered {status}");
    Ok(())
}
