//! Pods do what Behalf's Pods need.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use behalf_local_cluster::cluster::Cluster;
use serde_json::{Value, json};

use crate::support::{NAMESPACE, container, create_namespace, eventually, field, get, pod, say};

const AUDIENCE: &str = "api://AzureADTokenExchange";

/// A native sidecar that the main container waits for, as in Behalf's own Pods.
pub(crate) fn restricted_pod_with_sidecar(cluster: &Cluster, image: &str) {
    let mut sidecar = container(
        "sidecar",
        image,
        65532,
        "sleep 1; echo from the sidecar > /shared/index.html; exec httpd -f -p 8080 -h /shared",
    );
    sidecar["restartPolicy"] = "Always".into();
    sidecar["startupProbe"] = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 1});
    let script = "cat /shared/index.html && echo the main container started && exec sleep 600";
    let mut main = container("main", image, 65533, script);
    main["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "token", "mountPath": "/token"}));
    let pod = pod(
        "pair",
        &json!({
            "initContainers": [sidecar],
            "containers": [main],
            "volumes": [
                {"name": "shared", "emptyDir": {"medium": "Memory"}},
                {"name": "token", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "audience": AUDIENCE, "expirationSeconds": 3600}},
                ]}},
            ],
        }),
    );
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {"selector": {"app": "pair"}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    let start = Instant::now();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod, service]});
    cluster
        .kubectl_with(&["apply", "-f", "-"], &list.to_string())
        .unwrap();
    cluster
        .kubectl(&[
            "wait",
            "-n",
            NAMESPACE,
            "--for=condition=Ready",
            "pod/pair",
            "--timeout=90s",
        ])
        .unwrap();
    say(&format!(
        "{:6.1} s  two-container Pod ready after apply",
        start.elapsed().as_secs_f64()
    ));
}

fn exec(cluster: &Cluster, command: &[&str]) -> String {
    let arguments = ["exec", "-n", NAMESPACE, "pair", "-c", "main", "--"];
    cluster.kubectl(&[&arguments, command].concat()).unwrap()
}

pub(crate) fn token_has_its_audience(cluster: &Cluster) {
    let token = exec(cluster, &["cat", "/token/token"]);
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["aud"], json!([AUDIENCE]));
    assert_eq!(claims["iss"], "https://kubernetes.default.svc.cluster.local");
    assert_eq!(
        claims["sub"],
        format!("system:serviceaccount:{NAMESPACE}:default")
    );
}

pub(crate) fn names_and_addresses_are_reachable(cluster: &Cluster) {
    let answer = exec(
        cluster,
        &["nslookup", &format!("front.{NAMESPACE}.svc.cluster.local")],
    );
    let service = field(cluster, "service/front", "{.spec.clusterIP}");
    assert!(answer.contains(&service), "{answer}");
    // The Pod calls itself through its Service, by the Service's short name.
    assert_eq!(
        exec(cluster, &["timeout", "5", "wget", "-qO-", "http://front/"]),
        "from the sidecar\n"
    );
    // The DNS server refuses an unknown name at once, without a time-out.
    let start = Instant::now();
    let name = "unknown.example";
    let arguments = [
        "exec", "-n", NAMESPACE, "pair", "-c", "main", "--", "nslookup", name,
    ];
    assert!(cluster.kubectl(&arguments).is_err());
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    for address in [
        service + ":80",
        field(cluster, "pod/pair", "{.status.podIP}") + ":8080",
    ] {
        eventually("the machine reaches the Pod", || {
            get(&address).is_some_and(|text| text.ends_with("from the sidecar\n"))
        });
    }
}

pub(crate) fn the_machine_is_reachable(cluster: &Cluster) {
    let listener = TcpListener::bind((cluster.host_address().unwrap(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\nfrom the machine")
            .unwrap();
    });
    let url = format!("http://{}:{port}/", cluster.host_name().unwrap());
    assert_eq!(
        exec(cluster, &["timeout", "5", "wget", "-qO-", &url]),
        "from the machine"
    );
    answer.join().unwrap();
}

pub(crate) fn logs_and_port_forward(cluster: &Cluster) {
    let logs = cluster
        .kubectl(&["logs", "-n", NAMESPACE, "pair", "-c", "main"])
        .unwrap();
    assert_eq!(logs, "from the sidecar\nthe main container started\n");
    let mut forward = Command::new(cluster.clients().kubectl())
        .arg("--kubeconfig")
        .arg(cluster.kubeconfig())
        .args(["port-forward", "-n", NAMESPACE, "service/front", ":80"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The pipe stays open until the end, because kubectl exits when it is closed.
    let mut output = BufReader::new(forward.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.split_whitespace().nth(2).unwrap();
    assert!(get(address).unwrap().ends_with("from the sidecar\n"), "{line}");
    forward.kill().unwrap();
    forward.wait().unwrap();
}

pub(crate) fn own_binary_runs_on_the_base(cluster: &Cluster, image: &str) {
    let mut container = container("program", image, 65532, "");
    container.as_object_mut().unwrap().remove("command");
    container["args"] = json!(["--version"]);
    let pod = pod(
        "program",
        &json!({"containers": [container], "restartPolicy": "Never"}),
    );
    cluster
        .kubectl_with(&["apply", "-f", "-"], &pod.to_string())
        .unwrap();
    eventually("the binary ran", || {
        field(cluster, "pod/program", "{.status.phase}") == "Succeeded"
    });
    let logs = cluster.kubectl(&["logs", "-n", NAMESPACE, "program"]).unwrap();
    assert!(logs.starts_with("behalf-cluster "), "{logs}");
}

pub(crate) fn pods_of_two_nodes_reach_each_other(cluster: &Cluster, image: &str) {
    create_namespace(cluster);
    let name = cluster.name();
    for node in 0..2 {
        let script = "echo hello > /shared/index.html; exec httpd -f -p 8080 -h /shared";
        let pod = pod(
            &format!("pod-{node}"),
            &json!({
                "nodeName": format!("{name}-{node}"),
                "containers": [container("main", image, 65532, script)],
            }),
        );
        cluster
            .kubectl_with(&["apply", "-f", "-"], &pod.to_string())
            .unwrap();
    }
    cluster
        .kubectl(&[
            "wait",
            "-n",
            NAMESPACE,
            "--for=condition=Ready",
            "pod",
            "--all",
            "--timeout=90s",
        ])
        .unwrap();
    for (from, to) in [("pod-0", "pod-1"), ("pod-1", "pod-0")] {
        let address = field(cluster, &format!("pod/{to}"), "{.status.podIP}");
        let url = format!("http://{address}:8080/");
        let text = cluster
            .kubectl(&[
                "exec", "-n", NAMESPACE, from, "--", "timeout", "5", "wget", "-qO-", &url,
            ])
            .unwrap();
        assert_eq!(text, "hello\n", "{from} to {to}");
        // DNS is a Service whose Pod runs on one of the two nodes.
        let name = "kubernetes.default.svc.cluster.local";
        cluster
            .kubectl(&["exec", "-n", NAMESPACE, from, "--", "nslookup", name])
            .unwrap();
        assert!(get(&format!("{address}:8080")).is_some());
    }
}
