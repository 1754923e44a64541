//! Upgrades both charts from those of an earlier commit and rolls back, while a user's session continues and stored objects keep
//! every field.

use std::path::{Path, PathBuf};
use std::time::Duration;

use behalf_demo::environment::{Conditions, Objects, Server};
use behalf_local_cluster::{Call, files};
use behalf_tests::limits::restoring;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::ensure;
use crate::releases::{HELM_3, Releases, Session};
use crate::world::{TestResult, World};

crate::tests![WholeCluster: [objects_and_a_session_of_the_previous_charts_live_through_upgrade_and_rollback]];

/// The namespace of the stored objects. No operator serves it.
const NAMESPACE: &str = "previous-charts";

/// Time after which the API server serves a changed CRD.
const SERVED: Duration = Duration::from_secs(3);

const OPERATOR: &str = "behalf";
const CRDS: &str = "behalf-crds";

/// The charts as Git has them before their last change that shows, and the examples that belong to the custom resource.
struct Previous {
    operator: PathBuf,
    crds: PathBuf,
    examples: PathBuf,
}

impl Previous {
    /// Extracts them. `None` in a shallow clone, which does not have them.
    fn extract(folder: &Path, releases: &Releases<'_>) -> TestResult<Option<Self>> {
        if git(&["rev-parse", "--is-shallow-repository"])? == "true" {
            return Ok(None);
        }
        // The last change that added or removed a field: other changes are of descriptions and rules.
        let field = "-G^ +[A-Za-z]+:$";
        let crd = "charts/behalf-crds/templates/behalf.dev_mcpservers.yaml";
        let changed = last_changes(1, &[field, "--", crd])?;
        let before = changed.first().ok_or("no commit changed a field")?;
        let crds = extract(folder, before, &["charts/behalf-crds", "examples"])?;
        Ok(Some(Self {
            operator: Self::operator(folder, releases)?,
            crds: crds.join("charts/behalf-crds"),
            examples: crds.join("examples"),
        }))
    }

    /// The chart of the operator before the last change of what it renders with the values of the suite.
    fn operator(folder: &Path, releases: &Releases<'_>) -> TestResult<PathBuf> {
        let ours = render(releases, Path::new(&Releases::chart(OPERATOR)))?;
        for before in last_changes(20, &["--", "charts/behalf/templates"])? {
            let chart = extract(folder, &before, &["charts/behalf"])?.join("charts/behalf");
            if render(releases, &chart)? != ours {
                return Ok(chart);
            }
        }
        Err("the last 20 changes of the chart changed nothing with the values of the suite".into())
    }

    /// The `McpServer`s of its examples, under other names.
    fn objects(&self) -> TestResult<Vec<Value>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.examples)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            let mut objects = Objects::from_yaml(&std::fs::read_to_string(&path)?)?;
            for object in objects.iter_mut().filter(|object| object["kind"] == "McpServer") {
                let mut object = object.clone();
                object["metadata"] =
                    json!({"name": format!("stored-{}", found.len()), "namespace": NAMESPACE});
                found.push(object);
            }
        }
        ensure!(found.len() >= 5, "there are only {} examples", found.len());
        Ok(found)
    }
}

fn git(arguments: &[&str]) -> TestResult<String> {
    let checkout = files::checkout();
    let printed = Call::new("git").directory(&checkout).args(arguments).text()?;
    Ok(printed.trim().to_owned())
}

