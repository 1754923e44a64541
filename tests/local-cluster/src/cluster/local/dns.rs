//! The DNS server, as a Deployment. Its image is the pause image; the program comes from the machine.

use serde_json::{Value, json};

use super::names::DOMAIN;
use crate::cluster::registry::Record;
use crate::toolchain::Toolchain;

/// The name under which Pods find the machine that the cluster runs on.
pub(crate) const HOST_NAME: &str = "host.behalf.local";

const PORT: u16 = 1053;

/// Unknown names do not exist: no Pod can reach another DNS server, and waiting for one would make
/// every wrong name a matter of seconds.
fn corefile(record: &Record) -> String {
    let host = record.addresses().host();
    format!(
        "{DOMAIN}:{PORT} in-addr.arpa:{PORT} {{
    errors
    health
    ready
    kubernetes {DOMAIN} in-addr.arpa {{
        pods insecure
        ttl 5
    }}
    cache 2
}}
{HOST_NAME}:{PORT} {{
    hosts {{
        {host} {HOST_NAME}
    }}
}}
.:{PORT} {{
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"
    )
}

/// All objects of the DNS server, as one list to apply.
pub(crate) fn objects(record: &Record, tools: &Toolchain, image: &str) -> Value {
    let metadata =
        |name: &str| json!({"name": name, "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}});
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata("coredns")},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": "behalf:coredns"},
            "rules": [
                {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "behalf:coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "behalf:coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("coredns"),
            "data": {"Corefile": corefile(record)},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata("kube-dns"),
            "spec": {
                "clusterIP": record.addresses().dns(),
                "selector": {"k8s-app": "kube-dns"},
                "ports": [
                    {"name": "dns", "port": 53, "targetPort": PORT, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "targetPort": PORT, "protocol": "TCP"},
                ],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata("coredns"),
            "spec": {
                "selector": {"matchLabels": {"k8s-app": "kube-dns"}},
                "template": {"metadata": {"labels": {"k8s-app": "kube-dns"}}, "spec": pod(tools, image)},
            },
        },
    ]})
}

fn pod(tools: &Toolchain, image: &str) -> Value {
    json!({
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        // With this toleration the Pod starts one second earlier, before the node's first heartbeat.
        "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "coredns",
            "image": image,
            "command": ["/coredns", "-conf", "/etc/coredns/Corefile"],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
            "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}},
            "resources": {"requests": {"cpu": "20m", "memory": "32Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            },
            "volumeMounts": [
                {"name": "program", "mountPath": "/coredns", "readOnly": true},
                {"name": "configuration", "mountPath": "/etc/coredns", "readOnly": true},
            ],
        }],
        "volumes": [
            {"name": "program", "hostPath": {"path": tools.cluster(), "type": "File"}},
            {"name": "configuration", "configMap": {"name": "coredns"}},
        ],
    })
}
