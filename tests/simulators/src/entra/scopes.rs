//! `scope`: which resource is asked for, and how much of it.

use super::failure::Failure;
use super::model::{Application, Directory};
use crate::people::{
    AZURE_DEVOPS_APPLICATION_ID, AZURE_DEVOPS_APPLICATION_URI, REDIS_APPLICATION_ID, REDIS_APPLICATION_URI,
};

const GRAPH_APPLICATION_ID: &str = "00000003-0000-0000-c000-000000000000";
const GRAPH_URI: &str = "https://graph.microsoft.com";

/// A resource that tokens are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// The asking application itself.
    Application,
    /// Azure DevOps.
    AzureDevOps,
    /// Redis on Azure. It has no delegated permissions.
    Redis,
    /// Microsoft Graph: what a request without any resource means.
    Graph,
}

impl Resource {
    /// `aud` of a token, and the key of consents. Graph's sign-in scopes need no consent here.
    pub(super) fn application_id(self, client_id: &str) -> Option<&str> {
        match self {
            Self::Application => Some(client_id),
            Self::AzureDevOps => Some(AZURE_DEVOPS_APPLICATION_ID),
            Self::Redis => Some(REDIS_APPLICATION_ID),
            Self::Graph => None,
        }
    }

    /// `aud` of a token for it.
    pub(super) fn audience(self, client_id: &str) -> &str {
        self.application_id(client_id).unwrap_or(GRAPH_APPLICATION_ID)
    }
}

/// A `scope` parameter, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one word of the parameter")]
pub(super) struct Requested {
    pub(super) openid: bool,
    pub(super) profile: bool,
    pub(super) offline_access: bool,
    pub(super) resource: Resource,
    /// `.default`: everything that is declared.
    pub(super) default: bool,
    permissions: Vec<String>,
    resource_name: String,
}

impl Requested {
    /// An empty `scope`.
    pub(super) fn nothing() -> Self {
        Self {
            openid: false,
            profile: false,
            offline_access: false,
            resource: Resource::Graph,
            default: false,
            permissions: Vec::new(),
            resource_name: String::new(),
        }
    }

    /// Reads `scope`, refusing what Entra refuses.
    pub(super) fn parse(
        scope: &str,
        application: &Application,
        directory: &Directory,
    ) -> Result<Self, Failure> {
        let mut requested = Self::nothing();
        for one in scope.split_ascii_whitespace() {
            match one {
                "openid" => requested.openid = true,
                "profile" => requested.profile = true,
                "offline_access" => requested.offline_access = true,
                "email" => {}
                _ => requested.add(one, application, directory)?,
            }
        }
        if requested.default && !requested.permissions.is_empty() {
            return Err(Failure::invalid_scope(
                70_011,
                format!(
                    "The provided value for the input parameter 'scope' is not valid. .default scope can't be combined with resource-specific scopes: {scope}"
                ),
            ));
        }
        Ok(requested)
    }

    fn add(&mut self, scope: &str, application: &Application, directory: &Directory) -> Result<(), Failure> {
        let (name, permission) = scope.rsplit_once('/').unwrap_or((GRAPH_URI, scope));
        let name = name.trim_end_matches('/');
        let resource = resource(name, application, directory)?;
        if !self.resource_name.is_empty() && resource != self.resource {
            return Err(Failure::invalid_scope(
                700_022,
                format!(
                    "The provided value for the input parameter 'scope' is not valid because it contains more than one resource: '{}' and '{name}'.",
                    self.resource_name
                ),
            ));
        }
        let exists = match resource {
            Resource::Application => permission == "access_as_user",
            Resource::AzureDevOps => permission == "user_impersonation" || permission.starts_with("vso."),
            Resource::Redis => false,
            Resource::Graph => permission == "User.Read",
        };
        if permission == ".default" {
            self.default = true;
        } else if exists {
            self.permissions.push(permission.to_owned());
        } else {
            return Err(Failure::invalid_scope(
                650_053,
                format!(
                    "The application '{}' asked for scope '{permission}' that doesn't exist on the resource '{name}'.",
                    application.display_name
                ),
            ));
        }
        self.resource = resource;
        name.clone_into(&mut self.resource_name);
        Ok(())
    }

