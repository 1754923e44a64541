//! The reader of the page: an administrator with the charts, two files and a browser.

use std::error::Error;
use std::time::{Duration, Instant};

use behalf_demo::environment::{
    Conditions, ImageReferences, Layout, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Objects, Server,
    create_federated_credential, wait_for,
};
use behalf_demo::forward::{self, Way};
use behalf_demo::mcp_client::{CLIENT_NAME, Era, PendingSignIn, http_client};
use behalf_local_cluster::cluster::{Cluster, Kind};
use behalf_local_cluster::files::checkout;
use behalf_simulators::entra::Control;
use behalf_simulators::people::{ANA, CLIENT_ID, TENANT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use behalf_tests::commands::{self, Block};
use kube::Client;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

pub(crate) type TestResult<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// The object of the page.
const SERVER: Server = Server::Quickstart;

/// The `ConfigMap` with the certificate authority of the simulators.
const AUTHORITY: &str = "simulators";

/// The simulators, as objects and values name them.
const ENTRA: &str = "entra.behalf-simulators.svc:8443";
const AZURE_DEVOPS: &str = "azure-devops.behalf-simulators.svc:8443";

/// Maximum time of one block, and of one wait. The page allows Entra 15 minutes, the simulator needs seconds.
const LIMIT: Duration = Duration::from_mins(3);

/// The kinds of everything that the operator and the charts make in a namespace. The cluster has no `HTTPRoute`.
const KINDS: &str = "deployments,services,secrets,configmaps,serviceaccounts,pods,networkpolicies,poddisruptionbudgets,leases,\
                     roles,rolebindings";

/// The cluster, or the test, has these itself.
const NOT_OURS: [&str; 5] = [
    "behalf:coredns",
    "namespace/behalf-simulators",
    "serviceaccount/default",
    "configmap/kube-root-ca.crt",
    "configmap/simulators",
];

/// The kinds of everything that the charts make outside a namespace.
const CLUSTER_KINDS: &str = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";

pub(crate) struct Reader<'c> {
    layout: &'c Layout,
    cluster: &'c Cluster,
    client: Client,
    entra: Control,
    authority: String,
    folder: TempDir,
    _gateway: JoinSet<()>,
}

impl<'c> Reader<'c> {
    /// Writes the files of the page, and opens the loopback port that stands for a gateway.
    pub(crate) fn new(
        layout: &'c Layout,
        cluster: &'c Cluster,
        client: Client,
        images: &ImageReferences,
        authority: String,
    ) -> TestResult<Self> {
        let folder = TempDir::with_prefix("behalf-installing-")?;
        std::os::unix::fs::symlink(checkout().join("charts"), folder.path().join("charts"))?;
        std::fs::write(folder.path().join("values.yaml"), values(images).to_string())?;
        let object = serde_yaml::to_string(&object(layout)?)?;
        std::fs::write(folder.path().join("azure-devops.yaml"), object)?;
        let way = match cluster.kind() {
            Kind::Local => Way::Direct,
            Kind::Kind | Kind::Current => Way::PortForward,
        };
        let mut gateway = JoinSet::new();
        let served = forward::serve(client.clone(), way, layout.forwards(), None);
        gateway.spawn(async move {
            if let Err(error) = served.await {
                println!("    the gateway has ended: {error}");
            }
        });
        Ok(Self {
            layout,
            cluster,
            client,
            entra: Control::new(layout.entra_control())?,
            authority,
            folder,
            _gateway: gateway,
        })
    }

    /// Runs a block as it stands in the page.
    pub(crate) fn run(&self, block: &Block) -> TestResult {
        println!("    {}, line {}", block.title, block.line);
        let call = commands::shell(self.cluster, self.folder.path(), &block.script);
        call.limit(LIMIT)
            .run()
            .map_err(|error| format!("{}, line {}: {error}", block.title, block.line).into())
    }

    /// Does what the page asks for before a block.
    pub(crate) async fn before(&self, block: &Block) -> TestResult {
        match block.reason.as_deref() {
            Some("needs a gateway") => self.the_gateway_answers().await,
            None if block.script.contains("condition=UserSignIn") => self.sign_in_and_call().await,
            _ => Ok(()),
        }
    }

    /// Does what the page asks for after a block.
    pub(crate) async fn after(&self, block: &Block) -> TestResult {
        if block.script.contains("kubectl create namespace") {
            return self.publish_the_authority().await;
        }
        if block.script.contains(".status.federation.command") {
            return self.run_the_printed_line().await;
        }
        Ok(())
    }

