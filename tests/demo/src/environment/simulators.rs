//! Deploys the simulators of Entra and Azure DevOps.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::certificates::{self, TLS_SECRET};
use super::{EnvironmentError, Layout, NAMESPACE_SIMULATORS, Objects};

/// Maximum time until a simulator is available.
const START: Duration = Duration::from_mins(2);

/// Propagation time of a new federated credential. As at Entra, requests fail intermittently during it, so
/// the federation probe must retry.
const FEDERATION_PROPAGATION: &str = "--federation-propagation-seconds=6";

/// Starts both simulators and returns the certificate authority (PEM) that their certificates stand under.
pub async fn apply_simulators(
    client: &Client,
    layout: &Layout,
    image: &str,
) -> Result<String, EnvironmentError> {
    let mut namespace = Objects::default();
    namespace.add_namespace(NAMESPACE_SIMULATORS);
    namespace.apply(client).await?;
    let authority = certificates::ensure(client).await?;
    manifest(layout, image).apply(client).await?;
    for name in ["entra", "azure-devops"] {
        wait_available(client, NAMESPACE_SIMULATORS, name, START).await?;
    }
    Ok(authority)
}

/// Returns the objects of both simulators.
fn manifest(layout: &Layout, image: &str) -> Objects {
    let mut objects = Objects::default();
    for service in ["entra", "azure-devops"] {
        objects.add(service_account(service)).add(service_object(service));
    }
    let browser = layout.sign_in_url().to_string();
    objects.add(deployment(
        "entra",
        image,
        &[
            "entra",
            "--listen=0.0.0.0:8443",
            "--public-base=https://entra.behalf-simulators.svc:8443",
            "--browser-listen=0.0.0.0:8080",
            &format!("--browser-base={}", browser.trim_end_matches('/')),
            "--control-listen=0.0.0.0:9000",
            "--tls-certificate=/etc/simulator/tls/tls.crt",
            "--tls-key=/etc/simulator/tls/tls.key",
            FEDERATION_PROPAGATION,
        ],
    ));
    objects.add(deployment(
        "azure-devops",
        image,
        &[
            "azure-devops",
            "--listen=0.0.0.0:8443",
            "--public-base=https://azure-devops.behalf-simulators.svc:8443",
            "--control-listen=0.0.0.0:9000",
            "--tls-certificate=/etc/simulator/tls/tls.crt",
            "--tls-key=/etc/simulator/tls/tls.key",
            "--entra=https://entra.behalf-simulators.svc:8443",
            "--certificate-authority=/etc/simulator/tls/ca.crt",
        ],
    ));
    objects
}

/// Waits until a Deployment's present generation is rolled out and available.
pub async fn wait_available(
    client: &Client,
    namespace: &str,
    name: &str,
    limit: Duration,
) -> Result<(), EnvironmentError> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let started = tokio::time::Instant::now();
    loop {
        let deployment = deployments
            .get(name)
            .await
            .map_err(EnvironmentError::api(format!("read Deployment {name}")))?;
        let generation = deployment.metadata.generation;
        let status = deployment.status.unwrap_or_default();
        let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
        if status.observed_generation == generation
            && status.updated_replicas == Some(wanted)
            && status.available_replicas == Some(wanted)
            && status.replicas == Some(wanted)
        {
            return Ok(());
        }
        if started.elapsed() > limit {
            return Err(EnvironmentError::TimedOut {
                what: format!("Deployment {namespace}/{name} becoming available"),
                seconds: limit.as_secs(),
                seen: serde_json::to_string(&status).unwrap_or_default(),
            });
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn labels(name: &str) -> Value {
    json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "behalf-simulators"})
}

fn service_account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": NAMESPACE_SIMULATORS}})
}

/// The port of the Service is the Pod's: network policies see the port after the Service's translation.
fn service_object(name: &str) -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": port});
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE_SIMULATORS},
        "spec": {"selector": labels(name), "ports": [
            port("https", 8443), port("browser", 8080), port("control", 9000),
        ]},
    })
}

/// A simulator's Deployment. It reads the cluster's issuer with its own `ServiceAccount` token, as the API
/// server asks every reader to say who he is.
fn deployment(name: &str, image: &str, arguments: &[&str]) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE_SIMULATORS},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels(name)},
            "template": {
                "metadata": {"labels": labels(name)},
                "spec": {
                    "serviceAccountName": name,
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [{
                        "name": "simulator",
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": arguments,
                        "ports": [{"containerPort": 8443}, {"containerPort": 9000}],
                        "readinessProbe": {
                            "tcpSocket": {"port": 8443}, "periodSeconds": 1, "failureThreshold": 30,
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "tls", "mountPath": "/etc/simulator/tls", "readOnly": true}],
                    }],
                    "volumes": [{"name": "tls", "secret": {"secretName": TLS_SECRET, "defaultMode": 288}}],
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_the_demo_a_new_credential_takes_seconds_to_propagate() {
        let mut objects = manifest(&Layout::demo(), "simulator:test");
        let mut deployments = objects.iter_mut().filter(|object| object["kind"] == "Deployment");
        let mut arguments = |name: &str| {
            let deployment = deployments.next().unwrap();
            assert_eq!(deployment["metadata"]["name"], name);
            deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone()
        };
        let flag = |arguments: &Value| {
            let arguments = arguments.as_array().unwrap().iter();
            arguments
                .filter_map(|argument| {
                    argument
                        .as_str()?
                        .strip_prefix("--federation-propagation-seconds=")
                })
                .map(|seconds| seconds.parse::<u64>().unwrap())
                .collect::<Vec<_>>()
        };
        let entra = arguments("entra");
        assert_eq!(entra[0], "entra");
        assert_eq!(flag(&entra), vec![6_u64]);
        assert!(flag(&arguments("azure-devops")).is_empty());
    }
}
