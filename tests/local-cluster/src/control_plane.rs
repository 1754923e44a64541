//! A control plane without nodes: etcd, the API server and the controllers of Deployments, as processes on loopback. Pods are
//! made and never run. It starts in seconds and needs no rights of root.

use std::fmt::Write as _;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::ClusterError;
use crate::command::{Call, tail};
use crate::files::{self, FileError};
use crate::progress::Progress;
use crate::toolchain::{self, Toolchain};

/// Maximum time until a component answers on a slow and busy machine.
const START_TIME: Duration = Duration::from_mins(2);

/// Time between two looks at a component that starts.
const POLL: Duration = Duration::from_millis(100);

/// Number of lines of a log that an error quotes.
const QUOTED_LINES: usize = 20;

/// The range of Services: room for thousands.
const SERVICES: &str = "10.200.0.0/16";

/// The user of [`ControlPlane::admin`].
const ADMIN: &str = "admin";

/// A running control plane. Dropped, it ends with all its data.
#[derive(Debug)]
pub struct ControlPlane {
    folder: TempDir,
    port: u16,
    tools: Toolchain,
    components: Vec<Child>,
}

impl ControlPlane {
    /// Starts one. `users` are more users beside the administrator, each of the group of `ServiceAccounts`. Everybody may do
    /// everything: rights are not what it is for.
    pub fn start(users: &[&str], progress: &Progress) -> Result<Self, ClusterError> {
        let tools = toolchain::ensure(progress, crate::cluster::tools_in_use)?;
        let folder = tempfile::tempdir().map_err(FileError::at("create", &std::env::temp_dir()))?;
        let mut plane = Self {
            port: free_port()?,
            folder,
            tools,
            components: Vec::new(),
        };
        progress.step("start etcd and the API server", || {
            plane.write_files(users)?;
            let etcd = plane.start_etcd()?;
            plane.start_api_server(&etcd)?;
            plane.wait("kube-apiserver", &["get", "--raw=/readyz"])
        })?;
        progress.step("start the controllers", || plane.start_controllers())?;
        Ok(plane)
    }

    /// The kubeconfig of the administrator.
    pub fn admin(&self) -> PathBuf {
        self.kubeconfig(ADMIN)
    }

