//! The arguments of a route: the verified caller with their rights, the query and the shared state.

use std::{str::FromStr, sync::Arc};

use axum::extract::FromRequestParts;
use http::{HeaderMap, header, request::Parts};
use serde_json::{Value, json};

use super::{
    error::ServiceError,
    permissions::Permissions,
    query::Query,
    state::{Simulator, State},
    world::{
        World,
        model::{Build, Definition, Identity, Project},
        uuid_of,
    },
};
use crate::people;

/// A verified user with their rights.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) object_id: String,
    pub(super) display_name: String,
    pub(super) user_name: Option<String>,
    pub(super) permissions: Permissions,
}

impl Caller {
    pub(super) fn identity(&self) -> Identity {
        people::by_object_id(&self.object_id).map_or_else(
            || Identity {
                id: uuid_of(&format!("identity {}", self.object_id)),
                object_id: self.object_id.clone(),
                display_name: self.display_name.clone(),
                unique_name: self.user_name.clone().unwrap_or_default(),
            },
            Identity::from,
        )
    }
}

/// Which error hides a project.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// 400 `ProjectDoesNotExistException`.
    Build,
    /// 404 `ProjectDoesNotExistWithNameException`.
    Other,
}

/// One authenticated call.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) simulator: Arc<Simulator>,
    pub(super) caller: Caller,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
}

impl FromRequestParts<Arc<Simulator>> for Ask {
    type Rejection = ServiceError;

    async fn from_request_parts(parts: &mut Parts, simulator: &Arc<Simulator>) -> Result<Self, ServiceError> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .cloned()
            .ok_or_else(ServiceError::unauthorized)?;
        Ok(Self {
            simulator: Arc::clone(simulator),
            caller,
            query: Query::parse(parts.uri.query()),
            headers: parts.headers.clone(),
        })
    }
}

impl Ask {
    fn accept(&self) -> String {
        let accept = self
            .headers
            .get(header::ACCEPT)
            .and_then(|value| value.to_str().ok());
        accept.unwrap_or_default().to_ascii_lowercase()
    }

    /// Whether the caller asked for this content type.
    pub(super) fn accepts(&self, content_type: &str) -> bool {
        self.accept().contains(content_type)
    }

    /// Whether `text/plain` stands alone in `Accept`, or before `application/json`.
    pub(super) fn prefers_text(&self) -> bool {
        let accept = self.accept();
        let json = accept.find("application/json").unwrap_or(usize::MAX);
        accept.find("text/plain").is_some_and(|text| text < json)
    }

    /// The project, if the caller may see it. Hidden and absent are the same answer.
    pub(super) fn project<'w>(
        &self,
        world: &'w World,
        name: &str,
        area: Area,
    ) -> Result<&'w Project, ServiceError> {
        world
            .project(name)
            .filter(|project| self.caller.permissions.projects.contains(&project.name))
            .ok_or_else(|| match area {
                Area::Build => ServiceError::project_hidden_from_build(name),
                Area::Other => ServiceError::project_hidden(name),
            })
    }

    pub(super) fn sees(&self, definition: &Definition) -> bool {
        self.caller.permissions.projects.contains(&definition.project)
            && !self
                .caller
                .permissions
                .hidden_definitions
                .contains(&definition.id)
    }

    /// The definition, if it is in the project and visible.
    pub(super) fn definition<'w>(
        &self,
        world: &'w World,
        project: &Project,
        id: u32,
    ) -> Option<&'w Definition> {
        world
            .definitions
            .get(&id)
            .filter(|definition| definition.project == project.name && self.sees(definition))
    }

    /// The definition by its id alone, if it is visible: the service does not compare the project of the address with
    /// the definition's [I].
    pub(super) fn definition_by_id<'w>(&self, world: &'w World, id: u32) -> Option<&'w Definition> {
        world
            .definitions
            .get(&id)
            .filter(|definition| self.sees(definition))
    }

    /// The build with its definition, if they are in the project and visible.
    pub(super) fn build<'w>(
        &self,
        world: &'w World,
        project: &Project,
        id: u32,
    ) -> Result<(&'w Build, &'w Definition), ServiceError> {
        let build = world.builds.get(&id);
        build
            .and_then(|build| Some((build, self.definition(world, project, build.definition)?)))
            .ok_or_else(|| ServiceError::build_not_found(id))
    }

    /// 403 with the permission's name, unless the caller has it.
    pub(super) fn require(
        &self,
        has: bool,
        permission: &str,
        definition: &Definition,
    ) -> Result<(), ServiceError> {
        if has {
            return Ok(());
        }
        Err(ServiceError::pipeline_permission(
            &self.caller.display_name,
            permission,
            &definition.label(),
            &definition.project,
        ))
    }

    /// Runs `read` with the state locked.
    pub(super) fn with<T>(&self, read: impl FnOnce(&mut State) -> T) -> T {
        read(&mut self.simulator.lock())
    }
}

/// A path segment that must be a number.
pub(super) fn number<T: FromStr>(name: &str, segment: &str) -> Result<T, ServiceError> {
    segment.parse().map_err(|_| {
        ServiceError::model(format!(
            "The request is invalid. The value '{segment}' is not valid for {name}."
        ))
    })
}

/// A request body that must be JSON; a byte order mark is forgiven.
pub(super) fn json_body(body: &[u8]) -> Result<Value, ServiceError> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    serde_json::from_slice(body).map_err(|error| {
        ServiceError::model(format!("The request is invalid. The body is not JSON: {error}"))
    })
}

/// An identity with everything the service sends along.
pub(super) fn identity_json(identity: &Identity) -> Value {
    json!({
        "displayName": identity.display_name,
        "url": format!("https://spsprodweu1.vssps.visualstudio.com/A0/_apis/Identities/{}", identity.id),
        "_links": {"avatar": {"href": format!("https://dev.azure.com/contoso/_apis/GraphProfile/MemberAvatars/aad.{}", identity.id)}},
        "id": identity.id,
        "uniqueName": identity.unique_name,
        "imageUrl": format!("https://dev.azure.com/contoso/_apis/GraphProfile/MemberAvatars/aad.{}", identity.id),
        "descriptor": format!("aad.{}", identity.id.replace('-', "")),
    })
}
