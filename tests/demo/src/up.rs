//! Brings up the demo, or another environment like it.

use std::path::Path;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Client;
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, ServiceBuilder};

use super::place::Place;
use super::{DemoError, Progress, Running, Transcript, build_images, forwarder, script};
use crate::environment::{
    self, Conditions, EnvironmentError, ImageReferences, Layout, Server, create_federated_credential,
    wait_for,
};
use crate::forward::{self, Answers, Way};
use behalf_local_cluster::cluster::{self, Cluster, ClusterError, Kind, Options};
use behalf_local_cluster::images::{self, Product};
use behalf_simulators::entra::Control;

/// Maximum time until a server is Ready.
const READY: Duration = Duration::from_mins(4);

/// The process or task that serves the loopback ports.
#[derive(Clone)]
pub enum Forwarding<'f> {
    /// A process that outlives this one; its files are in this folder.
    Process(&'f Path),

    /// A task of this process's runtime, which keeps what comes back.
    Task(Answers),
}

/// Brings up the whole demo and plays it; leaves it running on the returned cluster.
pub async fn up(
    layout: &Layout,
    kind: Option<Kind>,
    folder: &Path,
    progress: &Progress,
) -> Result<(Cluster, Transcript), DemoError> {
    std::fs::create_dir_all(folder).map_err(|source| DemoError::File {
        action: "create",
        path: folder.to_owned(),
        source,
    })?;
    let running = start(layout, kind, Forwarding::Process(folder), progress).await?;
    let transcript = script::play(&running, layout, |text| progress.plain(text)).await?;
    Ok((running.cluster, transcript))
}

/// Brings up cluster, images, simulators, operator, servers and loopback ports, and waits for Ready.
pub async fn start(
    layout: &Layout,
    kind: Option<Kind>,
    forwarding: Forwarding<'_>,
    progress: &Progress,
) -> Result<Running, DemoError> {
    let kind = cluster::choose(kind);
    progress.line(&format!("cluster {} ({})", layout.cluster, kind.name()));
    let options = Options {
        name: layout.cluster.clone(),
        kind,
        nodes: layout.nodes,
        progress: progress.steps(),
    };
    let cluster = match &forwarding {
        Forwarding::Process(folder) => only_here(&options, folder)?,
        Forwarding::Task(_) => cluster::up(&options)?,
    };

    progress.line("images");
    let images = load_images(&cluster, progress)?;
    let client = kube_client(Some(cluster.kubeconfig())).await?;

    progress.line("simulators of Entra and Azure DevOps");
    let authority = environment::apply_simulators(&client, layout, &images.simulator).await?;
    progress.line("operator: helm install behalf-crds, behalf");
    environment::install_operator(&cluster, &client, layout, &images).await?;
    progress.line("kubectl apply examples/demo");
    environment::apply_servers(&cluster, &client, layout, &authority, &images.redis).await?;
    // This machine has a route to the Pods of a local cluster. Other clusters need a forwarded port.
    let way = if kind == Kind::Local {
        Way::Direct
    } else {
        Way::PortForward
    };
    match forwarding {
        Forwarding::Process(folder) => forwarder::start(folder, layout, cluster.kubeconfig(), way).await?,
        Forwarding::Task(answers) => {
            let forwards = layout.forwards();
            drop(tokio::spawn(forward::serve(
                client.clone(),
                way,
                forwards,
                Some(answers),
            )));
        }
    }

    let entra = Control::new(layout.entra_control())
        .map_err(EnvironmentError::control("reach the Entra simulator"))?;
    for server in Server::ALL {
        ready(&client, &entra, server, progress).await?;
    }
    Ok(Running { cluster, client })
}

/// Brings up the cluster, unless a demo runs elsewhere, and leaves a note of where it is.
fn only_here(options: &Options, folder: &Path) -> Result<Cluster, DemoError> {
    let known = Place::read(folder);
    if let Some(kind) = known.as_ref().and_then(Place::kind)
        && kind != options.kind
    {
        return Err(DemoError::RunsElsewhere(kind.name().to_owned()));
    }
    // The place is written before anything is created, so `make demo-down` also finds an interrupted start.
    if known.is_none() && options.kind != Kind::Current {
        Place::planned(options.kind).write(folder)?;
    }
    let cluster = match cluster::up(options) {
        Ok(cluster) => cluster,
        Err(error) => {
            let absent = || {
                let found = cluster::open(&options.name, options.kind);
                matches!(found, Err(ClusterError::Unknown(_)))
            };
            if known.is_none() && (matches!(error, ClusterError::Prerequisite(_)) || absent()) {
                Place::forget(folder)?;
            }
            return Err(error.into());
        }
    };
    let here = Place::of(&cluster)?;
    if known.is_some_and(|known| !known.admits(&here)) {
        return Err(DemoError::RunsElsewhere(here.name().to_owned()));
    }
    here.write(folder)?;
    Ok(cluster)
}

/// Does what an administrator does: reads the status, creates the credential it asks for, waits for Ready.
async fn ready(
    client: &Client,
    entra: &Control,
    server: Server,
    progress: &Progress,
) -> Result<(), DemoError> {
    let name = server.name();
    let show = |conditions: &Conditions| progress.line(&format!("{name}: {}", conditions.summary()));
    let asks = |conditions: &Conditions| conditions.status.pointer("/federation/issuer").is_some();
    let conditions = wait_for(client, name, "status.federation", READY, show, asks).await?;
    // This also runs for a Ready object, because a restarted simulator has lost its credentials.
    if create_federated_credential(entra, name, &conditions).await? {
        let command = conditions.status.pointer("/federation/command");
        let command = command.and_then(serde_json::Value::as_str).unwrap_or_default();
        progress.line(&format!(
            "{name}: created in the simulator what an administrator creates in Entra with\n          {command}"
        ));
    }
    let show = |conditions: &Conditions| progress.line(&format!("{name}: {}", conditions.summary()));
    wait_for(client, name, "Ready", READY, show, |conditions| {
        conditions.is("Ready", "True")
    })
    .await?;
    Ok(())
}

/// Builds what changed, loads what is missing.
pub fn load_images(cluster: &Cluster, progress: &Progress) -> Result<ImageReferences, DemoError> {
    let mut images = build_images(progress)?;
    let redis = images::redis(&progress.steps())?;
    images.push(redis.clone());
    progress
        .steps()
        .step("load images into the cluster", || cluster.load(&images))?;
    let reference = |product: Product| {
        let found = images.iter().find(|image| image.name == product.name());
        found
            .map(|image| cluster.image_reference(image))
            .unwrap_or_default()
    };
    Ok(ImageReferences {
        operator: reference(Product::Operator),
        sidecar: reference(Product::AuthSidecar),
        mcp_server: reference(Product::McpServer),
        simulator: reference(Product::Simulator),
        redis: cluster.image_reference(&redis),
    })
}

/// A client for this kubeconfig, or for the one that KUBECONFIG names. Its connections send small pieces at once:
/// forwarded calls would wait 40 ms for the API server's delayed acknowledgement.
pub async fn kube_client(kubeconfig: Option<&Path>) -> Result<Client, DemoError> {
    let read = || async {
        let Some(path) = kubeconfig else {
            return kube::Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        };
        let kubeconfig = Kubeconfig::read_from(path)?;
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await
    };
    let config = read().await.map_err(|source| DemoError::Kubeconfig {
        path: kubeconfig.map(Path::to_owned).unwrap_or_default(),
        source: Box::new(source),
    })?;
    if config.proxy_url.is_some() {
        return Ok(Client::try_from(config)?);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
    Ok(Client::new(service, config.default_namespace))
}
