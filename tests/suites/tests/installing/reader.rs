//! The reader of the page: an administrator with the charts, two files and a browser.

use std::cell::RefCell;
use std::error::Error;
use std::time::{Duration, Instant};

use behalf_demo::environment::{
    Conditions, ImageReferences, Layout, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Objects, Server,
    create_federated_credential, wait_for,
};
use behalf_demo::forward::{self, Way};
use behalf_demo::mcp_client::{CLIENT_NAME, Era, PendingSignIn, SignedIn, http_client};
use behalf_local_cluster::cluster::{Cluster, Kind};
use behalf_local_cluster::files::checkout;
use behalf_runtime::error_chain;
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
pub(crate) const SERVER: Server = Server::Quickstart;

/// The `ConfigMap` with the certificate authority of the simulators.
const AUTHORITY: &str = "simulators";

/// The simulators, as objects and values name them.
const ENTRA: &str = "entra.behalf-simulators.svc:8443";
const AZURE_DEVOPS: &str = "azure-devops.behalf-simulators.svc:8443";

/// Maximum time of one block, and of one wait. The page allows Entra 15 minutes, the simulator needs seconds.
pub(crate) const LIMIT: Duration = Duration::from_mins(3);

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
    pub(crate) layout: &'c Layout,
    pub(crate) cluster: &'c Cluster,
    pub(crate) client: Client,
    pub(crate) entra: Control,
    pub(crate) images: &'c ImageReferences,
    pub(crate) folder: TempDir,

    /// The image of the upgrade.
    pub(crate) next_sidecar: RefCell<String>,

    authority: String,
    signed_in: RefCell<Option<SignedIn>>,
    _gateway: JoinSet<()>,
}

impl<'c> Reader<'c> {
    /// Writes the files of the page, and opens the loopback port that stands for a gateway.
    pub(crate) fn new(
        layout: &'c Layout,
        cluster: &'c Cluster,
        client: Client,
        images: &'c ImageReferences,
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
            images,
            folder,
            signed_in: RefCell::default(),
            next_sidecar: RefCell::default(),
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
            Some("needs the Azure CLI") => self.delete_the_credential().await,
            None if block.script.contains("condition=UserSignIn") => self.sign_in_and_call().await,
            None if block.script.contains("condition=SessionsDurable") => self.edit_the_store().await,
            None if block.script.contains("condition=FederationVerified=False") => {
                self.a_sign_in_fails().await
            }
            None if block.script.contains("helm upgrade") && self.is_signed_in() => self.edit_the_tag(),
            _ => Ok(()),
        }
    }

    /// Does what the page asks for after a block, and looks whether the block did what the page says.
    pub(crate) async fn after(&self, block: &Block) -> TestResult {
        let script = &block.script;
        if script.contains("kubectl create namespace") {
            self.publish_the_authority().await
        } else if script.contains(".status.federation.command") {
            self.run_the_printed_line().await
        } else if script.contains("kubectl scale") {
            // The change of the store has ended the session of the first sign-in.
            self.sign_in_and_call().await
        } else if script.contains("kubectl rollout status") {
            self.the_sidecar_is_new()?;
            self.the_session_goes_on("the upgrade").await
        } else if script.contains("condition=FederationVerified=False") {
            self.the_session_goes_on("the fault").await?;
            self.run_the_line_of_the_message().await
        } else if script.contains("condition=FederationVerified ") {
            self.the_session_goes_on("the repair").await?;
            self.sign_in_and_call().await
        } else {
            Ok(())
        }
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
        let signed_in = pending.finish(&back.redirect).await?;
        self.signed_in.replace(Some(signed_in));
        self.the_session_goes_on("the sign-in").await
    }

    fn is_signed_in(&self) -> bool {
        self.signed_in.borrow().is_some()
    }

    /// Calls a tool in the session of the last sign-in.
    async fn the_session_goes_on(&self, after: &str) -> TestResult {
        let signed_in = self.signed_in.borrow().clone().ok_or("nobody is signed in")?;
        let connection = signed_in.connect(Era::Modern).await?;
        let result = connection
            .call("list_pipeline_runs", json!({"project": "shop"}))
            .await;
        connection.close().await;
        let result = result.map_err(|error| format!("after {after}: {}", error_chain(&error)))?;
        ensure(result.is_error != Some(true), || {
            format!("after {after} the tool failed: {}", behalf_demo::text(&result))
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

pub(crate) fn ensure(holds: bool, message: impl FnOnce() -> String) -> TestResult {
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
