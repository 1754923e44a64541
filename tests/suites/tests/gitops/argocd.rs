//! Argo CD's controller and repo-server, with a Git repository in a folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use behalf_local_cluster::{Call, files};
use behalf_tests::commands;
use serde_json::{Value, json};

use crate::flux::write_objects;
use crate::process::{Process, free_port, program};
use crate::story::{Health, Seen, Tool};
use crate::world::{TestResult, World, example};

const NAMESPACE: &str = "argocd";

pub(crate) struct ArgoCd {
    /// The repository, which is also where Argo CD reads it.
    repository: PathBuf,
    _processes: [Process; 3],
}

impl ArgoCd {
    pub(crate) async fn start(world: &World) -> TestResult<Self> {
        world.install_crds(&world.controllers.join("argocd-crds")).await?;
        world.apply(&settings())?;
        install_health(world)?;
        let home = world.folder("argocd")?;
        let repository = home.join("repository");
        git(&home, &["init", "--quiet", "--initial-branch=main", "repository"])?;

        let (redis, repo_server) = (free_port()?, free_port()?);
        let mut command = program(Path::new("redis-server"), &home);
        command.args([
            "--port",
            &redis.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
        ]);
        let redis_process = Process::start("argocd-redis", command.arg(&home))?;
        let mut command = Self::program(world, "argocd-repo-server", &home)?;
        command
            .args([
                "--port",
                &repo_server.to_string(),
                "--address",
                "127.0.0.1",
                "--disable-tls",
            ])
            .args(["--metrics-port", &free_port()?.to_string()])
            .args(["--redis", &format!("127.0.0.1:{redis}")]);
        let repo_server_process = Process::start("argocd-repo-server", &mut command)?;
        let mut command = Self::program(world, "argocd-application-controller", &home)?;
        command
            .args(["--namespace", NAMESPACE, "--redis", &format!("127.0.0.1:{redis}")])
            .args([
                "--repo-server",
                &format!("127.0.0.1:{repo_server}"),
                "--repo-server-plaintext",
            ])
            .args(["--metrics-port", &free_port()?.to_string()])
            .args([
                "--app-resync",
                "10",
                "--status-processors",
                "2",
                "--operation-processors",
                "2",
            ])
            // Otherwise only the API of argocd-server shows the health of each object.
            .arg("--persist-resource-health");
        let controller = Process::start("argocd-application-controller", &mut command)?;
        Ok(Self {
            repository,
            _processes: [redis_process, repo_server_process, controller],
        })
    }

    fn program(world: &World, name: &str, home: &Path) -> TestResult<Command> {
        let mut command = program(&world.controllers.join("argocd"), home);
        for folder in ["tls", "ssh"] {
            std::fs::create_dir_all(home.join(folder))?;
        }
        command
            .env("ARGOCD_BINARY_NAME", name)
            .env("ARGOCD_FAKE_IN_CLUSTER", "true")
            .env("ARGOCD_GPG_ENABLED", "false")
            .env("ARGOCD_TLS_DATA_PATH", home.join("tls"))
            .env("ARGOCD_SSH_DATA_PATH", home.join("ssh"))
            .env("KUBECONFIG", world.kubeconfig(NAMESPACE)?);
        Ok(command)
    }

    /// The example with the repository of the test.
    fn application(&self) -> TestResult<Value> {
        let mut application = example("argocd/application.yaml")?;
        application["metadata"]["name"] = json!(Self::NAME);
        application["spec"]["source"]["repoURL"] = json!(format!("file://{}", self.repository.display()));
        Ok(application)
    }

    fn revision(&self) -> TestResult<String> {
        Ok(git(&self.repository, &["rev-parse", "HEAD"])?.trim().to_owned())
    }
}

impl Tool for ArgoCd {
    const NAME: &'static str = "kept-by-argocd";
    const SECTION: &'static str = "Argo CD";
    const SHOWS_REASONS: bool = true;
    const SUSPENDED: Health = Health::Suspended;

    fn commit(&self, world: &World, objects: &[Value]) -> TestResult {
        let application = self.application()?;
        let path = application["spec"]["source"]["path"]
            .as_str()
            .ok_or("the example has no path")?;
        write_objects(&self.repository.join(path), objects)?;
        git(&self.repository, &["add", "--all"])?;
        git(&self.repository, &["commit", "--quiet", "--message", "change"])?;
        world.apply(&[application])?;
        // Argo CD remembers for minutes which commit a branch is.
        let refresh = "argocd.argoproj.io/refresh=hard";
        world.kubectl(&[
            "--namespace",
            NAMESPACE,
            "annotate",
            "--overwrite",
            "application",
            Self::NAME,
            refresh,
        ])?;
        Ok(())
    }

    fn look(&self, world: &World) -> TestResult<Seen> {
        let object = world.get(NAMESPACE, "application", Self::NAME)?;
        let status = &object["status"];
        let resources = status["resources"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let server = resources.iter().find(|resource| resource["kind"] == "McpServer");
        let message = server.and_then(|server| server["health"]["message"].as_str());
        Ok(Seen {
            current: status["sync"]["status"] == "Synced" && status["sync"]["revision"] == self.revision()?,
            health: match status["health"]["status"].as_str() {
                Some("Healthy") => Health::Healthy,
                Some("Suspended") => Health::Suspended,
                Some("Degraded") => Health::Unhealthy,
                _ => Health::InProgress,
            },
            message: message.unwrap_or_default().to_owned(),
            applied: status["operationState"]["startedAt"].to_string(),
            compared: status["reconciledAt"].to_string(),
        })
    }
}

/// Runs git without the settings of the user and the machine.
fn git(folder: &Path, arguments: &[&str]) -> TestResult<String> {
    let call = ["AUTHOR", "COMMITTER"]
        .iter()
        .fold(Call::new("git"), |call, who| {
            call.env(&format!("GIT_{who}_NAME"), "team")
                .env(&format!("GIT_{who}_EMAIL"), "team@contoso.example")
        });
    let call = call
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ok(call.directory(folder).args(arguments).text()?)
}

/// The part of the manifests of Argo CD's installation that these two components read.
fn settings() -> Vec<Value> {
    let labelled = |kind: &str, name: &str| {
        json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {
                "name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "argocd"},
            },
        })
    };
    let mut secret = labelled("Secret", "argocd-secret");
    secret["stringData"] = json!({"server.secretkey": "only-of-this-test"});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        secret,
        labelled("ConfigMap", "argocd-cm"),
        labelled("ConfigMap", "argocd-rbac-cm"),
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
            "metadata": {"name": "default", "namespace": NAMESPACE},
            "spec": {
                "sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        }),
    ]
}

/// Runs the command of `examples/argocd/README.md`.
fn install_health(world: &World) -> TestResult {
    let blocks = commands::blocks("examples/argocd/README.md")?;
    let command = &blocks.first().ok_or("the README has no command")?.script;
    world.shell(&files::checkout(), command)?;
    let installed = world.get(NAMESPACE, "configmap", "argocd-cm")?;
    crate::ensure!(
        installed["metadata"]["labels"]["app.kubernetes.io/part-of"] == "argocd"
            && installed["data"]["resource.customizations.health.behalf.dev_McpServer"].is_string(),
        "the command of the README made {installed}"
    );
    Ok(())
}
