//! Further objects beside the two servers, and the status of each: an address that is taken, a host that the
//! installation does not allow, a Pod that never comes.

use std::time::Duration;

use behalf_demo::environment::{self, Conditions, NAMESPACE_OPERATOR, Server};
use behalf_tests::limits::restoring;
use serde_json::{Value, json};

use crate::bad_objects::put;
use crate::conditions::only_these_changed;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    Scratch: [
        a_foreign_host_is_not_accepted,
        without_a_pod_nothing_is_claimed,
        a_value_that_kubernetes_refuses_in_a_child_is_told_in_its_words,
    ],
    Everything: [
        a_taken_public_url_is_not_accepted,
        of_two_objects_with_one_address_the_oldest_is_served_and_the_other_follows_it,
    ],
];

/// An object like quickstart under another name, changed by `change`.
pub(crate) fn scratch(world: &World, change: impl FnOnce(&mut Value)) -> TestResult<Value> {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    let mut object = json!({
        "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
        "metadata": {"name": "scratch"}, "spec": quickstart["spec"],
    });
    change(&mut object);
    Ok(object)
}

pub(crate) async fn wait_scratch(
    world: &World,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    wait_named(world, "scratch", what, wanted).await
}

/// Waits for the conditions of the object with this name.
pub(crate) async fn wait_named(
    world: &World,
    name: &str,
    what: &str,
    wanted: impl Fn(&Conditions) -> bool,
) -> TestResult<Conditions> {
    let limit = Duration::from_mins(1);
    let seen = |conditions: &Conditions| println!("    {name}: {}", conditions.summary());
    Ok(environment::wait_for(&world.running.client, name, what, limit, seen, wanted).await?)
}

/// Deletes these objects, if they exist.
pub(crate) fn delete(world: &World, names: &[&str]) -> TestResult {
    let command = [&["delete", "mcpserver", "--ignore-not-found"], names].concat();
    world.kubectl(&command).map(drop)
}

/// The conditions of the object `scratch` when it is not accepted. It is deleted afterwards.
async fn refused(world: &World, object: &Value) -> TestResult<Conditions> {
    let work = async {
        world.apply(object)?;
        wait_scratch(world, "Accepted=False", |now| now.is("Accepted", "False")).await
    };
    restoring(work, async { delete(world, &["scratch"]) }).await
}

async fn a_taken_public_url_is_not_accepted(world: &World) -> TestResult {
    let before = world.wait_ready(Server::Quickstart).await?;
    let work = async {
        world.apply(&scratch(world, |_| {})?)?;
        let refused = wait_scratch(world, "Accepted=False", |now| now.is("Accepted", "False")).await?;
        Ok((refused, world.conditions(Server::Quickstart).await?))
    };
    let (refused, older) = restoring(work, async { delete(world, &["scratch"]) }).await?;
    ensure!(
        refused.is("Ready", "False"),
        "not accepted, and still: {}",
        refused.summary()
    );
    ensure!(
        refused.is("Stalled", "True"),
        "the object must be edited, but is not Stalled: {}",
        refused.summary()
    );
    only_these_changed(&before, &older, "nothing")?;
    ensure!(
        older.is("Ready", "True"),
        "the older object suffered: {}",
        older.summary()
    );
    Ok(())
}

async fn of_two_objects_with_one_address_the_oldest_is_served_and_the_other_follows_it(
    world: &World,
) -> TestResult {
    const ADDRESS: &str = "http://localhost:8597";
    let (older, younger) = ("scratch", "scratch-too");
    let create = |name: &str| -> TestResult {
        world.apply(&scratch(world, |object| {
            object["metadata"]["name"] = json!(name);
            object["spec"]["publicUrl"] = json!(ADDRESS);
        })?)
    };
    let is = |now: &Conditions, status: &str, reason: &str| {
        now.get("Accepted")
            .is_some_and(|accepted| accepted.status == status && accepted.reason == reason)
    };
    let taken = |now: &Conditions| is(now, "False", "PublicUrlTaken");
    let accepted = |now: &Conditions| is(now, "True", "Accepted");
    let outcome = async {
        create(older)?;
        // Creation times have whole seconds: the younger object is younger in any order of UIDs.
        tokio::time::sleep(Duration::from_secs(2)).await;
        create(younger)?;
        wait_named(world, older, "Accepted=True", accepted).await?;
        wait_named(world, younger, "PublicUrlTaken", taken).await?;
        // The rule needs no stored state: a restarted operator finds the same owner.
        let operator = |arguments: &[&str]| {
            let namespace = ["--namespace", NAMESPACE_OPERATOR];
            world
                .running
                .cluster
                .kubectl(&[&namespace[..], arguments].concat())
        };
        operator(&["delete", "pod", "--all", "--wait=true"])?;
        operator(&["rollout", "status", "deployment", "--timeout=60s"])?;
        tokio::time::sleep(Duration::from_secs(12)).await;
        wait_named(world, older, "Accepted=True after the restart", accepted).await?;
        wait_named(world, younger, "PublicUrlTaken after the restart", taken).await?;
        // The owner changes its address, changes it back and is deleted. The younger object reacts each time.
        let edit = |url: &str| {
            let patch = json!({"spec": {"publicUrl": url}}).to_string();
            world.kubectl(&["patch", "mcpserver", older, "--type", "merge", "--patch", &patch])
        };
        edit("http://localhost:8596")?;
        wait_named(world, younger, "Accepted=True after the owner moved", accepted).await?;
        edit(ADDRESS)?;
        wait_named(world, younger, "PublicUrlTaken after the owner came back", taken).await?;
        world.kubectl(&["delete", "mcpserver", older])?;
        wait_named(world, younger, "Accepted=True after the owner went", accepted).await?;
        Ok(())
    };
    restoring(outcome, async { delete(world, &[older, younger]) }).await
}

