//! The commands of the documentation, as a reader types them: kubectl and helm in the PATH, the kubeconfig of an
//! administrator, and a folder with the files that the pages name.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use behalf_demo::environment::{
    Conditions, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server, create_federated_credential, wait_for,
};
use behalf_local_cluster::{Call, files};
use behalf_simulators::entra::{self, Application};
use behalf_simulators::people::CLIENT_ID;
use behalf_tests::commands::{self, Section};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ensure;
use crate::guard::restoring;
use crate::scratch_server::leaves_nothing;
use crate::world::{TestResult, World};

crate::tests![
    // They delete an object, scale another one and upgrade the operator.
    WholeCluster: [
        the_commands_for_installing_work,
        the_commands_for_upgrade_backup_and_restore_work,
        the_commands_for_keys_and_sessions_work,
        the_commands_for_pods_work,
        the_commands_of_the_other_pages_work,
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

/// Begins without the operator, the object and the federated credential. The reader runs the printed line when the object says
/// that the credential is missing.
async fn the_commands_for_installing_work(world: &World) -> TestResult {
    let page = "docs/installing.md";
    let sections = commands::sections(page)?;
    let object = object(world)?;
    let folder = folder(world, &object)?;
    let name = Server::Quickstart.name();
    let work = async {
        world.kubectl(&["delete", "mcpserver", name, "--wait=true"])?;
        leaves_nothing(world, name).await?;
        let forget = |application: &mut Application| {
            application
                .federated_credentials
                .retain(|credential| !credential.subject.ends_with(&format!(":{name}")));
        };
        world.entra.update_application(CLIENT_ID, forget).await?;
        let cluster = &world.running.cluster;
        cluster.helm(&["uninstall", "behalf", "--namespace", NAMESPACE_OPERATOR, "--wait"])?;

        let entra = entra::Control::new(world.layout.entra_control())?;
        let reader = tokio::spawn(runs_the_printed_line(world.running.client.clone(), entra));
        for section in &sections {
            run_section(world, folder.path(), page, section)?;
        }
        ensure!(
            reader.is_finished(),
            "the object is Ready, and nobody has run the printed line"
        );
        reader.await??;
        let after = world.conditions(Server::Quickstart).await?;
        ensure!(
            after.is("FederationVerified", "True"),
            "the page ends with {}",
            after.summary()
        );
        Ok(())
    };
    restoring(work, restore(world, &object, folder.path())).await
}

/// Waits until the object says that Entra does not know its `ServiceAccount` and has the line for that, and then does what the line
/// does.
async fn runs_the_printed_line(client: kube::Client, entra: entra::Control) -> TestResult {
    let name = Server::Quickstart.name();
    // The object does not exist yet.
    while Conditions::read(&client, name).await.is_err() {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let missing = |now: &Conditions| {
        let verified = now.get("FederationVerified");
        // Other objects of the application have theirs, so that Entra finds one with another subject.
        verified.is_some_and(|verified| verified.reason.starts_with("Fic"))
            && now.status.pointer("/federation/command").is_some()
    };
    let seen = |_: &Conditions| {};
    let before = wait_for(
        &client,
        name,
        "FederationVerified=False (Fic…)",
        LIMIT,
        seen,
        missing,
    )
    .await?;
    ensure!(
        before.is("FederationVerified", "False") && !before.is("Ready", "True"),
        "before the line: {}",
        before.summary()
    );
    create_federated_credential(&entra, name, &before).await?;
    Ok(())
}

async fn the_commands_for_upgrade_backup_and_restore_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(0)?)]).await
}

async fn the_commands_for_keys_and_sessions_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(1)?)]).await
}

async fn the_commands_for_pods_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(2)?)]).await
}

/// The pages whose commands no other test runs. The last one ends the sessions in memory.
const OTHERS: [&str; 6] = [
    "charts/behalf-crds/README.md",
    "docs/entra.md",
    "docs/gitops.md",
    "docs/keys.md",
    "docs/stores.md",
    "docs/administration.md",
];

async fn the_commands_of_the_other_pages_work(world: &World) -> TestResult {
    let mut pages = Vec::new();
    for page in OTHERS {
        pages.push((page, commands::sections(page)?));
    }
    run(world, &pages).await
}

const OPERATING: &str = "docs/operating.md";

fn part_of_operating(part: usize) -> TestResult<Vec<Section>> {
    let mut sections = commands::sections(OPERATING)?;
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

/// Runs the sections of pages one after the other. Both objects must be Ready afterwards.
async fn run(world: &World, pages: &[(&str, Vec<Section>)]) -> TestResult {
    let object = object(world)?;
    let folder = folder(world, &object)?;
    let work = async {
        for (page, sections) in pages {
            ensure!(!sections.is_empty(), "{page} has no commands");
            for section in sections {
                run_section(world, folder.path(), page, section)?;
            }
        }
        Ok(())
    };
    restoring(work, restore(world, &object, folder.path())).await
}

/// Runs one section and writes down how long it took. An error quotes the end of what it wrote, with the line of the page.
fn run_section(world: &World, folder: &Path, page: &str, section: &Section) -> TestResult {
    let script = folder.join("commands.sh");
    std::fs::write(&script, &section.script)?;
    let began = Instant::now();
    let output = Call::new("bash")
        .args(["-euo", "pipefail"])
        .arg(&script)
        .env("PATH", path(world)?)
        .env("KUBECONFIG", world.running.cluster.kubeconfig())
        .env("KUBECACHEDIR", files::cache().join("kubectl"))
        .env("TMPDIR", folder)
        // The reader's Redis has one.
        .env("PASSWORD", "of-the-documentation")
        .directory(folder)
        .limit(LIMIT)
        .text();
    let took = format!(
        "{:6.1} s  {page}: {}",
        began.elapsed().as_secs_f32(),
        section.title
    );
    println!("    {took}");
    let mut times = OpenOptions::new()
        .create(true)
        .append(true)
        .open(World::artifact("documented-commands.txt")?)?;
    writeln!(times, "{took}")?;
    output
        .map(|_| ())
        .map_err(|error| format!("{page}, {}: {error}", section.title).into())
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
    // No Pod reads it: the object has no Redis.
    std::fs::write(folder.path().join("ca.crt"), "of the reader's Redis")?;
    Ok(folder)
}

/// Undoes what the commands leave, also if one of them failed: a deletion, a revocation, a suspension, a number of Pods.
async fn restore(world: &World, object: &Value, folder: &Path) -> TestResult {
    let cluster = &world.running.cluster;
    let releases = cluster.helm(&["list", "--namespace", NAMESPACE_OPERATOR, "--short"])?;
    if !releases.lines().any(|release| release == "behalf") {
        let (chart, values) = (folder.join("charts/behalf"), folder.join("values.yaml"));
        let [chart, values] = [chart, values].map(|path| path.display().to_string());
        let namespace = ["--namespace", NAMESPACE_OPERATOR];
        let install = ["install", "behalf", &chart, "--values", &values, "--wait"];
        cluster.helm(&[&install[..], &namespace[..]].concat())?;
    }
    for (kind, name) in [("secret", "azure-devops-behalf-store"), ("configmap", "redis-ca")] {
        world.kubectl(&["delete", kind, name, "--ignore-not-found"])?;
    }
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
        // A test that failed may have left the object without its credential.
        let told = |now: &Conditions| now.status.pointer("/federation/redirectUri").is_some();
        let accepted = world.wait(server, "status.federation", told).await?;
        create_federated_credential(&world.entra, server.name(), &accepted).await?;
        world.wait_ready(server).await?;
    }
    Ok(())
}
