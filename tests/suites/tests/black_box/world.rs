//! The environment of all tests: the cluster, the simulators and the recorded answers.

use std::cell::Cell;
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use behalf_contract::ports;
use behalf_demo::environment::{Conditions, Layout, NAMESPACE_SERVERS, Server, wait_for};
use behalf_demo::forward::Answers;
use behalf_demo::mcp_client::{CLIENT_NAME, Connection, Era, PendingSignIn, SignedIn};
use behalf_demo::{Forwarding, Progress, Running};
use behalf_local_cluster::cluster::{self, checkout_name};
use behalf_local_cluster::files;
use behalf_local_cluster::images::{self, Image, Product};
use behalf_runtime::error_chain;
use behalf_simulators::collector::Collector;
use behalf_simulators::people::{ANA, Person};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_simulators::{azure_devops, entra};
use rmcp::transport::auth::OAuthTokenResponse;
use serde_json::{Value, json};

use crate::logs::Recording;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;
pub(crate) type TestFuture<'w> = Pin<Box<dyn Future<Output = TestResult> + 'w>>;

/// Time for which a settled object must stay so. The operator reads a Pod's readiness from the Deployment's status, which
/// follows the Pod's status within a second or two.
const HOLD: Duration = Duration::from_secs(5);

/// A running environment and the simulators' control ports.
pub(crate) struct World {
    pub(crate) layout: Layout,
    pub(crate) running: Running,
    pub(crate) entra: entra::Control,
    pub(crate) azure_devops: azure_devops::Control,
    answers: Answers,
    pub(crate) recording: Recording,
    collector: Option<Collector>,

