//! Values of the chart that apply to every object and to the operator itself: the certificate authority and the pull secrets of
//! the installation, and the collector of the operator's traces.

use behalf_demo::environment::Server;
use behalf_demo::forward::Forward;
use behalf_demo::mcp_client::Era;
use behalf_simulators::collector::ReceivedSpan;
use behalf_simulators::people::ANA;
use behalf_tests::limits::restoring;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::ensure;
use crate::own_release::OwnRelease;
use crate::scratch_server::{PORT, forget_credentials, forwarding, sign_in};
use crate::traces::LIMIT;
use crate::world::{TestResult, World, a_tool_works};

crate::tests![Scratch: [
    an_object_gets_the_authority_and_pull_secrets_of_the_installation_and_its_reconciles_reach_the_collector,
]];

const NAMESPACE: &str = "installation";
const NAME: &str = "inherits";

/// The names in the values, which no object mentions.
const AUTHORITY: &str = "authority-of-the-installation";
const KEY: &str = "bundle.pem";
const PULL_SECRET: &str = "mirror";

/// The program of the spans.
const OPERATOR: &str = "behalf-operator";

async fn an_object_gets_the_authority_and_pull_secrets_of_the_installation_and_its_reconciles_reach_the_collector(
    world: &World,
) -> TestResult {
    let work = async {
        let collector = world.layout.collector_address(&world.running.cluster);
        let collector =
            collector.ok_or("the Pods of this kind of cluster do not reach the collector on this machine")?;
        let release = OwnRelease::install(
            world,
            NAMESPACE,
            &json!({
                "tracing": {"endpoint": format!("http://{collector}")},
                "certificateAuthority": {"configMap": AUTHORITY, "key": KEY},
                "images": {"pullSecrets": [{"name": PULL_SECRET}]},
                "imagePullSecrets": [{"name": PULL_SECRET}],
            }),
        )
        .await?;
        let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
        release.apply([pull_secret(), object(&quickstart)?]).await?;
        release
            .wait(NAME, "Accepted=False/CertificateAuthorityNotFound", |now| {
                now.get("Accepted").is_some_and(|found| {
                    found.status == "False" && found.reason == "CertificateAuthorityNotFound"
                })
            })
            .await?;
        release.apply([authority(world, &quickstart)?]).await?;
        release.create_credential(&world.entra, NAME).await?;
        let ready = release.wait(NAME, "Ready", |now| now.is("Ready", "True")).await?;
        // The sidecar asks Entra, and the server Azure DevOps. Both have certificates of this authority.
        ensure!(ready.is("FederationVerified", "True"), "{}", ready.summary());
        let forward = Forward {
            local: PORT,
            namespace: NAMESPACE.to_owned(),
            service: NAME.to_owned(),
            port: 8080,
        };
        let call = async { a_tool_works(sign_in(world, &ANA).await?.connect(Era::Modern).await?).await };
        forwarding(world, forward, call).await?;
        have_the_pull_secret(world).await?;
        reconciles_reach_the_collector(world).await
    };
    let subjects = format!("system:serviceaccount:{NAMESPACE}:");
    restoring(work, forget_credentials(world, &subjects, &[PORT])).await
}

/// Credentials of a registry that nobody asks: the images are on the nodes.
fn pull_secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": PULL_SECRET},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": r#"{"auths": {"mirror.example": {"auth": "YTpi"}}}"#},
    })
}

/// An object like quickstart, without its certificate authority.
fn object(quickstart: &Value) -> TestResult<Value> {
    let mut spec = quickstart["spec"].clone();
    spec["publicUrl"] = json!(format!("http://localhost:{PORT}"));
    let entra = spec["entra"].as_object_mut().ok_or("quickstart has no Entra")?;
    let own = entra.remove("certificateAuthorityRef");
    ensure!(own.is_some(), "quickstart names no authority: {entra:?}");
    ensure!(
        spec.pointer("/pod/imagePullSecrets").is_none(),
        "quickstart has pull secrets"
    );
    Ok(json!({
        "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
        "metadata": {"name": NAME}, "spec": spec,
    }))
}

/// The authority of the simulators, under the name and the key in the values.
fn authority(world: &World, quickstart: &Value) -> TestResult<Value> {
    let reference = &quickstart["spec"]["entra"]["certificateAuthorityRef"];
    let text = |field: &str| reference[field].as_str().ok_or("quickstart names no authority");
    let (name, key) = (text("name")?, text("key")?);
    let pem = world.get("configmap", name)?["data"][key].take();
    ensure!(pem.is_string(), "the ConfigMap {name} has no {key}");
    Ok(json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": AUTHORITY}, "data": {KEY: pem},
    }))
}

/// The Pods of the operator and of the object name the pull secret.
async fn have_the_pull_secret(world: &World) -> TestResult {
    let pods: Api<Pod> = Api::namespaced(world.running.client.clone(), NAMESPACE);
    let mut named = Vec::new();
    for pod in pods.list(&ListParams::default()).await? {
        let label = |key: &str| pod.labels().get(key).cloned();
        let owner = label("behalf.dev/mcp-server").or_else(|| label("app.kubernetes.io/name"));
        let secrets = pod
            .spec
            .and_then(|spec| spec.image_pull_secrets)
            .unwrap_or_default();
        let secrets: Vec<String> = secrets.into_iter().map(|secret| secret.name).collect();
        named.push((owner.unwrap_or_default(), secrets));
    }
    named.sort();
    let expected = [OPERATOR, NAME].map(|owner| (owner.to_owned(), vec![PULL_SECRET.to_owned()]));
    ensure!(named == expected, "the Pods of the namespace name {named:?}");
    Ok(())
}

/// The collector has a reconcile of the object, with a request to the API server in it.
async fn reconciles_reach_the_collector(world: &World) -> TestResult {
    let is_ours = |span: &&ReceivedSpan| {
        let is = |key: &str, value: &str| span.attributes.get(key).is_some_and(|found| found == value);
        span.service == OPERATOR
            && span.name == "reconcile"
            && is("behalf.mcp_server.namespace", NAMESPACE)
            && is("behalf.mcp_server.name", NAME)
    };
    let write = |spans: &[ReceivedSpan]| {
        spans.iter().filter(is_ours).any(|reconcile| {
            spans.iter().any(|span| {
                span.parent_span_id == reconcile.span_id
                    && span.trace_id == reconcile.trace_id
                    && span.name == "patch mcpservers/status"
            })
        })
    };
    let spans = tokio::time::timeout(LIMIT, world.collector()?.until(write)).await;
    let spans = spans.map_err(|_| {
        let seconds = LIMIT.as_secs();
        format!(
            "the collector got no reconcile of {NAMESPACE}/{NAME} that writes the status within {seconds} s"
        )
    })?;
    println!(
        "    {} reconciles at the collector",
        spans.iter().filter(is_ours).count()
    );
    Ok(())
}
