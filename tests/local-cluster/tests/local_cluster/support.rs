//! Helpers of the tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use behalf_local_cluster::cluster::Cluster;
use serde_json::{Value, json};

pub(crate) const NAMESPACE: &str = "check";

/// Past the test harness, which keeps what a passing test prints for itself.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

pub(crate) fn field(cluster: &Cluster, object: &str, path: &str) -> String {
    cluster
        .kubectl(&["get", "-n", NAMESPACE, object, "-o", &format!("jsonpath={path}")])
        .unwrap()
}

pub(crate) fn text(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn get(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address.parse().ok()?, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !check() {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

pub(crate) fn container(name: &str, image: &str, user: u32, script: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "command": ["sh", "-c", script],
        "securityContext": {
            "runAsUser": user,
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
    })
}

pub(crate) fn pod(name: &str, specification: &Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": "shared", "emptyDir": {"medium": "Memory"}}],
        },
    });
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.extend(specification.as_object().unwrap().clone());
    pod
}

pub(crate) fn create_namespace(cluster: &Cluster) {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
        "name": NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }});
    cluster
        .kubectl_with(&["apply", "-f", "-"], &namespace.to_string())
        .unwrap();
    eventually("the default ServiceAccount exists", || {
        cluster
            .kubectl(&["get", "serviceaccount", "default", "-n", NAMESPACE])
            .is_ok()
    });
}
