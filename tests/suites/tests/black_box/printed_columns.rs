//! The columns of `kubectl get mcpservers --output wide`: of an object that is ready, of one that is refused, and of one that is
//! suspended.

use std::collections::BTreeMap;

use behalf_demo::environment::Server;
use behalf_tests::limits::restoring;
use serde_json::json;

use crate::ensure;
use crate::scratch_objects::{delete, scratch, wait_scratch};
use crate::world::{TestResult, World};

crate::tests![each_printed_column_has_the_value_of_a_ready_a_refused_and_a_suspended_object];

const COLUMNS: [&str; 8] = [
    "NAME", "READY", "REASON", "URL", "REPLICAS", "STORE", "AGE", "MESSAGE",
];

/// The address of the object `scratch`.
const ADDRESS: &str = "http://localhost:8596";

/// Prints an object. Returns the text of each column.
fn printed(world: &World, name: &str) -> TestResult<BTreeMap<&'static str, String>> {
    let text = world.kubectl(&["get", "mcpserver", name, "--output", "wide"])?;
    let mut lines = text.lines();
    let (header, row) = lines.next().zip(lines.next()).ok_or("kubectl printed no row")?;
    ensure!(
        header.split_whitespace().eq(COLUMNS),
        "the columns are not {COLUMNS:?}: {header}"
    );
    // Each column begins below its title. An empty one has no text.
    let begins: Vec<usize> = COLUMNS.iter().filter_map(|title| header.find(title)).collect();
    let row: Vec<char> = row.chars().collect();
    let text = |number: usize| {
        let end = begins.get(number + 1).copied().unwrap_or(row.len());
        let cell = row.get(begins[number]..end.min(row.len())).unwrap_or_default();
        cell.iter().collect::<String>().trim().to_owned()
    };
    Ok(COLUMNS
        .iter()
        .enumerate()
        .map(|(number, title)| (*title, text(number)))
        .collect())
}

/// Compares the columns, but for AGE, which must be a duration.
fn check(world: &World, name: &str, expected: [&str; 5], message: &str) -> TestResult {
    let printed = printed(world, name)?;
    let [ready, reason, url, replicas, store] = expected;
    for (title, expected) in [
        ("NAME", name),
        ("READY", ready),
        ("REASON", reason),
        ("URL", url),
        ("REPLICAS", replicas),
        ("STORE", store),
    ] {
        ensure!(
            printed[title] == expected,
            "{title} of {name} is not {expected:?}: {printed:?}"
        );
    }
    let age = &printed["AGE"];
    ensure!(
        age.starts_with(|first: char| first.is_ascii_digit())
            && age.ends_with(|last| ['s', 'm', 'h', 'd'].contains(&last)),
        "AGE of {name} is no duration: {printed:?}"
    );
    ensure!(
        printed["MESSAGE"].contains(message),
        "MESSAGE of {name} lacks {message:?}: {printed:?}"
    );
    Ok(())
}

async fn each_printed_column_has_the_value_of_a_ready_a_refused_and_a_suspended_object(
    world: &World,
) -> TestResult {
    let server = Server::Article;
    world.wait_settled(server).await?;
    let url = world.layout.mcp_url(server).to_string();
    check(
        world,
        server.name(),
        ["True", "Ready", &url, "2", "Redis"],
        "federation, MCP handshake and Pods are verified",
    )?;

    let work = async {
        let suspended = scratch(world, |object| {
            object["spec"]["publicUrl"] = json!(ADDRESS);
            object["spec"]["suspend"] = json!(true);
        })?;
        world.apply(&suspended)?;
        wait_scratch(world, "Suspended", |now| {
            now.get("Ready").is_some_and(|ready| ready.reason == "Suspended")
        })
        .await?;
        check(
            world,
            "scratch",
            ["False", "Suspended", "", "0", "Memory"],
            "suspend",
        )?;

        let mut refused = suspended;
        refused["spec"]["suspend"] = json!(false);
        refused["spec"]["entra"]["authority"] = json!("https://login.evil.example");
        world.apply(&refused)?;
        wait_scratch(world, "Accepted=False", |now| now.is("Accepted", "False")).await?;
        check(
            world,
            "scratch",
            ["False", "InvalidSpec", "", "0", "Memory"],
            "allowed.",
        )
    };
    restoring(work, async { delete(world, &["scratch"]) }).await
}
