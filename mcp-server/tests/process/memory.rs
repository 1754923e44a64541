//! Tests the memory of the process against the default limit of its container.

use behalf_contract::headers;
use behalf_simulators::azure_devops::{Action, Calls, Fault};
use serde_json::{Value, json};

use crate::binary::{client, stop};
use crate::pod::PodProcess;
use crate::support::{HOST_KEY, World};

/// Size of each answer of Azure DevOps in bytes. The server reads JSON of at most 8 MiB.
const ANSWER: usize = 7 * 1024 * 1024;

/// The default memory limit of the server's container in KiB (`operator/src/controller/validate/mod.rs`).
const LIMIT: usize = 256 * 1024;

/// The most memory that the process has had resident, in KiB.
fn most_resident(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_answers_to_64_calls_stay_within_the_memory_limit() {
    let world = World::start().await;
    let mut pod = PodProcess::start(&world).await;
    let runs = ANSWER / 1024;
    let fault = Fault::always(Action::LongList { runs }).on(Calls::to("/_apis/build/builds"));
    world.azure().fault(&fault).await.unwrap();
    let mut tokens = Vec::new();
    for user in ["ana", "ben", "carol"] {
        tokens.push(world.azure_token(user).await);
    }
    let http = client();
    let url = format!("http://{}/mcp", pod.mcp);
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "list_pipeline_runs", "arguments": {"top": 1}}});
    let calls = tokens.iter().cycle().take(64).map(|token| {
        let request = http
            .post(&url)
            .header("accept", "application/json, text/event-stream")
            .header(headers::HOST_KEY, HOST_KEY)
            .bearer_auth(token)
            .json(&call);
        async move {
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.json::<Value>().await.unwrap()
        }
    });
    let answers = futures::future::join_all(calls).await;
    let good = answers
        .iter()
        .filter(|answer| answer["result"]["isError"] == false);
    assert!(good.count() > 0, "{:.2000}", answers[0].to_string());
    let resident = most_resident(pod.child.id().unwrap());
    println!("at most {resident} KiB resident");
    assert!(resident < LIMIT, "{resident} KiB");
    stop(&pod.child);
    assert!(pod.child.wait().await.unwrap().success());
}