    /// Waits until the object says, as the page does, that the credential is missing. Then does what the `az` line does.
    async fn run_the_printed_line(&self) -> TestResult {
        let name = SERVER.name();
        let what = "FederationVerified=False and the line for az";
        let asks = |now: &Conditions| {
            let line = now.status.pointer("/federation/command").and_then(Value::as_str);
            now.is("FederationVerified", "False")
                && line.is_some_and(|line| line.starts_with("az ad app federated-credential create"))
        };
        let seen = |now: &Conditions| println!("    {name}: {}", now.summary());
        let before = wait_for(&self.client, name, what, LIMIT, seen, asks).await?;
        ensure(!before.is("Ready", "True"), || before.summary())?;
        create_federated_credential(&self.entra, name, &before).await?;
        Ok(())
    }

    async fn publish_the_authority(&self) -> TestResult {
        let mut objects = Objects::default();
        objects.add(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": AUTHORITY, "namespace": NAMESPACE_SERVERS},
            "data": {"ca.crt": self.authority},
        }));
        Ok(objects.apply(&self.client).await?)
    }

    async fn the_gateway_answers(&self) -> TestResult {
        let origin = self.layout.public_url(SERVER);
        let metadata = origin.join("/.well-known/oauth-protected-resource/mcp")?;
        let http = http_client(None)?;
        let status = http.get(metadata).send().await?.status();
        ensure(status == StatusCode::OK, || {
            format!("the metadata was answered {status}")
        })?;
        let answer = http.post(self.layout.mcp_url(SERVER)).send().await?;
        let has_challenge = answer.headers().contains_key("www-authenticate");
        ensure(
            answer.status() == StatusCode::UNAUTHORIZED && has_challenge,
            || format!("a call without a token was answered {answer:?}"),
        )
    }

    async fn sign_in_and_call(&self) -> TestResult {
        let pending = PendingSignIn::begin(&self.layout.mcp_url(SERVER)).await?;
        let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).client_name(CLIENT_NAME);
        let back = Browser::new()?.sign_in(&visit).await?;
        let connection = pending.finish(&back.redirect).await?.connect(Era::Modern).await?;
        let result = connection
            .call("list_pipeline_runs", json!({"project": "shop"}))
            .await;
        connection.close().await;
        let result = result?;
        ensure(result.is_error != Some(true), || {
            format!("the tool failed: {}", behalf_demo::text(&result))
        })
    }

    /// Waits until nothing is left of the operator, its objects and the charts.
    pub(crate) fn nothing_is_left(&self) -> TestResult {
        let began = Instant::now();
        loop {
            let mut left = Vec::new();
            let is_ours = |name: &&str| !NOT_OURS.iter().any(|other| name.ends_with(other));
            let all = self
                .cluster
                .kubectl(&["get", CLUSTER_KINDS, "--output", "name"])?;
            let ours = all.lines().filter(|name| name.contains("behalf"));
            left.extend(ours.filter(is_ours).map(str::to_owned));
            for namespace in [NAMESPACE_SERVERS, NAMESPACE_OPERATOR] {
                let arguments = ["get", KINDS, "--output", "name", "--namespace", namespace];
                let all = self.cluster.kubectl(&arguments)?;
                let ours = all.lines().filter(is_ours);
                left.extend(ours.map(|name| format!("{namespace}: {name}")));
            }
            if left.is_empty() {
                return Ok(());
            }
            ensure(began.elapsed() < LIMIT, || {
                format!("the uninstall left {}", left.join(", "))
            })?;
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> TestResult {
    if holds { Ok(()) } else { Err(message().into()) }
}

/// The file `values.yaml` of the page, and the simulators as allowed hosts.
fn values(images: &ImageReferences) -> Value {
    let image = |reference: &str| {
        let (name, tag) = reference.rsplit_once(':').unwrap_or((reference, "latest"));
        let (registry, repository) = name.split_once('/').unwrap_or(("", name));
        json!({"registry": registry, "repository": repository, "tag": tag})
    };
    json!({
        "image": image(&images.operator),
        "images": {"sidecar": image(&images.sidecar), "mcpServer": image(&images.mcp_server)},
        "watchNamespaces": [NAMESPACE_SERVERS],
        "allowed": {"entraHosts": [ENTRA], "azureDevOpsHosts": [AZURE_DEVOPS]},
    })
}

/// The file `azure-devops.yaml`: `examples/quickstart.yaml` with the address, both ids, and the simulators.
fn object(layout: &Layout) -> TestResult<Value> {
    let text = std::fs::read_to_string(checkout().join("examples/quickstart.yaml"))?;
    let mut object: Value = serde_yaml::from_str(&text)?;
    let spec = &mut object["spec"];
    spec["publicUrl"] = json!(layout.public_url(SERVER).as_str().trim_end_matches('/'));
    spec["entra"] = json!({
        "tenantId": TENANT_ID, "clientId": CLIENT_ID, "authority": format!("https://{ENTRA}"),
        "certificateAuthorityRef": {"name": AUTHORITY, "key": "ca.crt"},
    });
    let base = format!("https://{AZURE_DEVOPS}");
    spec["server"]["azureDevOps"]["endpoints"] = json!({"core": base, "release": base, "identity": base});
    Ok(object)
}
