//! The cluster with the simulators and the operator, and what both stories need of it.

use std::error::Error;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use behalf_demo::environment::{
    Conditions, Layout, NAMESPACE_SERVERS, Ports, Server, create_federated_credential, wait_for,
};
use behalf_demo::forward::Answers;
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn};
use behalf_demo::{Forwarding, Progress, Running};
use behalf_local_cluster::cluster::checkout_name;
use behalf_local_cluster::files;
use behalf_runtime::error_chain;
use behalf_simulators::entra::Control;
use behalf_simulators::people::{CLIENT_ID, Person};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::commands;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Maximum time of one step of a story.
const STEP: Duration = Duration::from_mins(4);

pub(crate) struct World {
    /// The folder of the controllers' programs and CRDs.
    pub(crate) controllers: PathBuf,
    running: Running,
    layout: Layout,
    entra: Control,
    folder: TempDir,
}

impl World {
    pub(crate) async fn create(controllers: PathBuf) -> TestResult<Self> {
        let layout = Layout {
            nodes: 1,
            log_level: "Info",
            collector: None,
            ports: Ports::beginning_at(8680),
            ..Layout::tests(checkout_name("gitops"))
        };
        let progress = Progress::new(|line| println!("{line}"));
        let forwarding = Forwarding::Task(Answers::default());
        let running = behalf_demo::start(&layout, None, forwarding, &progress).await?;
        let entra = Control::new(layout.entra_control())?;
        Ok(Self {
            controllers,
            running,
            layout,
            entra,
            folder: TempDir::with_prefix("behalf-gitops-")?,
        })
    }

    /// Deletes the cluster, unless `BEHALF_KEEP_CLUSTER` is set.
    pub(crate) fn dispose(&self) {
        let kubeconfig = self.running.cluster.kubeconfig();
        if std::env::var_os("BEHALF_KEEP_CLUSTER").is_some() {
            println!("the cluster keeps running: {}", kubeconfig.display());
            return;
        }
        let progress = Progress::new(|line| println!("{line}"));
        let folder = files::cache().join(&self.layout.cluster);
        let kind = Some(self.running.cluster.kind());
        if let Err(error) = behalf_demo::down(&self.layout, kind, &folder, &progress) {
            println!("failed to delete the cluster: {}", error_chain(&error));
        }
    }