async fn a_foreign_host_is_not_accepted(world: &World) -> TestResult {
    for (pointer, value) in [
        ("/spec/entra/authority", json!("https://login.example")),
        (
            "/spec/server/azureDevOps/endpoints/core",
            json!("https://dev.example"),
        ),
    ] {
        let field = pointer.trim_start_matches("/spec/").replace('/', ".");
        let mut object = scratch(world, |object| {
            object["spec"]["publicUrl"] = json!("http://localhost:8598");
        })?;
        let (parent, key) = pointer.rsplit_once('/').ok_or("no parent")?;
        object
            .pointer_mut(parent)
            .and_then(Value::as_object_mut)
            .ok_or_else(|| format!("the example has no {parent}"))?
            .insert(key.to_owned(), value);
        let refused = refused(world, &object).await?;
        let accepted = refused.get("Accepted").ok_or("Accepted is gone")?;
        ensure!(
            accepted.reason == "InvalidSpec"
                && accepted.message.contains(&field)
                && accepted.message.contains("allowed."),
            "{field}: {}: {}",
            accepted.reason,
            accepted.message
        );
    }
    Ok(())
}

/// Values whose rules are those of Kubernetes (ADR 0056): the field of the object, a wrong value, and words of the refusal.
const OF_KUBERNETES: [(&str, &str, &str); 4] = [
    (
        "/spec/pod/labels",
        r#"{"a b": "c"}"#,
        "spec.template.labels: Invalid value",
    ),
    ("/spec/pod/nodeSelector", r#"{"a": "b c"}"#, "nodeSelector"),
    (
        "/spec/pod/tolerations",
        r#"[{"key": "a", "operator": "Sometimes"}]"#,
        "tolerations[0].operator",
    ),
    (
        "/spec/network/ingressFrom",
        r#"[{"ipBlock": {"cidr": "10.0.0.0"}}]"#,
        "ipBlock.cidr: Invalid value",
    ),
];

async fn a_value_that_kubernetes_refuses_in_a_child_is_told_in_its_words(world: &World) -> TestResult {
    for (pointer, value, words) in OF_KUBERNETES {
        let value = serde_json::from_str(value)?;
        let object = scratch(world, |object| {
            object["spec"]["publicUrl"] = json!("http://localhost:8598");
            put(object, pointer, value);
        })?;
        let refused = refused(world, &object).await?;
        let accepted = refused.get("Accepted").ok_or("Accepted is gone")?;
        ensure!(
            accepted.reason == "ChildRejected" && accepted.message.contains(words),
            "{pointer}: {}: {}",
            accepted.reason,
            accepted.message
        );
        ensure!(
            refused.is("Stalled", "True") && refused.is("Ready", "False"),
            "{pointer}: the object must be edited, but: {}",
            refused.summary()
        );
    }
    Ok(())
}

async fn without_a_pod_nothing_is_claimed(world: &World) -> TestResult {
    let work = async {
        world.apply(&scratch(world, |object| {
            object["spec"]["publicUrl"] = json!("http://localhost:8599");
            object["spec"]["pod"]["nodeSelector"] = json!({"example.com/no-such-node": "true"});
        })?)?;
        let unavailable = |now: &Conditions| now.is("Accepted", "True") && now.is("Available", "False");
        wait_scratch(world, "Accepted=True and Available=False", unavailable).await
    };
    let seen = restoring(work, async { delete(world, &["scratch"]) }).await?;
    for claimed in ["FederationVerified", "Verified", "Ready"] {
        ensure!(
            !seen.is(claimed, "True"),
            "{claimed} was claimed without a Pod: {}",
            seen.summary()
        );
    }
    ensure!(
        seen.status.pointer("/address/url").is_none(),
        "an address without a Pod"
    );
    Ok(())
}