/// The states of the checkout before the last commits that `git log` finds with these arguments.
fn last_changes(number: usize, arguments: &[&str]) -> TestResult<Vec<String>> {
    let number = format!("--max-count={number}");
    let found = git(&[&["log", &number, "--format=%H^"], arguments].concat())?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// Extracts paths as Git has them in a commit.
fn extract(folder: &Path, commit: &str, paths: &[&str]) -> TestResult<PathBuf> {
    println!("    {} of {commit}", paths[0]);
    let (folder, archive) = (folder.join(commit), folder.join("archive.tar"));
    std::fs::create_dir_all(&folder)?;
    let archive = archive.display().to_string();
    git(&[&["archive", "--output", &archive, commit], paths].concat())?;
    let extract = Call::new("tar").args(["--extract", "--file", &archive, "--directory"]);
    extract.arg(&folder).run()?;
    Ok(folder)
}

/// The objects of the operator's chart with the values of the suite.
fn render(releases: &Releases<'_>, chart: &Path) -> TestResult<String> {
    let (chart, values) = (
        chart.display().to_string(),
        releases.values(OPERATOR).display().to_string(),
    );
    let template = ["template", OPERATOR, &chart, "--values", &values];
    // Helm asks no cluster for its version here. `helm get manifest` does not show hooks either.
    let options = [
        "--skip-schema-validation",
        "--kube-version",
        "1.33.0",
        "--no-hooks",
    ];
    releases.helm(HELM_3, &[&template[..], &options].concat())
}

/// Upgrades a release to a chart with the values of the suite. It does not wait: today's operator may need rights or settings that
/// an earlier chart has not.
fn upgrade(releases: &Releases<'_>, release: &str, chart: &Path) -> TestResult {
    let values = releases.values(release).display().to_string();
    let chart = chart.display().to_string();
    let upgrade = ["upgrade", release, &chart, "--values", &values];
    // The schema of an earlier chart refuses values that came later.
    releases
        .helm(HELM_3, &[&upgrade[..], &["--skip-schema-validation"]].concat())
        .map(drop)
}

/// A revision of a release, and what Helm applied for it.
struct Revision {
    release: &'static str,
    number: String,
    manifest: String,
}

impl Revision {
    /// The present one.
    fn of(releases: &Releases<'_>, release: &'static str) -> TestResult<Self> {
        let history = ["history", release, "--max", "1", "--output", "json"];
        let history: Value = serde_json::from_str(&releases.helm(HELM_3, &history)?)?;
        Ok(Self {
            release,
            number: history[0]["revision"].to_string(),
            manifest: releases.helm(HELM_3, &["get", "manifest", release])?,
        })
    }

    /// Rolls the release back to this revision.
    fn restore(&self, releases: &Releases<'_>) -> TestResult {
        let now = Self::of(releases, self.release)?;
        ensure!(
            now.manifest != self.manifest,
            "the upgrade of {} changed nothing",
            self.release
        );
        releases.helm(HELM_3, &["rollback", self.release, &self.number])?;
        let after = Self::of(releases, self.release)?;
        ensure!(
            after.manifest == self.manifest,
            "the rollback of {} is not the chart before",
            self.release
        );
        Ok(())
    }
}

/// Objects in the cluster, with their specs when they were stored.
struct Stored<'w> {
    world: &'w World,
    specs: Vec<(String, Value)>,
}

impl<'w> Stored<'w> {
    async fn create(world: &'w World, objects: Vec<Value>) -> TestResult<Self> {
        let mut all = Objects::default();
        all.add_namespace(NAMESPACE);
        let mut specs = Vec::new();
        for object in objects {
            specs.push((
                object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
                Value::Null,
            ));
            all.add(object);
        }
        all.apply(&world.running.client).await?;
        let mut stored = Self { world, specs };
        for number in 0..stored.specs.len() {
            stored.specs[number].1 = stored.spec(&stored.specs[number].0)?;
        }
        Ok(stored)
    }

    fn kubectl(&self, arguments: &[&str]) -> TestResult<String> {
        let arguments = [&["--namespace", NAMESPACE], arguments].concat();
        Ok(self.world.running.cluster.kubectl(&arguments)?)
    }

    fn spec(&self, name: &str) -> TestResult<Value> {
        let object = self.kubectl(&["get", "mcpserver", name, "--output", "json"])?;
        let mut object: Value = serde_json::from_str(&object)?;
        Ok(object["spec"].take())
    }

