//! The two containers. Both meet the restricted Pod security profile.

use behalf_contract::{ExchangePlace, digest, paths, ports};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, ExecAction, HTTPGetAction, Lifecycle, LifecycleHandler,
    Probe, SeccompProfile, SecurityContext, SleepAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::volumes;
use crate::controller::children::Configuration;
use crate::controller::names;
use crate::controller::plan::{ContainerPlan, ForeignPlan, Plan, ServerPlan};

/// Time between the start of the termination and the stop signal to the server. Load balancers need it to remove the Pod.
const PRE_STOP_SECONDS: i64 = 10;

/// Hosts that no server reaches through the proxy: loopback, and Services of the cluster. Some programs read no networks, so
/// that the usual address of loopback is there too. `NO_PROXY` cannot express names without a dot.
const DIRECT: [&str; 7] = [
    "localhost",
    ".localhost",
    "127.0.0.1",
    "127.0.0.0/8",
    "::1",
    ".svc",
    ".cluster.local",
];

/// Builds the auth sidecar, as an init container that restarts always: it starts before the server and stops after it.
pub(super) fn sidecar(plan: &Plan, configuration: &Configuration) -> Container {
    Container {
        name: names::SIDECAR_CONTAINER.to_owned(),
        restart_policy: Some("Always".to_owned()),
        env: Some(environment(
            &plan.sidecar,
            Some(&configuration.sidecar_digest),
            true,
        )),
        ports: Some(vec![
            port("http", ports::PUBLIC),
            port("internal", ports::INTERNAL),
        ]),
        // The server does not start before this succeeds, so it must be quick and must not wait for it.
        startup_probe: Some(probe(
            ports::INTERNAL,
            "/startupz",
            Pace {
                period: 1,
                failures: 60,
            },
        )),
        readiness_probe: Some(probe(
            ports::INTERNAL,
            "/readyz",
            Pace {
                period: 2,
                failures: 3,
            },
        )),
        liveness_probe: Some(probe(
            ports::INTERNAL,
            "/livez",
            Pace {
                period: 10,
                failures: 3,
            },
        )),
        lifecycle: Some(drain_at_stop()),
        security_context: Some(security_context(names::SIDECAR_USER)),
        volume_mounts: Some(volumes::sidecar_mounts(plan)),
        ..container(&plan.sidecar)
    }
}

/// Builds the container of the MCP server.
pub(super) fn server(plan: &Plan, configuration: &Configuration) -> Container {
    match &plan.kind {
        ServerPlan::AzureDevOps(_) => built_in(plan, configuration),
        ServerPlan::Container(server) => foreign(plan, server),
    }
}

/// Builds the container of a server from an image of the object's author. It has no probe: the kubelet could connect only
/// to a port that is open to other Pods too. The sidecar's readiness asks for the server's port on loopback.
fn foreign(plan: &Plan, server: &ForeignPlan) -> Container {
    let given = |texts: &[String]| (!texts.is_empty()).then(|| texts.to_vec());
    Container {
        name: names::SERVER_CONTAINER.to_owned(),
        command: given(&server.command),
        args: given(&server.args),
        env: Some([proxies(plan), plan.server.env.clone()].concat())
            .filter(|variables| !variables.is_empty()),
        lifecycle: Some(pre_stop()),
        security_context: Some(security_context(server.user)),
        volume_mounts: Some(volumes::foreign_mounts(plan, server)),
        ..container(&plan.server)
    }
}

/// The installation's proxy, as programs read it: curl prefers the lower case, and others know one spelling alone. Validation
/// refuses these variables in the spec.
fn proxies(plan: &Plan) -> Vec<EnvVar> {
    let Some(proxy) = &plan.egress_proxy else {
        return Vec::new();
    };
    let direct = proxy.no_proxy.iter().map(ToString::to_string);
    let direct: Vec<_> = DIRECT.into_iter().map(str::to_owned).chain(direct).collect();
    let (address, direct) = (proxy.https.origin(), direct.join(","));
    vec![
        variable("HTTPS_PROXY", &address),
        variable("https_proxy", &address),
        variable("NO_PROXY", &direct),
        variable("no_proxy", &direct),
    ]
}

fn built_in(plan: &Plan, configuration: &Configuration) -> Container {
    let exchanges = plan.token_exchange.at == ExchangePlace::Server;
    Container {
        name: names::SERVER_CONTAINER.to_owned(),
        args: Some(vec!["serve".to_owned()]),
        env: Some(environment(
            &plan.server,
            configuration.server_digest.as_deref(),
            exchanges,
        )),
        // Its MCP port listens on loopback, so only the sidecar can reach it.
        ports: Some(vec![port("probes", ports::SERVER_PROBES)]),
        startup_probe: Some(probe(
            ports::SERVER_PROBES,
            "/startupz",
            Pace {
                period: 1,
                failures: 60,
            },
        )),
        readiness_probe: Some(probe(
            ports::SERVER_PROBES,
            "/readyz",
            Pace {
                period: 2,
                failures: 3,
            },
        )),
        liveness_probe: Some(probe(
            ports::SERVER_PROBES,
            "/livez",
            Pace {
                period: 10,
                failures: 3,
            },
        )),
        lifecycle: Some(pre_stop()),
        security_context: Some(security_context(names::SERVER_USER)),
        volume_mounts: Some(volumes::server_mounts(plan)),
        ..container(&plan.server)
    }
}

/// The kubelet runs this hook when it begins to stop the Pod, and stops the sidecar after the server. Gateways leave the Pod
/// while the server waits in its own hook.
fn drain_at_stop() -> Lifecycle {
    let command = ["/usr/local/bin/behalf-auth-sidecar", "admin", "drain"];
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            exec: Some(ExecAction {
                command: Some(command.map(str::to_owned).to_vec()),
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn pre_stop() -> Lifecycle {
    Lifecycle {
        pre_stop: Some(LifecycleHandler {
            sleep: Some(SleepAction {
                seconds: PRE_STOP_SECONDS,
            }),
            ..LifecycleHandler::default()
        }),
        ..Lifecycle::default()
    }
}

fn container(plan: &ContainerPlan) -> Container {
    Container {
        image: Some(plan.image.clone()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(plan.resources.clone()),
        ..Container::default()
    }
}

/// Puts the operator's variables first. Of two equal names the kubelet takes the last one, but validation refuses the
/// operator's names in the spec.
fn environment(
    plan: &ContainerPlan,
    configuration_digest: Option<&str>,
    federated_token: bool,
) -> Vec<EnvVar> {
    let mut variables = vec![variable("BEHALF_LOG", plan.log_level.as_str())];
    // A user who may write ConfigMaps but not Pods could replace the content of the file.
    variables.extend(configuration_digest.map(|text| variable(digest::VARIABLE, text)));
    if federated_token {
        variables.push(variable(paths::FEDERATED_TOKEN_VARIABLE, paths::FEDERATED_TOKEN));
    }
    variables.extend(plan.env.iter().cloned());
    variables
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

#[derive(Clone, Copy)]
struct Pace {
    period: i32,
    failures: i32,
}

fn probe(port: u16, path: &str, pace: Pace) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(pace.period),
        failure_threshold: Some(pace.failures),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

fn security_context(user: i64) -> SecurityContext {
    SecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(user),
        run_as_group: Some(user),
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}
