//! An operator that runs as a process of this machine, with the token of a release's `ServiceAccount`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use behalf_demo::binary;
use behalf_local_cluster::images::Product;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::world::{TestResult, World};

/// A running operator, which ends with this value.
pub(crate) struct OperatorProcess {
    child: Child,
    log: PathBuf,
}

impl OperatorProcess {
    /// Starts an operator that watches `namespace`, in which the release is. `name` names its files in `folder`.
    pub(crate) fn start(
        world: &World,
        namespace: &str,
        folder: &Path,
        name: &str,
        arguments: &[&str],
    ) -> TestResult<Self> {
        let cluster = &world.running.cluster;
        let token = cluster.kubectl(&["create", "token", "behalf-operator", "--namespace", namespace])?;
        let view = cluster.kubectl(&["config", "view", "--raw", "--minify", "--output", "json"])?;
        let mut kubeconfig: Value = serde_json::from_str(&view)?;
        kubeconfig["users"][0]["user"] = json!({"token": token.trim()});
        let path = folder.join(format!("{namespace}-{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig.to_string())?;
        let log = folder.join(format!("{namespace}-{name}.log"));
        let file = File::create(&log)?;
        let child = Command::new(binary(Product::Operator))
            .args(["run", "--port", "0", "--watch-namespaces", namespace])
            .args(arguments)
            .env("KUBECONFIG", path)
            .stdout(Stdio::from(file.try_clone()?))
            .stderr(Stdio::from(file))
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { child, log })
    }

    /// The log until now, without the escapes of JSON.
    pub(crate) fn log(&self) -> TestResult<String> {
        Ok(std::fs::read_to_string(&self.log)?.replace("\\\"", "\""))
    }

    /// Sends a signal, by its name without `SIG`.
    pub(crate) async fn signal(&self, name: &str) -> TestResult {
        let id = self.child.id().ok_or("the operator has ended")?;
        let status = Command::new("kill")
            .args([format!("-{name}"), id.to_string()])
            .status()
            .await?;
        crate::ensure!(status.success(), "kill -{name} {id} failed: {status}");
        Ok(())
    }

    /// Waits until the process ends, and returns its exit code.
    pub(crate) async fn ended(&mut self) -> TestResult<Option<i32>> {
        Ok(self.child.wait().await?.code())
    }
}
