//! Installs, upgrades, rolls back and removes the charts with Helm 3 and Helm 4, while a user's session continues.

use std::path::PathBuf;
use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_OPERATOR, Objects, Server};
use behalf_local_cluster::{Call, files};
use behalf_simulators::people::ANA;
use behalf_tests::chart_programs::program;
use behalf_tests::limits::restoring;
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::faults::call;
use crate::world::{TestResult, World};

crate::tests![
    OwnNamespaces: [
        view_reads_mcp_servers_edit_writes_them_and_neither_writes_their_status,
    ],
    Everything: [a_session_lives_through_upgrade_rollback_uninstall_and_reinstall_of_the_operator],
    // The roles and the warnings that the other tests look at are away for a moment.
    WholeCluster: [an_uninstall_of_the_crd_keeps_every_object],
];

pub(crate) const HELM_3: &str = "helm3";
const HELM_4: &str = "helm4";

/// The charts of this checkout and of other releases, and the values with which the suite installed the operator.
pub(crate) struct Releases<'w> {
    world: &'w World,
    folder: TempDir,
}

impl<'w> Releases<'w> {
    pub(crate) fn new(world: &'w World) -> TestResult<Self> {
        let releases = Self {
            world,
            folder: TempDir::new()?,
        };
        for release in ["behalf", "behalf-crds"] {
            let values = releases.helm(HELM_3, &["get", "values", release, "--output", "json"])?;
            std::fs::write(releases.values(release), values)?;
        }
        Ok(releases)
    }

    /// The file with the values with which the suite installed a release.
    pub(crate) fn values(&self, release: &str) -> PathBuf {
        self.folder.path().join(format!("values-{release}.json"))
    }

    /// Runs one version of Helm in the namespace of the operator.
    pub(crate) fn helm(&self, version: &str, arguments: &[&str]) -> TestResult<String> {
        let kubeconfig = self.world.running.cluster.kubeconfig();
        let call = Call::new(program(version)?)
            .args(arguments)
            .args(["--namespace", NAMESPACE_OPERATOR])
            .arg("--kubeconfig")
            .arg(kubeconfig);
        Ok(call.text()?)
    }

    /// A chart of this checkout.
    pub(crate) fn chart(name: &str) -> String {
        files::checkout().join("charts").join(name).display().to_string()
    }

    /// A copy of a chart, as another release has it.
    fn chart_of(&self, name: &str, version: &str) -> TestResult<String> {
        let copy = self.folder.path().join(format!("{name}-{version}"));
        Call::new("cp")
            .args(["--recursive", &Self::chart(name)])
            .arg(&copy)
            .run()?;
        let ours = env!("CARGO_PKG_VERSION");
        let file = copy.join("Chart.yaml");
        let text = std::fs::read_to_string(&file)?;
        let text = text.replace(&format!("ersion: {ours}\n"), &format!("ersion: {version}\n"));
        ensure!(text.contains(version), "{} names no version", file.display());
        std::fs::write(&file, text)?;
        Ok(copy.display().to_string())
    }

    /// Installs or upgrades the operator, and waits until all of its Pods are new and ready.
    pub(crate) fn install(&self, helm: &str, chart: &str) -> TestResult {
        let values = self.values("behalf").display().to_string();
        let arguments = [
            "upgrade",
            "--install",
            "behalf",
            chart,
            "--values",
            &values,
            "--wait",
            "--timeout",
            "2m",
        ];
        self.helm(helm, &arguments).map(drop)
    }

    /// `helm test`: an operator leads and reads the objects. Each release has one.
    fn test(&self, helm: &str) -> TestResult {
        self.helm(helm, &["test", "behalf", "--timeout", "90s"]).map(drop)
    }
}

/// The Pods of the servers, with the times of their start and of their removal, if it has begun.
pub(crate) fn pods(world: &World) -> TestResult<String> {
    let columns = r#"jsonpath={range .items[*]}{.metadata.name} {.status.startTime} {.metadata.deletionTimestamp}{"\n"}{end}"#;
    world.kubectl(&["get", "pods", "--output", columns])
}

/// A user's session in the memory of the Pod of quickstart, so that a restart would end it.
pub(crate) struct Session<'w> {
    world: &'w World,
    token: String,
    pods: String,
}

impl<'w> Session<'w> {
    const SERVER: Server = Server::Quickstart;

    pub(crate) async fn begin(world: &'w World) -> TestResult<Self> {
        Ok(Self {
            world,
            token: world.access_token(Self::SERVER, &ANA).await?,
            pods: pods(world)?,
        })
    }

