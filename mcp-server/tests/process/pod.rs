//! Tests `serve`, the mode of a Pod.

use behalf_contract::{EgressProxy, ExchangePlace, Injection, ServerConfig, headers};
use behalf_simulators::azure_devops::{Action, Fault};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;

use crate::binary::{client, command, first_line, stop};
use crate::support::{HOST_KEY, World};

/// A running server, configured as in a Pod.
pub(crate) struct PodProcess {
    pub(crate) child: Child,
    /// The addresses of its ports.
    pub(crate) mcp: String,
    pub(crate) probes: String,
    _folder: tempfile::TempDir,
}

impl PodProcess {
    pub(crate) async fn start(world: &World) -> Self {
        let mut config = world.config(ExchangePlace::Sidecar, Injection::Header);
        config.listen.mcp = "127.0.0.1:0".parse().unwrap();
        config.listen.probes = "127.0.0.1:0".parse().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server.yaml");
        std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
        let arguments = ["serve", "--config", file.to_str().unwrap()];
        let mut child = command(world, folder.path(), &arguments).spawn().unwrap();
        let logged = first_line(BufReader::new(child.stdout.take().unwrap()).lines(), "probes at").await;
        let logged: Value = serde_json::from_str(&logged).unwrap();
        let message = logged["message"].as_str().unwrap();
        let mut addresses = message
            .split([' ', ','])
            .filter(|word| word.starts_with("127.0.0.1:"))
            .map(str::to_owned);
        let (mcp, probes) = (addresses.next().unwrap(), addresses.next().unwrap());
        Self {
            child,
            mcp,
            probes,
            _folder: folder,
        }
    }
}

#[tokio::test]
async fn a_pod_finishes_its_calls_before_it_stops() {
    let world = World::start().await;
    let PodProcess {
        mut child,
        mcp,
        probes,
        ..
    } = PodProcess::start(&world).await;
    let http = client();
    let ready = http.get(format!("http://{probes}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(
        http.post(format!("http://{probes}/mcp"))
            .send()
            .await
            .unwrap()
            .status(),
        404
    );

    world
        .azure()
        .fault(&Fault::once(Action::Delay {
            milliseconds: 1_500,
            retry_after_seconds: None,
        }))
        .await
        .unwrap();
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_pipeline_runs", "arguments": {"top": 1}}});
    let request = http
        .post(format!("http://{mcp}/mcp"))
        .header("accept", "application/json, text/event-stream")
        .header(headers::HOST_KEY, HOST_KEY)
        .bearer_auth(world.azure_token("ana").await)
        .json(&call);
    let answer = tokio::spawn(request.send());
    // The call has begun when the service has heard of it.
    while world.azure().record().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    stop(&child);
    let answer: Value = answer.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["result"]["isError"], false, "{answer}");
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn a_pod_without_a_required_file_ends_and_names_it() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.yaml");
    let mut config = world.config(ExchangePlace::Server, Injection::Header);
    std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
    let arguments = ["serve", "--config", file.to_str().unwrap()];
    let run = || async {
        let ended = command(&world, folder.path(), &arguments).output().await.unwrap();
        assert!(!ended.status.success());
        String::from_utf8(ended.stdout).unwrap()
    };
    assert!(run().await.contains("AZURE_FEDERATED_TOKEN_FILE"));

    config = world.config(ExchangePlace::Sidecar, Injection::Header);
    config.host_key_file = folder.path().join("absent");
    std::fs::write(&file, serde_yaml::to_string(&config).unwrap()).unwrap();
    assert!(run().await.contains("auth sidecar writes it"));

    std::fs::remove_file(&file).unwrap();
    assert!(run().await.contains("the operator mounts it there"));
}

#[tokio::test]
async fn a_pod_warns_of_a_proxy_of_the_environment_that_it_ignores_and_does_not_repeat_its_password() {
    let world = World::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.yaml");
    let mut config = world.config(ExchangePlace::Sidecar, Injection::Header);
    // It ends there.
    config.host_key_file = folder.path().join("absent");
    let run = async |config: &ServerConfig| {
        std::fs::write(&file, serde_yaml::to_string(config).unwrap()).unwrap();
        let arguments = ["serve", "--config", file.to_str().unwrap()];
        let mut command = command(&world, folder.path(), &arguments);
        command.env("https_proxy", "http://ana:hunter2@proxy.corp.example:3128");
        String::from_utf8(command.output().await.unwrap().stdout).unwrap()
    };
    let log = run(&config).await;
    assert!(
        log.contains("(https_proxy)") && log.contains("set proxy.https"),
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");

    config.egress_proxy = Some(EgressProxy {
        https: "http://proxy.corp.example:3128".parse().unwrap(),
        no_proxy: Vec::new(),
    });
    assert!(!run(&config).await.contains("https_proxy"));
}
