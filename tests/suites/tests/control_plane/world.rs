//! A control plane with the CRD, and an operator that runs as a process.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use behalf_local_cluster::control_plane::ControlPlane;
use behalf_local_cluster::{Progress, files};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The version that the operator knows.
pub(crate) const PRESENT: &str = "v1alpha1";

/// A version of this test.
pub(crate) const NEXT: &str = "v1alpha2";

pub(crate) const NAMESPACE: &str = "mcp";

/// The operator's user.
const OPERATOR: &str = "operator";

/// Maximum time until a change is seen.
pub(crate) const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct World {
    plane: ControlPlane,
    operator: Option<Child>,
    folder: TempDir,
}

impl World {
    /// Starts the control plane and an operator with these options.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut world = Self::without_operator();
        world.replace_operator(options);
        world
    }

    /// Starts the control plane with the CRD.
    pub(crate) fn without_operator() -> Self {
        let plane = ControlPlane::start(&[OPERATOR], &Progress::to(|_| {})).unwrap();
        let crd = files::checkout().join("crds/behalf.dev_mcpservers.yaml");
        let crd = crd.display().to_string();
        for arguments in [
            &["apply", "--server-side", "--filename", &crd][..],
            &["create", "namespace", NAMESPACE],
            &["wait", "--for=condition=Established", "crd/mcpservers.behalf.dev"],
        ] {
            plane.kubectl(arguments).unwrap();
        }
        Self {
            plane,
            operator: None,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Ends the operator, if there is one, and starts another one with these options.
    pub(crate) fn replace_operator(&mut self, options: &[&str]) {
        self.end_operator();
        self.operator = Some(start_operator(&self.plane, &self.folder, options));
    }

    fn end_operator(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            // It may have ended, which the test has reported.
            let _ = operator.kill();
            let _ = operator.wait();
        }
    }

    /// A client with the rights of the administrator.
    pub(crate) async fn client(&self) -> Client {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(self.plane.admin()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.unwrap()).unwrap()
    }

    /// Creates the `McpServer` of an example through a version, and returns its name.
    pub(crate) fn create(&self, version: &str, example: &str) -> String {
        let object = object_of(version, example);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        self.apply(&object);
        name
    }

    /// Creates the `McpServer` of an example with another name and address.
    pub(crate) fn create_as(&self, version: &str, example: &str, name: &str) {
        let mut object = object_of(version, example);
        object["metadata"]["name"] = json!(name);
        object["spec"]["publicUrl"] = json!(format!("https://{name}.contoso.example"));
        self.apply(&object);
    }

    /// Creates an object, or a list of objects.
    pub(crate) fn apply(&self, object: &Value) {
        let path = self.folder.path().join("object.json");
        std::fs::write(&path, object.to_string()).unwrap();
        self.kubectl(&["create", "--filename", &path.display().to_string()]);
    }

    /// Reads an object or, without a name, the list. `subresource` is empty or begins with a slash.
    pub(crate) fn get(&self, version: &str, name: &str, subresource: &str) -> Value {
        let path = path(version, name, subresource);
        serde_json::from_str(&self.kubectl(&["get", "--raw", &path])).unwrap()
    }

    pub(crate) fn exists(&self, version: &str, name: &str) -> bool {
        let path = path(version, name, "");
        self.plane.kubectl(&["get", "--raw", &path]).is_ok()
    }

    pub(crate) fn patch(&self, version: &str, name: &str, patch: &Value) {
        let kind = kind(version);
        let patch = patch.to_string();
        self.kubectl(&[
            "--namespace",
            NAMESPACE,
            "patch",
            &kind,
            name,
            "--type=merge",
            "--patch",
            &patch,
        ]);
    }

    pub(crate) fn scale(&self, version: &str, name: &str, replicas: u32) {
        let (kind, replicas) = (kind(version), format!("--replicas={replicas}"));
        self.kubectl(&["--namespace", NAMESPACE, "scale", &kind, name, &replicas]);
    }

    pub(crate) fn delete(&self, version: &str, name: &str) {
        let kind = kind(version);
        self.kubectl(&["--namespace", NAMESPACE, "delete", &kind, name, "--wait=false"]);
    }

    /// A child of an object.
    pub(crate) fn child(&self, kind: &str, name: &str) -> Option<Value> {
        let arguments = ["--namespace", NAMESPACE, "get", kind, name, "--output=json"];
        let text = self.plane.kubectl(&arguments).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Waits until the operator has written the status of an object as it is now, and returns the object.
    pub(crate) fn reconciled(&self, version: &str, name: &str) -> Value {
        let mut object = Value::Null;
        self.until(&format!("{name} is reconciled"), || {
            object = self.get(version, name, "");
            object["status"]["observedGeneration"] == object["metadata"]["generation"]
        });
        object
    }

    pub(crate) fn crd(&self) -> Value {
        let arguments = ["get", "crd", "mcpservers.behalf.dev", "--output=json"];
        serde_json::from_str(&self.kubectl(&arguments)).unwrap()
    }

    /// Serves both versions, and stores new objects as `stored`. The next version has the schema of the present one and one
    /// field more, as an addition to the API would.
    pub(crate) fn serve_next(&self, stored: &str) {
        let crd = self.crd();
        let mut present = crd["spec"]["versions"][0].clone();
        assert_eq!(present["name"], PRESENT);
        let mut next = present.clone();
        next["name"] = json!(NEXT);
        next["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["displayName"] =
            json!({"type": "string", "maxLength": 64});
        for version in [&mut present, &mut next] {
            version["storage"] = json!(version["name"] == stored);
        }
        let change = json!({
            "apiVersion": crd["apiVersion"],
            "kind": crd["kind"],
            "metadata": {"name": crd["metadata"]["name"], "resourceVersion": crd["metadata"]["resourceVersion"]},
            "spec": {
                "group": crd["spec"]["group"], "names": crd["spec"]["names"], "scope": crd["spec"]["scope"],
                "conversion": {"strategy": "None"}, "versions": [present, next],
            },
        });
        let path = self.folder.path().join("crd.json");
        std::fs::write(&path, change.to_string()).unwrap();
        self.kubectl(&["replace", "--filename", &path.display().to_string()]);
        self.until("the next version is served", || self.exists(NEXT, ""));
        self.until("the stored version is known", || {
            let versions = self.crd()["status"]["storedVersions"].clone();
            versions
                .as_array()
                .unwrap()
                .iter()
                .any(|version| version == stored)
        });
    }

    /// Fails if the operator has ended.
    pub(crate) fn operator_runs(&mut self) {
        let operator = self.operator.as_mut().unwrap();
        assert!(operator.try_wait().unwrap().is_none(), "{}", self.log());
    }

    /// Waits until `seen` returns true.
    pub(crate) fn until(&self, what: &str, mut seen: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !seen() {
            assert!(
                Instant::now() < deadline,
                "{what}: not within {} s; the operator's log:\n{}",
                LIMIT.as_secs(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("operator.log")).unwrap()
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let text = self.plane.kubectl(arguments);
        text.unwrap_or_else(|error| panic!("{}", behalf_runtime::error_chain(&error)))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_operator();
    }
}

/// Starts an operator. Its log goes on where the one before it ended.
fn start_operator(plane: &ControlPlane, folder: &TempDir, options: &[&str]) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("operator.log"))
        .unwrap();
    Command::new(operator())
        .args(["run", "--port=0", "--watch-namespaces", NAMESPACE])
        .args(options)
        .env("KUBECONFIG", plane.kubeconfig(OPERATOR))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Returns the `McpServer` of an example, in a version.
fn object_of(version: &str, example: &str) -> Value {
    let text = std::fs::read_to_string(files::checkout().join("examples").join(example)).unwrap();
    let mut object: Value = serde_yaml::from_str(&text).unwrap();
    object["apiVersion"] = json!(format!("behalf.dev/{version}"));
    object["metadata"]["namespace"] = json!(NAMESPACE);
    // Its ConfigMap does not exist here, and the operator would refuse the object.
    if let Some(redis) = object.pointer_mut("/spec/sessions/store/redis") {
        redis.as_object_mut().unwrap().remove("certificateAuthorityRef");
    }
    object
}

fn path(version: &str, name: &str, subresource: &str) -> String {
    let list = format!("/apis/behalf.dev/{version}/namespaces/{NAMESPACE}/mcpservers");
    if name.is_empty() {
        list
    } else {
        format!("{list}/{name}{subresource}")
    }
}

/// The kind as kubectl names it with its version.
fn kind(version: &str) -> String {
    format!("mcpservers.{version}.behalf.dev")
}

/// The operator that cargo built with these tests.
fn operator() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // Tests are in the folder `deps` beside the programs.
    let programs = test.parent().and_then(std::path::Path::parent).unwrap();
    programs.join("behalf-operator")
}