    /// The session works after this step, which replaced no Pod.
    pub(crate) async fn goes_on(&self, step: &str) -> TestResult {
        let status = call(self.world, Self::SERVER, &self.token).await?.status();
        ensure!(
            status == StatusCode::OK,
            "after the {step} a call was answered {status}"
        );
        let (before, after) = (&self.pods, pods(self.world)?);
        ensure!(
            after == *before,
            "the {step} replaced Pods:\n{before}became\n{after}"
        );
        Ok(())
    }
}

async fn a_session_lives_through_upgrade_rollback_uninstall_and_reinstall_of_the_operator(
    world: &World,
) -> TestResult {
    let server = Session::SERVER;
    world.wait_settled(server).await?;
    let releases = Releases::new(world)?;
    let session = Session::begin(world).await?;
    let ours = Releases::chart("behalf");
    let work = async {
        releases.install(HELM_3, &releases.chart_of("behalf", "0.0.9")?)?;
        session.goes_on("installation of another version").await?;
        releases.install(HELM_4, &ours)?;
        releases.test(HELM_4)?;
        session.goes_on("upgrade").await?;
        releases.helm(HELM_3, &["rollback", "behalf", "--wait", "--timeout", "2m"])?;
        releases.test(HELM_3)?;
        session.goes_on("rollback").await?;
        releases.helm(HELM_4, &["uninstall", "behalf", "--wait"])?;
        session.goes_on("uninstall").await?;
        releases.install(HELM_4, &ours)?;
        releases.test(HELM_4)?;
        session.goes_on("reinstall").await
    };
    let restore = async {
        releases.install(HELM_3, &ours)?;
        world.wait_ready(server).await.map(drop)
    };
    restoring(work, restore).await?;
    session.goes_on("restored installation").await
}

async fn an_uninstall_of_the_crd_keeps_every_object(world: &World) -> TestResult {
    let releases = Releases::new(world)?;
    let install = |helm| {
        let chart = Releases::chart("behalf-crds");
        let install = ["upgrade", "--install", "behalf-crds", &chart];
        releases.helm(helm, &[&install[..], &["--set", "aggregatedRoles=true"]].concat())
    };
    let objects = || world.kubectl(&["get", "mcpservers", "--output", "name"]);
    let before = objects()?;
    let work = async {
        for helm in [HELM_3, HELM_4] {
            releases.helm(helm, &["uninstall", "behalf-crds"])?;
            let after = objects()?;
            ensure!(after == before && !before.is_empty(), "{before}became\n{after}");
            install(helm)?;
        }
        Ok(())
    };
    let restore = async { install(HELM_3).map(drop) };
    restoring(work, restore).await
}

async fn view_reads_mcp_servers_edit_writes_them_and_neither_writes_their_status(
    world: &World,
) -> TestResult {
    const NAMESPACE: &str = "releases-roles";
    let cluster = &world.running.cluster;
    let mut objects = Objects::default();
    objects.add_namespace(NAMESPACE);
    for role in ["view", "edit"] {
        objects.add(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": role, "namespace": NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": role, "namespace": NAMESPACE}],
        }));
    }
    objects.apply(&world.running.client).await?;
    let may = |role: &str, verb: &str, subresource: &str| {
        let user = format!("system:serviceaccount:{NAMESPACE}:{role}");
        let subresource = format!("--subresource={subresource}");
        let question = ["auth", "can-i", verb, "mcpservers.behalf.dev", &subresource];
        let who = ["--namespace", NAMESPACE, "--as", &user];
        cluster.kubectl(&[&question[..], &who].concat()).is_ok()
    };
    // The API server reads new bindings a moment after they were written.
    let end = Instant::now() + Duration::from_secs(30);
    while !(may("view", "list", "") && may("edit", "list", "")) && Instant::now() < end {
        sleep(Duration::from_millis(500)).await;
    }
    let rows = [
        ("view", "list", "", true),
        ("view", "get", "status", true),
        ("view", "create", "", false),
        ("view", "patch", "", false),
        ("edit", "list", "", true),
        ("edit", "create", "", true),
        ("edit", "patch", "scale", true),
        ("edit", "patch", "status", false),
        ("edit", "update", "status", false),
    ];
    let mut wrong = Vec::new();
    for (role, verb, subresource, expected) in rows {
        if may(role, verb, subresource) != expected {
            wrong.push(format!("{role} {verb} mcpservers/{subresource}: not {expected}"));
        }
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
