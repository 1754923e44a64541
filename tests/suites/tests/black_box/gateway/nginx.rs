//! nginx in a Pod, with TLS and HTTP/2, in front of the object `scratch`.

use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_SERVERS, Objects, wait_available};
use behalf_local_cluster::images;
use behalf_simulators::certificates::CertificateAuthority;
use serde_json::{Value, json};

use crate::world::{TestResult, World};

/// The name of the Deployment, the Service, the Secret and the `ConfigMap`.
pub(super) const NAME: &str = "gateway";

/// The port of the Service.
pub(super) const PORT: u16 = 8443;

const CONFIGURATION: &str = include_str!("nginx.conf");

/// Maximum time until nginx is ready.
const START: Duration = Duration::from_mins(1);

/// The image of nginx, loaded into the cluster. The first time it is built.
pub(super) fn image(world: &World) -> TestResult<String> {
    world.load(&images::nginx(&behalf_local_cluster::Progress::default())?)
}

/// Starts nginx with a certificate of this authority for `localhost`. The Service `scratch` must exist, because nginx looks
/// its address up at the start.
pub(super) async fn start(world: &World, image: &str, authority: &CertificateAuthority) -> TestResult {
    let identity = authority.issue(&["localhost"])?;
    let mut objects = Objects::default();
    objects
        .add(json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(),
            "stringData": {"tls.crt": identity.certificate_chain_pem, "tls.key": identity.private_key_pem},
        }))
        .add(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(),
            "data": {"nginx.conf": CONFIGURATION},
        }))
        .add(
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata(),
                "spec": {"selector": labels(), "ports": [{"port": PORT, "targetPort": PORT}]},
            }),
        )
        .add(deployment(image));
    objects.apply(&world.running.client).await?;
    wait_available(&world.running.client, NAMESPACE_SERVERS, NAME, START).await?;
    Ok(())
}

/// Removes everything that [`start`] created.
pub(super) fn remove(world: &World) -> TestResult {
    let kinds = "deployment,service,configmap,secret";
    world.kubectl(&["delete", kinds, NAME, "--ignore-not-found", "--wait=true"])?;
    Ok(())
}

fn metadata() -> Value {
    json!({"name": NAME, "namespace": NAMESPACE_SERVERS})
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME})
}

fn deployment(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(),
        "spec": {
            "selector": {"matchLabels": labels()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "automountServiceAccountToken": false,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "nginx", "image": image, "imagePullPolicy": "IfNotPresent",
                        "args": ["-e", "stderr", "-c", "/etc/nginx/nginx.conf", "-g", "daemon off;"],
                        "ports": [{"containerPort": PORT}],
                        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [
                            {"name": "configuration", "mountPath": "/etc/nginx/nginx.conf", "subPath": "nginx.conf"},
                            {"name": "tls", "mountPath": "/etc/nginx/tls", "readOnly": true},
                            {"name": "tmp", "mountPath": "/tmp"},
                        ],
                    }],
                    "volumes": [
                        {"name": "configuration", "configMap": {"name": NAME}},
                        {"name": "tls", "secret": {"secretName": NAME, "defaultMode": 288}},
                        {"name": "tmp", "emptyDir": {}},
                    ],
                },
            },
        },
    })
}
