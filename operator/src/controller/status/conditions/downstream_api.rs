//! Names the API that the downstream tokens are for, in the advice of conditions.

use behalf_contract::{TokenExchange, is_guid};

/// The application id of Azure DevOps, and its address as a resource.
const AZURE_DEVOPS: [&str; 2] = [
    "499b84ac-1321-427f-aa17-267ca6975798",
    "https://app.vssps.visualstudio.com",
];

/// The application id of Microsoft Graph, and its address as a resource.
const GRAPH: [&str; 2] = [
    "00000003-0000-0000-c000-000000000000",
    "https://graph.microsoft.com",
];

/// The API of `tokenExchange.scope`. Nothing of the scope but a GUID gets into a text: an administrator runs the commands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controller::status) struct DownstreamApi {
    name: &'static str,
    permission: &'static str,
    id: Option<String>,
}

impl DownstreamApi {
    /// Returns the API of an accepted spec. `None` if the spec is refused: then the name says where to look.
    pub(in crate::controller::status) fn of(exchange: Option<&TokenExchange>) -> Self {
        let known = |name, permission, [id, _]: [&str; 2]| Self {
            name,
            permission,
            id: Some(id.to_owned()),
        };
        let resource = match exchange.map(|exchange| exchange.scope.as_deref()) {
            // Without a scope the sidecar exchanges no token, and its probe requests one for Microsoft Graph.
            Some(None) => GRAPH[0].to_owned(),
            Some(Some(scope)) => resource(scope),
            None => String::new(),
        };
        let is = |api: [&str; 2]| api.contains(&resource.as_str());
        if is(AZURE_DEVOPS) {
            known("Azure DevOps", "user_impersonation of Azure DevOps", AZURE_DEVOPS)
        } else if is(GRAPH) {
            known(
                "Microsoft Graph",
                "the delegated permission of Microsoft Graph that it lacks",
                GRAPH,
            )
        } else {
            Self {
                name: "the API of spec.tokenExchange.scope",
                permission: "the delegated permission of the API of spec.tokenExchange.scope",
                id: Some(resource).filter(|id| is_guid(id)),
            }
        }
    }

    /// Advice for `ResourceNotFound`.
    pub(super) fn create_service_principal(&self) -> String {
        let id = self.id.as_deref().unwrap_or("<application id of the API>");
        format!(
            "Create the service principal of {} in the tenant: az ad sp create --id {id}.",
            self.name
        )
    }

    /// Advice for `AppNotAssigned`.
    pub(super) fn assign(&self) -> String {
        format!(
            "Give the application an app role of {}, which requires assignment. Users may be able to sign in nevertheless.",
            self.name
        )
    }

    /// The delegated permission that the application needs.
    pub(super) fn permission(&self) -> &'static str {
        self.permission
    }
}

/// Returns the resource of a scope in lower case: `api://<id>/.default` and `<id>/.default` both name the application by its id.
fn resource(scope: &str) -> String {
    let first = scope.split(' ').next().unwrap_or_default();
    let resource = first.rsplit_once('/').map_or("", |(resource, _)| resource);
    let resource = resource.to_ascii_lowercase();
    match resource.strip_prefix("api://") {
        Some(id) if is_guid(id) => id.to_owned(),
        _ => resource,
    }
}