    /// `scp` of the token.
    pub(super) fn granted(&self) -> String {
        if !self.permissions.is_empty() {
            return self.permissions.join(" ");
        }
        match self.resource {
            Resource::Application => "access_as_user".to_owned(),
            Resource::AzureDevOps => "user_impersonation".to_owned(),
            Resource::Redis => String::new(),
            Resource::Graph => "openid profile email User.Read".to_owned(),
        }
    }

    /// `scope` of the answer: qualified with the name the request used.
    pub(super) fn answer(&self) -> String {
        let mut scopes = Vec::new();
        if self.openid {
            scopes.push("openid".to_owned());
        }
        if self.profile {
            scopes.push("profile".to_owned());
        }
        if !self.resource_name.is_empty() {
            let name = &self.resource_name;
            scopes.extend(self.granted().split(' ').map(|one| format!("{name}/{one}")));
            if self.default {
                scopes.push(format!("{name}/.default"));
            }
        }
        scopes.join(" ")
    }

    /// The resources that need consent at a login: `.default` asks for everything declared.
    pub(super) fn needs_consent_to(&self, application: &Application) -> Vec<Resource> {
        match self.resource {
            Resource::Application if self.default && application.azure_devops_permission => {
                vec![Resource::Application, Resource::AzureDevOps]
            }
            other => vec![other],
        }
    }

    /// Refuses a `resource` parameter that is not an identifier of the scopes' owner (9010010).
    pub(super) fn check_resource(
        &self,
        resource: Option<&str>,
        application: &Application,
    ) -> Result<(), Failure> {
        let Some(sent) = resource else { return Ok(()) };
        let identifier = match self.resource {
            Resource::Application => format!("api://{}", application.client_id),
            Resource::AzureDevOps => AZURE_DEVOPS_APPLICATION_URI.to_owned(),
            Resource::Redis => REDIS_APPLICATION_URI.to_owned(),
            Resource::Graph => GRAPH_URI.to_owned(),
        };
        if sent == identifier {
            return Ok(());
        }
        Err(Failure::new(
            400,
            "invalid_target",
            9_010_010,
            "The resource parameter provided in the request doesn't match with the requested scopes.",
        ))
    }
}

fn resource(name: &str, application: &Application, directory: &Directory) -> Result<Resource, Failure> {
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    if is(&application.client_id) {
        return Ok(Resource::Application);
    }
    if is(&format!("api://{}", application.client_id)) {
        return Err(Failure::invalid_request(
            90_009,
            format!(
                "Application '{}' is requesting a token for itself. This scenario is supported only if resource is specified using the GUID based App Identifier.",
                application.client_id
            ),
        ));
    }
    if is(GRAPH_APPLICATION_ID) || is(GRAPH_URI) {
        return Ok(Resource::Graph);
    }
    if is(REDIS_APPLICATION_ID) || is(REDIS_APPLICATION_URI) {
        return Ok(Resource::Redis);
    }
    let azure_devops = is(AZURE_DEVOPS_APPLICATION_ID) || is(AZURE_DEVOPS_APPLICATION_URI);
    if azure_devops && directory.azure_devops_principal {
        if application.azure_devops_permission {
            return Ok(Resource::AzureDevOps);
        }
        return Err(undeclared(name));
    }
    if directory.application(name.trim_start_matches("api://")).is_some() {
        return Err(undeclared(name));
    }
    Err(Failure::new(
        400,
        "invalid_resource",
        500_011,
        format!("The resource principal named {name} was not found in the tenant."),
    ))
}

fn undeclared(name: &str) -> Failure {
    Failure::new(
        400,
        "invalid_resource",
        650_057,
        format!(
            "Invalid resource. The client has requested access to a resource which is not listed in the requested permissions of its registration: {name}."
        ),
    )
}
