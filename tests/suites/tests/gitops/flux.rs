//! Flux' kustomize-controller, with an `ExternalArtifact` in place of a Git repository.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use behalf_local_cluster::{Call, files};
use behalf_tests::published_crds::helm_release_crd;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::ensure;
use crate::process::{Process, program};
use crate::story::{Health, Seen, Tool};
use crate::world::{TestResult, World, example};

const NAMESPACE: &str = "flux-system";

/// The folder of the artifact, as in `examples/flux/servers.yaml`.
const PATH: &str = "mcp-servers";

/// The time of every artifact: kustomize-controller compares revisions.
const STORED: &str = "2026-01-01T00:00:00Z";

pub(crate) struct Flux {
    folder: PathBuf,
    url: String,
    revision: Mutex<String>,
    _controller: Process,
}

impl Flux {
    pub(crate) async fn start(world: &World) -> TestResult<Self> {
        world.install_crds(&world.controllers.join("flux-crds")).await?;
        world.install_crds(&helm_release_crd()?).await?;
        let folder = world.folder("flux")?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        world.apply(&[namespace])?;
        takes_the_examples(world)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let served = folder.clone();
        let serve = Router::new().fallback(move |request: Request| {
            let file = served.join(request.uri().path().trim_start_matches('/'));
            async move { std::fs::read(file).map_err(|_| StatusCode::NOT_FOUND) }
        });
        drop(tokio::spawn(async move { axum::serve(listener, serve).await }));
        let mut command = program(&world.controllers.join("kustomize-controller"), &folder);
        command
            .env("RUNTIME_NAMESPACE", NAMESPACE)
            .env("KUBECONFIG", world.kubeconfig(NAMESPACE)?)
            .args(["--watch-all-namespaces", "--enable-leader-election=false"])
            .args([
                "--feature-gates=ExternalArtifact=true",
                "--requeue-dependency=5s",
                "--concurrent=2",
            ])
            .args(["--metrics-addr=0", "--health-addr=127.0.0.1:0"]);
        Ok(Self {
            _controller: Process::start("kustomize-controller", &mut command)?,
            folder,
            url,
            revision: Mutex::default(),
        })
    }

    /// The example with the source of the test, and with shorter times.
    fn kustomization() -> TestResult<Value> {
        let mut kustomization = example("flux/servers.yaml")?;
        kustomization["metadata"]["name"] = json!(Self::NAME);
        let spec = kustomization["spec"]
            .as_object_mut()
            .ok_or("the example has no spec")?;
        // The environment installed the operator.
        spec.remove("dependsOn");
        spec.insert(
            "sourceRef".to_owned(),
            json!({"kind": "ExternalArtifact", "name": Self::NAME}),
        );
        for (key, value) in [("interval", "15s"), ("retryInterval", "5s"), ("timeout", "2m")] {
            spec.insert(key.to_owned(), json!(value));
        }
        Ok(kustomization)
    }
}

impl Tool for Flux {
    const NAME: &'static str = "kept-by-flux";
    const SECTION: &'static str = "Flux";

    /// Its message has the name and the status of each object that is not healthy.
    const SHOWS_REASONS: bool = false;

    const SUSPENDED: Health = Health::Healthy;

    fn commit(&self, world: &World, objects: &[Value]) -> TestResult {
        let content = self.folder.join("content");
        write_objects(&content.join(PATH), objects)?;
        let archive = self.folder.join("next.tar.gz");
        let reproducible = [
            "--sort=name",
            "--mtime=@0",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
        ];
        Call::new("tar")
            .args(reproducible)
            .arg("--gzip")
            .arg("--file")
            .arg(&archive)
            .arg("--create")
            .arg("--directory")
            .arg(&content)
            .arg(".")
            .run()?;
        let sum = Call::new("sha256sum").arg(&archive).text()?;
        let digest = sum.split_whitespace().next().ok_or("sha256sum printed nothing")?;
        let name = format!("{digest}.tar.gz");
        std::fs::rename(&archive, self.folder.join(&name))?;
        let size = std::fs::metadata(self.folder.join(&name))?.len();
        let revision = format!("main@sha1:{}", &digest[..40]);
        revision.clone_into(&mut self.revision.lock().unwrap_or_else(PoisonError::into_inner));

        let source = json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "ExternalArtifact",
            "metadata": {"name": Self::NAME, "namespace": NAMESPACE},
            "spec": {"sourceRef": {"apiVersion": "example.com/v1", "kind": "Folder", "name": Self::NAME}},
        });
        world.apply(&[source])?;
        let generation =
            world.get(NAMESPACE, "externalartifact", Self::NAME)?["metadata"]["generation"].clone();
        let status = json!({"status": {
            "artifact": {
                "url": format!("{}/{name}", self.url), "path": name, "revision": revision,
                "digest": format!("sha256:{digest}"), "lastUpdateTime": STORED, "size": size,
            },
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
                "lastTransitionTime": STORED, "observedGeneration": generation,
            }],
        }});
        let status = status.to_string();
        world.kubectl(&[
            "--namespace",
            NAMESPACE,
            "patch",
            "externalartifact",
            Self::NAME,
            "--subresource=status",
            "--type=merge",
            "--patch",
            &status,
        ])?;
        world.apply(&[Self::kustomization()?])
    }

    fn look(&self, world: &World) -> TestResult<Seen> {
        let object = world.get(NAMESPACE, "kustomization.kustomize.toolkit.fluxcd.io", Self::NAME)?;
        let status = &object["status"];
        let conditions = status["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        let text = |key: &str| {
            ready
                .and_then(|ready| ready[key].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        let health = match (text("status").as_str(), text("reason").as_str()) {
            ("True", _) => Health::Healthy,
            ("False", "HealthCheckFailed") => Health::Unhealthy,
            _ => Health::InProgress,
        };
        let revision = self
            .revision
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let revision_of = |key: &str| status[key].as_str() == Some(revision.as_str());
        Ok(Seen {
            current: revision_of("lastAttemptedRevision")
                && (health != Health::Healthy || revision_of("lastAppliedRevision")),
            health,
            message: text("message"),
            applied: status["lastAppliedRevision"].to_string(),
            compared: status["history"][0]["lastReconciled"].to_string(),
        })
    }
}

/// The API server accepts every file of `examples/flux`, with the kinds of Flux, and knows all of its fields. A dry run: no
/// helm-controller runs.
fn takes_the_examples(world: &World) -> TestResult {
    let folder = files::checkout().join("examples/flux").display().to_string();
    let arguments = [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--filename",
        &folder,
    ];
    let printed = world.kubectl(&arguments)?;
    for object in [
        "kustomization.kustomize.toolkit.fluxcd.io/behalf ",
        "kustomization.kustomize.toolkit.fluxcd.io/mcp-servers ",
        "gitrepository.source.toolkit.fluxcd.io/behalf ",
        "helmrelease.helm.toolkit.fluxcd.io/behalf-crds ",
        "helmrelease.helm.toolkit.fluxcd.io/behalf ",
    ] {
        ensure!(printed.contains(object), "{object}is not in {printed}");
    }
    Ok(())
}

/// Makes these objects the only files of a folder.
pub(crate) fn write_objects(folder: &Path, objects: &[Value]) -> TestResult {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    for (index, object) in objects.iter().enumerate() {
        std::fs::write(
            folder.join(format!("{index}.yaml")),
            serde_yaml::to_string(object)?,
        )?;
    }
    Ok(())
}
