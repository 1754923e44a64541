//! The commands of the documentation, as a reader types them: kubectl and helm in the PATH, the kubeconfig of an
//! administrator, and a folder with the files that the pages name.

use std::path::Path;
use std::time::{Duration, Instant};

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Server};
use behalf_local_cluster::files;
use behalf_simulators::people::ANA;
use behalf_tests::commands::{self, Section};
use behalf_tests::limits::restoring;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    // They delete an object and a keyring, scale an object and upgrade the operator.
    WholeCluster: [
        the_commands_for_upgrade_backup_and_restore_work,
        the_commands_for_keys_and_sessions_work,
        the_commands_for_pods_work,
        the_commands_for_crds_credentials_and_stores_work,
        the_commands_for_administration_work,
        the_command_for_a_proxy_is_accepted_in_a_dry_run,
    ],
];

/// The sections of `docs/operating.md` with which its three parts begin. The whole page would exceed the time of one test.
const PARTS: [&str; 3] = [
    "When something is wrong",
    "Rotate the keys",
    "Scale, and drain a node",
];

/// Maximum duration of one section.
const LIMIT: Duration = Duration::from_mins(6);

async fn the_commands_for_upgrade_backup_and_restore_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(0)?)]).await
}

async fn the_commands_for_keys_and_sessions_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(1)?)]).await
}

async fn the_commands_for_pods_work(world: &World) -> TestResult {
    run(world, &[(OPERATING, part_of_operating(2)?)]).await
}

async fn the_commands_for_crds_credentials_and_stores_work(world: &World) -> TestResult {
    let work = async {
        let mut pages = Vec::new();
        for page in [
            "charts/behalf-crds/README.md",
            "docs/entra.md",
            "docs/gitops.md",
            "docs/stores.md",
        ] {
            let mut sections = commands::sections(page)?;
            sections.retain(|section| !OF_CONTROLLERS.contains(&(page, &section.title)));
            pages.push((page, sections));
        }
        run(world, &pages).await
    };
    // The Secret and the ConfigMap of `docs/stores.md`.
    restoring(work, async {
        let made = [
            "secret/azure-devops-behalf-store",
            "configmap/azure-devops-redis-ca",
        ];
        world.kubectl(&[&["delete", "--ignore-not-found"][..], &made].concat())?;
        Ok(())
    })
    .await
}

/// The sections that the suite `gitops` runs beside its controllers.
const OF_CONTROLLERS: [(&str, &str); 2] = [("docs/gitops.md", "Flux"), ("docs/gitops.md", "Argo CD")];

/// They end every session of the object, among them the one whose token the page examines.
async fn the_commands_for_administration_work(world: &World) -> TestResult {
    let page = "docs/administration.md";
    let token = world.access_token(Server::Quickstart, &ANA).await?;
    let printed = run_with(world, &[(page, commands::sections(page)?)], &token).await?;
    for text in [ANA.object_id, "Revoked 1 session."] {
        ensure!(printed.contains(text), "{page} printed no {text:?}: {printed}");
    }
    Ok(())
}

/// With a dry run, because no proxy has the address of the page.
async fn the_command_for_a_proxy_is_accepted_in_a_dry_run(world: &World) -> TestResult {
    let page = "docs/aks.md";
    let folder = folder(world, &object(world)?)?;
    let mut sections = commands::sections(page)?;
    ensure!(
        sections.len() == 1,
        "{page} has {} sections with commands to run",
        sections.len()
    );
    let section = &mut sections[0];
    section.script = format!(
        "helm() {{ command helm \"$@\" --dry-run=server; }}\n{}",
        section.script
    );
    let rendered = run_section(world, folder.path(), page, section)?;
    for text in ["http://10.20.0.4:3128", "vscode.dev,claude.ai"] {
        ensure!(rendered.contains(text), "{page} renders no {text}: {rendered}");
    }
    Ok(())
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
    run_with(world, pages, "").await.map(drop)
}

/// Runs sections that need the access token of a client. Returns what the commands printed.
async fn run_with(world: &World, pages: &[(&str, Vec<Section>)], token: &str) -> TestResult<String> {
    let object = object(world)?;
    let folder = folder(world, &object)?;
    std::fs::write(folder.path().join("token.txt"), token)?;
    let work = async {
        let mut printed = String::new();
        for (page, sections) in pages {
            ensure!(!sections.is_empty(), "{page} has no commands");
            for section in sections {
                printed.push_str(&run_section(world, folder.path(), page, section)?);
            }
        }
        Ok(printed)
    };
    restoring(work, restore(world, &object, folder.path())).await
}

/// Runs one section, prints how long it took, and returns what it printed. An error quotes the end of what it wrote, with the line of
/// the page.
fn run_section(world: &World, folder: &Path, page: &str, section: &Section) -> TestResult<String> {
    let began = Instant::now();
    let call = commands::shell(&world.running.cluster, folder, &section.script);
    // The password of the reader's Redis.
    let output = call.env("PASSWORD", "of-the-documentation").limit(LIMIT).text();
    let seconds = began.elapsed().as_secs_f32();
    println!("    {seconds:5.1} s  {page}: {}", section.title);
    output.map_err(|error| format!("{page}, {}: {error}", section.title).into())
}

/// The object of the reader.
fn object(world: &World) -> TestResult<Value> {
    let object = world.get("mcpserver", Server::Quickstart.name())?;
    Ok(json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"],
        "metadata": {"name": Server::Quickstart.name(), "namespace": NAMESPACE_SERVERS},
    }))
}

/// The values of the release `behalf-crds`, which some pages install without values.
const CRD_VALUES: &str = "crd-values.yaml";

/// A folder with the other things of the reader: the charts and the values of the installation.
fn folder(world: &World, object: &Value) -> TestResult<TempDir> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(files::checkout().join("charts"), folder.path().join("charts"))?;
    for (release, file) in [("behalf", "values.yaml"), ("behalf-crds", CRD_VALUES)] {
        let values = ["get", "values", release, "--output", "yaml"];
        let values = [&values[..], &["--namespace", NAMESPACE_OPERATOR]].concat();
        let values = world.running.cluster.helm(&values)?;
        std::fs::write(folder.path().join(file), values)?;
    }
    std::fs::write(folder.path().join("azure-devops.yaml"), object.to_string())?;
    // Of the reader's Redis. No Pod reads it.
    std::fs::write(folder.path().join("ca.crt"), "a certificate")?;
    Ok(folder)
}

/// Undoes what the commands leave, also if one of them failed: a deletion, a revocation, a suspension, a number of Pods, values.
async fn restore(world: &World, object: &Value, folder: &Path) -> TestResult {
    let [chart, values] = [folder.join("charts/behalf-crds"), folder.join(CRD_VALUES)];
    let [chart, values] = [chart, values].map(|path| path.display().to_string());
    let upgrade = ["upgrade", "behalf-crds", &chart, "--values", &values];
    let upgrade = [&upgrade[..], &["--namespace", NAMESPACE_OPERATOR]].concat();
    world.running.cluster.helm(&upgrade)?;
    // The command for it comes behind the drain, which may have failed.
    world.kubectl(&["uncordon", "--selector", "kubernetes.io/os"])?;
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
