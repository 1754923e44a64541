//! Validates the server and the exchange of tokens for it.

use behalf_contract::{
    AccessConfig, AzureDevOpsConfig, AzureDevOpsEndpoints, ExchangePlace, Injection, ServerKind,
    TokenExchange, Toolset,
};
use behalf_entra::AZURE_DEVOPS_SCOPE;

use super::{Defaults, Refusal, rules};
use crate::api::v1alpha1 as api;
use crate::controller::plan::ServerPlan;

pub(super) fn server_kind(
    server: &api::Server,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<ServerPlan> {
    match (&server.azure_dev_ops, &server.container) {
        (Some(settings), None) => azure_dev_ops(settings, defaults, refusals).map(ServerPlan::AzureDevOps),
        (None, Some(container)) => {
            rules::container(container, &defaults.allowed, refusals).map(ServerPlan::Container)
        }
        _ => {
            refusals.push(Refusal::Field {
                field: "server",
                problem: "must name exactly one kind of server: set server.azureDevOps or server.container"
                    .to_owned(),
            });
            None
        }
    }
}

fn azure_dev_ops(
    settings: &api::AzureDevOps,
    defaults: &Defaults,
    refusals: &mut Vec<Refusal>,
) -> Option<AzureDevOpsConfig> {
    rules::organization(&settings.organization, refusals);
    rules::projects(&settings.projects, refusals);
    let mut endpoint = |field, text: &str| {
        let url = rules::https_origin(field, text, refusals)?;
        rules::azure_dev_ops_host(field, &url, &defaults.allowed, refusals);
        Some(url)
    };
    let endpoints = &settings.endpoints;
    let core = endpoint("server.azureDevOps.endpoints.core", &endpoints.core);
    let release = endpoint("server.azureDevOps.endpoints.release", &endpoints.release);
    let identity = endpoint("server.azureDevOps.endpoints.identity", &endpoints.identity);
    Some(AzureDevOpsConfig {
        organization: settings.organization.clone(),
        projects: settings.projects.clone(),
        read_only: settings.read_only,
        toolsets: settings.toolsets.iter().copied().map(toolset).collect(),
        endpoints: AzureDevOpsEndpoints {
            core: core?,
            release: release?,
            identity: identity?,
        },
    })
}

fn toolset(toolset: api::Toolset) -> Toolset {
    match toolset {
        api::Toolset::Pipelines => Toolset::Pipelines,
        api::Toolset::Releases => Toolset::Releases,
    }
}

pub(super) fn access(server: &ServerPlan) -> AccessConfig {
    match server {
        ServerPlan::AzureDevOps(server) => AccessConfig {
            server: ServerKind::AzureDevOps {
                organization: server.organization.clone(),
            },
            read_only_tools: server
                .tools()
                .filter(|tool| tool.reads_only)
                .map(|tool| tool.name.to_owned())
                .collect(),
            writes: server.tools().any(|tool| !tool.reads_only),
        },
        // Nobody here knows which of its tools only read, so that each tool needs the wider scope.
        ServerPlan::Container(_) => AccessConfig {
            server: ServerKind::Container,
            read_only_tools: Vec::new(),
            writes: true,
        },
    }
}

pub(super) fn token_exchange(spec: &api::McpServerSpec, refusals: &mut Vec<Refusal>) -> TokenExchange {
    let exchange = &spec.token_exchange;
    rules::token_exchange(spec, refusals);
    let default_scope = || {
        let is_built_in = spec.server.azure_dev_ops.is_some();
        is_built_in.then(|| AZURE_DEVOPS_SCOPE.to_owned())
    };
    TokenExchange {
        at: match exchange.at {
            None | Some(api::ExchangePlace::Sidecar) => ExchangePlace::Sidecar,
            Some(api::ExchangePlace::Server) => ExchangePlace::Server,
        },
        scope: exchange.scope.clone().or_else(default_scope),
        injection: match exchange.injection {
            None | Some(api::Injection::Header) => Injection::Header,
            Some(api::Injection::Argument) => Injection::Argument,
            Some(api::Injection::None) => Injection::None,
        },
    }
}