    /// Held while a test installs the CRDs of the Gateway API.
    pub(crate) gateway_api: tokio::sync::Mutex<()>,
    folder: PathBuf,
    client_values: Mutex<Vec<(&'static str, String)>>,
    unrecorded: Mutex<Vec<(&'static str, String)>>,
}

impl World {
    pub(crate) async fn create() -> TestResult<Self> {
        let layout = Layout::tests(checkout_name("test"));
        let folder = files::cache().join(&layout.cluster);
        let progress = Progress::new(|line| println!("{line}"));
        if std::env::var_os("BEHALF_KEEP_CLUSTER").is_none() {
            // A run that was killed has left it as its last test broke it.
            cluster::down(&layout.cluster, cluster::choose(None))?;
        }
        let answers = Answers::default();
        let forwarding = Forwarding::Task(answers.clone());
        let running = behalf_demo::start(&layout, None, forwarding, &progress).await?;
        let recording = Recording::start(running.client.clone())?;
        let entra = entra::Control::new(layout.entra_control())?;
        let azure_devops = azure_devops::Control::new(layout.azure_devops_control())?;
        let collector = match layout.collector_address(&running.cluster) {
            Some(address) => Some(Collector::start_at(address).await?),
            None => None,
        };
        Ok(Self {
            layout,
            running,
            collector,
            gateway_api: tokio::sync::Mutex::default(),
            entra,
            azure_devops,
            answers,
            recording,
            folder,
            client_values: Mutex::default(),
            unrecorded: Mutex::default(),
        })
    }

    /// The collector of the spans of both servers.
    pub(crate) fn collector(&self) -> TestResult<&Collector> {
        let collector = self.collector.as_ref();
        Ok(collector.ok_or("the Pods of this kind of cluster do not reach the collector on this machine")?)
    }

    /// Deletes the cluster, unless `BEHALF_KEEP_CLUSTER` is set.
    pub(crate) fn dispose(&self) {
        if std::env::var_os("BEHALF_KEEP_CLUSTER").is_some() {
            println!(
                "the cluster {} keeps running: {}",
                self.layout.cluster,
                self.running.cluster.kubeconfig().display()
            );
            return;
        }
        let progress = Progress::new(|line| println!("{line}"));
        if let Err(error) = behalf_demo::down(
            &self.layout,
            Some(self.running.cluster.kind()),
            &self.folder,
            &progress,
        ) {
            println!("failed to delete the cluster: {}", error_chain(&error));
        }
    }

    /// Signs a person in at a server with rmcp's client.
    pub(crate) async fn sign_in(&self, server: Server, person: &Person) -> TestResult<SignedIn> {
        self.finish(PendingSignIn::begin(&self.layout.mcp_url(server)).await?, person)
            .await
    }

    /// Signs a person in again with the same client, which keeps the id that it registered.
    pub(crate) async fn sign_in_again(
        &self,
        server: Server,
        person: &Person,
        before: &SignedIn,
    ) -> TestResult<SignedIn> {
        let (client_id, _) = before.manager().lock().await.get_credentials().await?;
        let pending = PendingSignIn::begin_again(&self.layout.mcp_url(server), &client_id).await?;
        self.finish(pending, person).await
    }

    async fn finish(&self, pending: PendingSignIn, person: &Person) -> TestResult<SignedIn> {
        let visit = Visit::new(pending.authorize_url().clone(), person.user_name).client_name(CLIENT_NAME);
        let back = Browser::new()?.sign_in(&visit).await?;
        self.remember("code", back.code.clone());
        let signed_in = pending.finish(&back.redirect).await?;
        self.remember_tokens(&signed_in).await?;
        Ok(signed_in)
    }

    /// Signs a person in and returns the access token, for requests that a test sends itself.
    pub(crate) async fn access_token(&self, server: Server, person: &Person) -> TestResult<String> {
        let signed_in = self.sign_in(server, person).await?;
        let token = signed_in.manager().lock().await.get_access_token().await?;
        Ok(token)
    }

    /// Records the tokens that a client holds now, for the search for leaks.
    pub(crate) async fn remember_tokens(&self, signed_in: &SignedIn) -> TestResult {
        for (kind, value) in tokens(signed_in).await? {
            self.remember(kind, Some(value));
        }
        Ok(())
    }

    /// Records the tokens of a client of a server whose answers are not recorded: they must be in no log and no object.
    pub(crate) async fn remember_unrecorded(&self, signed_in: &SignedIn) -> TestResult {
        let tokens = tokens(signed_in).await?;
        let mut values = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner);
        values.extend(tokens);
        Ok(())
    }

    /// The secret values of clients of servers whose answers are not recorded.
    pub(crate) fn unrecorded(&self) -> Vec<(&'static str, String)> {
        self.unrecorded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn remember(&self, kind: &'static str, value: Option<String>) {
        let mut values = self.client_values.lock().unwrap_or_else(PoisonError::into_inner);
        values.extend(value.map(|value| (kind, value)));
    }

    /// All secret values that clients have received.
    pub(crate) fn client_values(&self) -> Vec<(&'static str, String)> {
        self.client_values
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// All bytes that this server has sent to clients, by connection.
    pub(crate) fn answers(&self, server: Server) -> TestResult<Vec<Vec<u8>>> {
        let port = self.layout.public_url(server).port();
        Ok(self.answers.of(port.ok_or("the server's address has no port")?))
    }

    /// Applies an object in the servers' namespace.
    pub(crate) fn apply(&self, object: &Value) -> TestResult {
        let arguments = [
            "--namespace",
            NAMESPACE_SERVERS,
            "apply",
            "--server-side",
            "--filename",
            "-",
        ];
        self.running
            .cluster
            .kubectl_with(&arguments, &object.to_string())?;
        Ok(())
    }

    /// A small image with busybox, loaded into the cluster.
    pub(crate) fn debug_image(&self) -> TestResult<String> {
        self.load(&images::debug(&behalf_local_cluster::Progress::default())?)
    }

    /// The image of a web server that replaces the MCP server, loaded into the cluster.
    pub(crate) fn web_server_image(&self) -> TestResult<String> {
        let progress = behalf_local_cluster::Progress::default();
        self.load(&images::web_server(
            ports::SERVER,
            ports::SERVER_PROBES,
            &progress,
        )?)
    }

    /// A server with the tools that the conformance suite calls, loaded into the cluster.
    pub(crate) fn fixture_server_image(&self) -> TestResult<String> {
        let progress = behalf_local_cluster::Progress::default();
        let simulator = behalf_demo::binary(Product::Simulator);
        self.load(&images::fixture_server(
            &simulator,
            ports::SERVER,
            ports::SERVER_PROBES,
            &progress,
        )?)
    }

    /// The installed image of a product, and a second one that differs by a label, as that of a next release.
    pub(crate) fn releases(&self, product: Product) -> TestResult<[Image; 2]> {
        let progress = behalf_local_cluster::Progress::default();
        let installed = images::build(product, &behalf_demo::binary(product), &progress)?;
        let next = images::labelled(&installed, "behalf.dev/release=next", &progress)?;
        self.load(&next)?;
        Ok([installed, next])
    }

    /// Loads an image into the cluster. Returns the reference for Pods.
    pub(crate) fn load(&self, image: &Image) -> TestResult<String> {
        self.running.cluster.load(std::slice::from_ref(image))?;
        Ok(self.running.cluster.image_reference(image))
    }

    /// Signs a person in and opens a connection.
    pub(crate) async fn connect(&self, server: Server, person: &Person, era: Era) -> TestResult<Connection> {
        Ok(self.sign_in(server, person).await?.connect(era).await?)
    }

    /// Reads the object's current conditions.
    pub(crate) async fn conditions(&self, server: Server) -> TestResult<Conditions> {
        Ok(Conditions::read(&self.running.client, server.name()).await?)
    }

    /// Waits for the object's conditions.
    pub(crate) async fn wait(
        &self,
        server: Server,
        what: &str,
        wanted: impl Fn(&Conditions) -> bool,
    ) -> TestResult<Conditions> {
        let limit = Duration::from_secs(150);
        let seen = |conditions: &Conditions| println!("    {}: {}", server.name(), conditions.summary());
        Ok(wait_for(&self.running.client, server.name(), what, limit, seen, wanted).await?)
    }

    /// Waits until the object is Ready again.
    pub(crate) async fn wait_ready(&self, server: Server) -> TestResult<Conditions> {
        self.wait(server, "Ready", |conditions| conditions.is("Ready", "True"))
            .await
    }

    /// Waits until the object is Ready without `Reconciling` and stays so for [`HOLD`].
    pub(crate) async fn wait_settled(&self, server: Server) -> TestResult<Conditions> {
        let since = Cell::new(None::<Instant>);
        let what = format!("Ready without Reconciling for {} s", HOLD.as_secs());
        self.wait(server, &what, |conditions| {
            let settled = conditions.is("Ready", "True") && conditions.get("Reconciling").is_none();
            since.set(settled.then(|| since.get().unwrap_or_else(Instant::now)));
            since.get().is_some_and(|since| since.elapsed() >= HOLD)
        })
        .await
    }

    /// Deletes every Pod of a server and waits until they are gone.
    pub(crate) fn delete_pods(&self, server: Server) -> TestResult {
        let selector = format!("app.kubernetes.io/instance={}", server.name());
        self.kubectl(&["delete", "pod", "--selector", &selector, "--wait=true"])?;
        Ok(())
    }

    /// Runs kubectl in the servers' namespace.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> TestResult<String> {
        let mut all = vec!["--namespace", NAMESPACE_SERVERS];
        all.extend(arguments);
        Ok(self.running.cluster.kubectl(&all)?)
    }

    /// An object in the servers' namespace.
    pub(crate) fn get(&self, kind: &str, name: &str) -> TestResult<Value> {
        let text = self.kubectl(&["get", kind, name, "--output", "json"])?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The name of the `ConfigMap` that the Pods start with.
    pub(crate) fn configuration(&self, server: Server) -> TestResult<String> {
        let deployment = self.get("deployment", server.name())?;
        let name = deployment
            .pointer("/metadata/annotations/behalf.dev~1configuration")
            .and_then(Value::as_str);
        Ok(name.ok_or("the Deployment names no configuration")?.to_owned())
    }

    /// Signs Ana in and calls a tool as her.
    pub(crate) async fn call_a_tool(&self, server: Server, era: Era) -> TestResult {
        a_tool_works(self.connect(server, &ANA, era).await?).await
    }

    /// Returns the path of a file that remains after the run.
    pub(crate) fn artifact(name: &str) -> TestResult<PathBuf> {
        let folder =
            std::env::var_os("ARTIFACTS").map_or_else(|| files::checkout().join("artifacts"), PathBuf::from);
        std::fs::create_dir_all(&folder)?;
        Ok(folder.join(name))
    }
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

/// Calls a tool, and closes the connection.
pub(crate) async fn a_tool_works(connection: Connection) -> TestResult {
    let result = connection
        .call("list_pipeline_runs", json!({"project": "shop"}))
        .await;
    connection.close().await;
    let result = result?;
    ensure!(
        result.is_error != Some(true),
        "the tool failed: {}",
        behalf_demo::text(&result)
    );
    Ok(())
}

/// The tokens that a client holds now.
async fn tokens(signed_in: &SignedIn) -> TestResult<Vec<(&'static str, String)>> {
    let (_, tokens): (_, Option<OAuthTokenResponse>) =
        signed_in.manager().lock().await.get_credentials().await?;
    let tokens = serde_json::to_value(tokens)?;
    let kinds = [
        ("access token", "access_token"),
        ("refresh token", "refresh_token"),
    ];
    let held = kinds
        .into_iter()
        .filter_map(|(kind, key)| Some((kind, tokens.get(key)?.as_str()?.to_owned())));
    Ok(held.collect())
}
