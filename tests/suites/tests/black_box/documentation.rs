//! The commands of the documentation, as a reader types them: kubectl and helm in the PATH, the kubeconfig of an
//! administrator, and a folder with the files that the pages name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_local_cluster::{Call, files};
use behalf_tests::commands::{self, Section};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ensure;
use crate::guard::restoring;
use crate::world::{TestResult, World};

crate::tests![
    // They delete an object, scale another one and upgrade the operator.
    WholeCluster: [
        the_commands_for_installing_work,
        the_commands_for_upgrade_backup_and_restore_work,
        the_commands_for_keys_and_sessions_work,
        the_commands_for_pods_work,
    ],
];

/// The sections of `docs/operating.md` with which its three parts begin. The whole page would exceed the time of one test.
const PARTS: [&str; 3] = [
    "When something is wrong",
    "Rotate the keys",
    "Scale, and drain a node",
];

/// Maximum duration of one section.
const LIMIT: Duration = Duration::from_mins(4);

async fn the_commands_for_installing_work(world: &World) -> TestResult {
    run(world, &commands::sections("docs/installing.md")?).await
}

async fn the_commands_for_upgrade_backup_and_restore_work(world: &World) -> TestResult {
    run(world, &part_of_operating(0)?).await
}

async fn the_commands_for_keys_and_sessions_work(world: &World) -> TestResult {
    run(world, &part_of_operating(1)?).await
}

async fn the_commands_for_pods_work(world: &World) -> TestResult {
    run(world, &part_of_operating(2)?).await
}

fn part_of_operating(part: usize) -> TestResult<Vec<Section>> {
    let mut sections = commands::sections("docs/operating.md")?;
    let begin = |sections: &[Section], title: &str| {
        let found = sections.iter().position(|section| section.title == title);
        found.ok_or_else(|| format!("docs/operating.md has no section {title:?} with commands"))
    };
    if let Some(next) = PARTS.get(part + 1) {
        sections.truncate(begin(&sections, next)?);
    }
    let first = begin(&sections, PARTS[part])?;
    ensure!(
        part > 0 || first == 0,
        "a section before {:?} is not run",
        PARTS[part]
    );
    Ok(sections.split_off(first))
}

/// Runs the sections one after the other. Both objects must be Ready afterwards.
async fn run(world: &World, sections: &[Section]) -> TestResult {
    ensure!(!sections.is_empty(), "the page has no commands");
    let object = object(world)?;
    let folder = folder(world, &object)?;
    let work = async {
        for section in sections {
            println!("    {}", section.title);
            run_section(world, folder.path(), section)?;
        }
        Ok(())
    };
    restoring(work, restore(world, &object)).await
}

/// Runs one section. An error quotes the end of what it wrote, with the line of the page.
fn run_section(world: &World, folder: &Path, section: &Section) -> TestResult {
    let script = folder.join("commands.sh");
    std::fs::write(&script, &section.script)?;
    let output = Call::new("bash")
        .args(["-euo", "pipefail"])
        .arg(&script)
        .env("PATH", path(world)?)
        .env("KUBECONFIG", world.running.cluster.kubeconfig())
        .env("KUBECACHEDIR", files::cache().join("kubectl"))
        .env("TMPDIR", folder)
        .directory(folder)
        .limit(LIMIT)
        .text();
    output
        .map(|_| ())
        .map_err(|error| format!("{}: {error}", section.title).into())
}

/// The PATH with the kubectl and the helm of the suite.
fn path(world: &World) -> TestResult<OsString> {
    let clients = world.running.cluster.clients();
    let own: BTreeSet<_> = [clients.kubectl(), clients.helm()]
        .into_iter()
        .filter_map(Path::parent)
        .map(Path::to_owned)
        .collect();
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        own.into_iter().chain(std::env::split_paths(&inherited)),
    )?)
}

/// The object of the reader.
fn object(world: &World) -> TestResult<Value> {
    let object = world.get("mcpserver", Server::Quickstart.name())?;
    Ok(json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"],
        "metadata": {"name": Server::Quickstart.name(), "namespace": NAMESPACE_SERVERS},
    }))
}

/// A folder with the other things of the reader: the charts and the values of the installation.
fn folder(world: &World, object: &Value) -> TestResult<TempDir> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(files::checkout().join("charts"), folder.path().join("charts"))?;
    let values = [
        "get",
        "values",
        "behalf",
        "--namespace",
        NAMESPACE_OPERATOR,
        "--output",
        "yaml",
    ];
    std::fs::write(
        folder.path().join("values.yaml"),
        world.running.cluster.helm(&values)?,
    )?;
    std::fs::write(folder.path().join("azure-devops.yaml"), object.to_string())?;
    Ok(folder)
}

/// Undoes what the commands leave, also if one of them failed: a deletion, a revocation, a suspension, a number of Pods.
async fn restore(world: &World, object: &Value) -> TestResult {
    let patch = |server: Server, patch: &Value| {
        let patch = patch.to_string();
        world.kubectl(&[
            "patch",
            "mcpserver",
            server.name(),
            "--type",
            "merge",
            "--patch",
            &patch,
        ])
    };
    if world.get("mcpserver", Server::Quickstart.name()).is_err() {
        world.apply(object)?;
    }
    patch(
        Server::Quickstart,
        &json!({"spec": {"suspend": false, "sessions": {"revocations": null}}}),
    )?;
    patch(Server::Article, &json!({"spec": {"replicas": 2}}))?;
    for server in Server::ALL {
        world.wait_ready(server).await?;
    }
    Ok(())
}