    /// Every object can be written, and has every field that it had when it was stored.
    fn are_whole(&self, step: &str) -> TestResult {
        let written = format!("example.com/step={step}");
        self.kubectl(&["annotate", "mcpservers", "--all", "--overwrite", &written])?;
        for (name, before) in &self.specs {
            let after = self.spec(name)?;
            ensure!(
                before.is_object() && has_all(&after, before),
                "the {step} changed fields of {name}: {before} became {after}"
            );
        }
        Ok(())
    }
}

/// Whether a value has everything of another one. It may have more members: defaults of fields that came later.
fn has_all(value: &Value, other: &Value) -> bool {
    match (value, other) {
        (Value::Object(value), Value::Object(other)) => other
            .iter()
            .all(|(key, other)| value.get(key).is_some_and(|value| has_all(value, other))),
        (Value::Array(value), Value::Array(other)) => {
            value.len() == other.len()
                && value
                    .iter()
                    .zip(other)
                    .all(|(value, other)| has_all(value, other))
        }
        _ => value == other,
    }
}

async fn objects_and_a_session_of_the_previous_charts_live_through_upgrade_and_rollback(
    world: &World,
) -> TestResult {
    let (folder, releases) = (TempDir::new()?, Releases::new(world)?);
    let Some(previous) = Previous::extract(folder.path(), &releases)? else {
        println!("    NOT TESTED: an upgrade from the charts before. This clone is shallow.");
        return Ok(());
    };
    let server = Server::Quickstart;
    world.wait_settled(server).await?;
    let ours = |release: &str| PathBuf::from(Releases::chart(release));
    // A chart with an older version than that of the CRD refuses to replace it.
    let forget = || {
        let forget = ["annotate", "crd", "mcpservers.behalf.dev", "behalf.dev/version-"];
        world.running.cluster.kubectl(&forget)
    };
    let work = async {
        forget()?;
        upgrade(&releases, CRDS, &previous.crds)?;
        upgrade(&releases, OPERATOR, &previous.operator)?;
        sleep(SERVED).await;
        let [crds, operator] = [Revision::of(&releases, CRDS)?, Revision::of(&releases, OPERATOR)?];
        let stored = Stored::create(world, previous.objects()?).await?;
        let session = Session::begin(world).await?;

        // The order of docs/operating.md.
        upgrade(&releases, CRDS, &ours(CRDS))?;
        releases.install(HELM_3, &Releases::chart(OPERATOR))?;
        session.goes_on("upgrade").await?;
        stored.are_whole("upgrade")?;
        is_served(world, server).await?;

        operator.restore(&releases)?;
        session.goes_on("rollback of the operator").await?;
        stored.are_whole("rollback-of-the-operator")?;

        // docs/operating.md advises against it. It deletes only fields that the CRD before does not know.
        forget()?;
        crds.restore(&releases)?;
        sleep(SERVED).await;
        session.goes_on("rollback of the custom resource").await?;
        stored.are_whole("rollback-of-the-custom-resource")
    };
    let restore = async {
        forget()?;
        upgrade(&releases, CRDS, &ours(CRDS))?;
        releases.install(HELM_3, &Releases::chart(OPERATOR))?;
        let delete = [
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait=false",
        ];
        world.running.cluster.kubectl(&delete)?;
        world.wait_ready(server).await.map(drop)
    };
    restoring(work, restore).await
}

/// The operator handles a request to reconcile an object.
async fn is_served(world: &World, server: Server) -> TestResult {
    let request = "after-the-upgrade";
    let annotation = format!("behalf.dev/reconcile-at={request}");
    world.kubectl(&["annotate", "mcpserver", server.name(), "--overwrite", &annotation])?;
    let handled = |now: &Conditions| now.status["lastHandledReconcileAt"] == *request;
    world.wait(server, "the requested reconcile", handled).await?;
    world.wait_ready(server).await.map(drop)
}