    /// A folder for the files of a controller.
    pub(crate) fn folder(&self, name: &str) -> TestResult<PathBuf> {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// The cluster's kubeconfig, whose context names this namespace.
    pub(crate) fn kubeconfig(&self, namespace: &str) -> TestResult<PathBuf> {
        let text = std::fs::read_to_string(self.running.cluster.kubeconfig())?;
        let mut kubeconfig: Value = serde_yaml::from_str(&text)?;
        kubeconfig["contexts"][0]["context"]["namespace"] = json!(namespace);
        let path = self.folder.path().join(format!("{namespace}.kubeconfig"));
        std::fs::write(&path, serde_yaml::to_string(&kubeconfig)?)?;
        Ok(path)
    }

    /// The address at which nodes reach this machine.
    pub(crate) fn host_address(&self) -> TestResult<Ipv4Addr> {
        let address = self.running.cluster.host_address();
        Ok(
            address
                .ok_or("the nodes of this kind of cluster do not reach this machine: use CLUSTER=local")?,
        )
    }

    /// The MCP endpoint of a server.
    pub(crate) fn mcp_url(&self, server: Server) -> Url {
        self.layout.mcp_url(server)
    }

    /// Signs a person in and returns the access token.
    pub(crate) async fn access_token(&self, server: Server, person: &Person) -> TestResult<String> {
        let pending = PendingSignIn::begin(&self.mcp_url(server)).await?;
        let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
        let back = Browser::new()?.sign_in(&visit).await?;
        let signed_in = pending.finish(&back.redirect).await?;
        let token = signed_in.manager().lock().await.get_access_token().await?;
        Ok(token)
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> TestResult<String> {
        Ok(self.running.cluster.kubectl(arguments)?)
    }

    /// Runs a script of the documentation in a folder, and returns what it printed.
    pub(crate) fn shell(&self, folder: &Path, script: &str) -> TestResult<String> {
        Ok(commands::shell(&self.running.cluster, folder, script)
            .limit(STEP)
            .text()?)
    }

    /// Applies objects, as JSON.
    pub(crate) fn apply(&self, objects: &[Value]) -> TestResult {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let arguments = ["apply", "--server-side", "--force-conflicts", "--filename", "-"];
        self.running.cluster.kubectl_with(&arguments, &list.to_string())?;
        Ok(())
    }

    /// Installs CRDs, and waits until their kinds can be used.
    pub(crate) async fn install_crds(&self, path: &Path) -> TestResult {
        let path = path.display().to_string();
        let path = path.as_str();
        self.kubectl(&["apply", "--server-side", "--filename", path])?;
        // `kubectl wait` fails at once for a CRD without conditions, as it is in its first moment.
        until("the CRDs are established", || {
            let wait = [
                "wait",
                "--for=condition=Established",
                "--timeout=10s",
                "--filename",
                path,
            ];
            Ok(self.kubectl(&wait).ok().map(drop))
        })
        .await
    }

    pub(crate) fn get(&self, namespace: &str, kind: &str, name: &str) -> TestResult<Value> {
        let arguments = ["--namespace", namespace, "get", kind, name, "--output", "json"];
        Ok(serde_json::from_str(&self.kubectl(&arguments)?)?)
    }

    /// Whether an object exists in the servers' namespace.
    pub(crate) fn exists(&self, kind: &str, name: &str) -> TestResult<bool> {
        let found = self.kubectl(&[
            "--namespace",
            NAMESPACE_SERVERS,
            "get",
            kind,
            name,
            "--ignore-not-found",
            "--output",
            "name",
        ])?;
        Ok(!found.trim().is_empty())
    }

    /// The `McpServer` that a story keeps in Git: the quickstart with an address of its own.
    pub(crate) fn mcp_server(&self, name: &str) -> TestResult<Value> {
        let quickstart = self.get(NAMESPACE_SERVERS, "mcpserver", Server::Quickstart.name())?;
        Ok(json!({
            "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
            "metadata": {"name": name, "namespace": NAMESPACE_SERVERS},
            "spec": {
                "publicUrl": format!("https://{name}.contoso.example"),
                "entra": quickstart["spec"]["entra"], "server": quickstart["spec"]["server"],
            },
        }))
    }

    /// Waits until the conditions of an object satisfy `wanted`.
    pub(crate) async fn wait(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Conditions) -> bool,
    ) -> TestResult<Conditions> {
        let seen = |conditions: &Conditions| println!("    {name}: {}", conditions.summary());
        Ok(wait_for(&self.running.client, name, what, STEP, seen, wanted).await?)
    }

    pub(crate) async fn conditions(&self, name: &str) -> TestResult<Conditions> {
        Ok(Conditions::read(&self.running.client, name).await?)
    }

    /// Creates the federated credential that the status of the object asks for.
    pub(crate) async fn create_credential(&self, name: &str) -> TestResult {
        let conditions = self.conditions(name).await?;
        create_federated_credential(&self.entra, name, &conditions).await?;
        Ok(())
    }

    /// Removes the federated credential, and the Pod, so that a new one asks Entra at once.
    pub(crate) async fn remove_credential(&self, name: &str) -> TestResult {
        let subject = format!("system:serviceaccount:{NAMESPACE_SERVERS}:{name}");
        self.entra
            .update_application(CLIENT_ID, |application| {
                application
                    .federated_credentials
                    .retain(|credential| credential.subject != subject);
            })
            .await?;
        let selector = format!("app.kubernetes.io/instance={name}");
        self.kubectl(&[
            "--namespace",
            NAMESPACE_SERVERS,
            "delete",
            "pod",
            "--selector",
            &selector,
        ])?;
        Ok(())
    }
}

/// Looks again and again until `look` returns something, for the time of one step.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> TestResult<Option<T>>) -> TestResult<T> {
    let started = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if started.elapsed() > STEP {
            return Err(format!("not within {} s: {what}", STEP.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Returns the path of a file that remains after the run.
pub(crate) fn artifact(name: &str) -> TestResult<PathBuf> {
    let folder =
        std::env::var_os("ARTIFACTS").map_or_else(|| files::checkout().join("artifacts"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.join(name))
}

/// A manifest of `examples`.
pub(crate) fn example(path: &str) -> TestResult<Value> {
    let text = std::fs::read_to_string(files::checkout().join("examples").join(path))?;
    Ok(serde_yaml::from_str(&text)?)
}

/// Fails the test with a message unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}