    /// The kubeconfig of a user.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.file(&format!("{user}.conf"))
    }

    /// The audit log: one line of JSON for each request that has ended, without its body.
    pub fn audit_log(&self) -> PathBuf {
        self.file("audit.log")
    }

    /// Runs kubectl as the administrator and returns what it prints.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String, ClusterError> {
        let call = self.tools.clients().call_kubectl(&self.admin());
        Ok(call.args(arguments).text()?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write_files(&self, users: &[&str]) -> Result<(), ClusterError> {
        let mut tokens = format!("{},{ADMIN},{ADMIN},system:masters\n", token(ADMIN));
        for user in users {
            let _ = writeln!(tokens, "{},{user},{user},system:serviceaccounts", token(user));
        }
        files::write(&self.file("tokens.csv"), tokens)?;
        for user in users.iter().chain([&ADMIN]) {
            files::write(&self.kubeconfig(user), self.kubeconfig_of(user).to_string())?;
        }
        // Metadata only: whose request it was, what it asked for and the status of the answer.
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [{"level": "None", "users": ["system:apiserver"]}, {"level": "Metadata"}],
        });
        files::write(&self.file("audit-policy.json"), policy.to_string())?;
        // The keys of ServiceAccount tokens.
        let certificates = self.file("certificates");
        files::create_directory(&certificates)?;
        let kubeadm = Call::new(self.tools.cluster()).args(["kubeadm", "init", "phase", "certs", "sa"]);
        Ok(kubeadm.arg("--cert-dir").arg(&certificates).run()?)
    }

    fn kubeconfig_of(&self, user: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "control-plane", "cluster": {
                "server": format!("https://127.0.0.1:{}", self.port),
                // The API server makes its certificate itself, with its issuer in the same file.
                "certificate-authority": self.file("certificates/apiserver.crt"),
            }}],
            "users": [{"name": user, "user": {"token": token(user)}}],
            "contexts": [{"name": "control-plane", "context": {"cluster": "control-plane", "user": user}}],
            "current-context": "control-plane",
        })
    }

    /// Starts etcd and returns its URL.
    fn start_etcd(&mut self) -> Result<String, ClusterError> {
        let url = format!("http://127.0.0.1:{}", free_port()?);
        let peers = format!("http://127.0.0.1:{}", free_port()?);
        let flags = [
            ("data-dir", self.file("etcd").display().to_string()),
            ("listen-client-urls", url.clone()),
            ("advertise-client-urls", url.clone()),
            ("listen-peer-urls", peers.clone()),
            ("initial-advertise-peer-urls", peers.clone()),
            ("initial-cluster", format!("default={peers}")),
            ("log-level", "warn".to_owned()),
            ("unsafe-no-fsync", "true".to_owned()),
        ];
        self.run("etcd", &flags)?;
        Ok(url)
    }

    fn start_api_server(&mut self, etcd: &str) -> Result<(), ClusterError> {
        let path = |name: &str| self.file(name).display().to_string();
        let flags = [
            ("etcd-servers", etcd.to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("advertise-address", "127.0.0.1".to_owned()),
            ("secure-port", self.port.to_string()),
            ("cert-dir", path("certificates")),
            ("authorization-mode", "AlwaysAllow".to_owned()),
            ("token-auth-file", path("tokens.csv")),
            ("service-cluster-ip-range", SERVICES.to_owned()),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local".to_owned(),
            ),
            ("service-account-key-file", path("certificates/sa.pub")),
            ("service-account-signing-key-file", path("certificates/sa.key")),
            ("audit-policy-file", path("audit-policy.json")),
            ("audit-log-path", path("audit.log")),
            // One file for the whole run.
            ("audit-log-maxsize", "4096".to_owned()),
            ("endpoint-reconciler-type", "none".to_owned()),
        ];
        self.run("kube-apiserver", &flags)
    }

    fn start_controllers(&mut self) -> Result<(), ClusterError> {
        let flags = [
            ("kubeconfig", self.admin().display().to_string()),
            // These controllers turn Deployments into Pods. No other controller runs: nothing is deleted with its owner.
            (
                "controllers",
                "deployment-controller,replicaset-controller".to_owned(),
            ),
            ("leader-elect", "false".to_owned()),
            ("kube-api-qps", "1000".to_owned()),
            ("kube-api-burst", "2000".to_owned()),
            ("secure-port", "0".to_owned()),
            ("bind-address", "127.0.0.1".to_owned()),
        ];
        self.run("kube-controller-manager", &flags)
    }

    fn run(&mut self, component: &'static str, flags: &[(&str, String)]) -> Result<(), ClusterError> {
        let path = self.log(component);
        let log = File::create(&path).map_err(FileError::at("create", &path))?;
        let errors = log.try_clone().map_err(FileError::at("create", &path))?;
        let arguments = flags.iter().map(|(flag, value)| format!("--{flag}={value}"));
        let child = Command::new(self.tools.cluster())
            .arg(component)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(FileError::at("start", &self.tools.cluster()))?;
        self.components.push(child);
        Ok(())
    }

    fn log(&self, component: &str) -> PathBuf {
        self.file(&format!("{component}.log"))
    }

    /// Waits until kubectl succeeds with these arguments.
    fn wait(&mut self, component: &'static str, arguments: &[&str]) -> Result<(), ClusterError> {
        let deadline = Instant::now() + START_TIME;
        loop {
            let Err(error) = self.kubectl(arguments) else {
                return Ok(());
            };
            let mut components = self.components.iter_mut();
            let has_ended = components.any(|child| !matches!(child.try_wait(), Ok(None)));
            if has_ended || Instant::now() > deadline {
                return Err(ClusterError::Timeout {
                    what: format!("the control plane: {component} is not ready"),
                    seconds: START_TIME.as_secs(),
                    answer: error.to_string(),
                    logs: self.folder.path().to_owned(),
                    tail: format!("\nthe end of its log:\n{}", end_of(&self.log(component))),
                });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The API server before etcd, which it would wait for.
        for component in self.components.iter_mut().rev() {
            let _ = component.kill();
            let _ = component.wait();
        }
    }
}

/// The bearer token of a user. The control plane listens on loopback alone and lives for minutes.
fn token(user: &str) -> String {
    format!("token-of-{user}")
}

fn free_port() -> Result<u16, FileError> {
    let failed = || FileError::at("listen on a port of", Path::new("127.0.0.1"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed())?;
    Ok(listener.local_addr().map_err(failed())?.port())
}

fn end_of(log: &Path) -> String {
    tail(&files::read(log).unwrap_or_default(), QUOTED_LINES)
}
