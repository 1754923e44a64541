//! The errors of Azure DevOps, as they look on the wire (azure-devops.md, section 10).

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

const FRAMEWORK: (&str, &str) = (
    "Microsoft.TeamFoundation.Framework.Server",
    "Microsoft.TeamFoundation.Framework.Server",
);
const BUILD: (&str, &str) = (
    "Microsoft.TeamFoundation.Build.WebApi",
    "Microsoft.TeamFoundation.Build2.WebApi",
);
const CORE: (&str, &str) = (
    "Microsoft.TeamFoundation.Core.WebApi",
    "Microsoft.TeamFoundation.Core.WebApi",
);
const PIPELINES: (&str, &str) = (
    "Microsoft.Azure.Pipelines.WebApi",
    "Microsoft.Azure.Pipelines.WebApi",
);
const RELEASE: (&str, &str) = (
    "Microsoft.VisualStudio.Services.ReleaseManagement.Data.Exceptions",
    "Microsoft.VisualStudio.Services.ReleaseManagement2.Data",
);
const WEB_API: (&str, &str) = (
    "Microsoft.VisualStudio.Services.WebApi",
    "Microsoft.VisualStudio.Services.WebApi",
);

/// An answer that says why not: one of the two JSON shapes of the service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("answer {status} {type_key}: {message}")]
pub(super) struct ServiceError {
    /// HTTP status.
    pub(super) status: StatusCode,

    /// The key by which a client tells errors apart. Empty: the wrapped shape that model binding answers with.
    pub(super) type_key: String,

    /// Namespace and assembly of the exception.
    namespace: (&'static str, &'static str),

    /// The sentence a person reads.
    pub(super) message: String,
}

impl ServiceError {
    fn new(
        status: StatusCode,
        type_key: &str,
        namespace: (&'static str, &'static str),
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            type_key: type_key.to_owned(),
            namespace,
            message: message.into(),
        }
    }

    /// An error of any kind, for faults that a test words itself.
    pub(super) fn scripted(status: StatusCode, type_key: &str, message: &str) -> Self {
        Self::new(status, type_key, FRAMEWORK, message)
    }

    /// 401 for a token that is missing, expired or refused.
    pub(super) fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UnauthorizedRequestException",
            FRAMEWORK,
            "TF400813: The user '' is not authorized to access this resource.",
        )
    }

    /// 401 for a good token of a tenant that the organization does not belong to.
    pub(super) fn foreign_tenant(organization_url: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UnauthorizedRequestException",
            FRAMEWORK,
            format!("VS30063: You are not authorized to access {organization_url}."),
        )
    }

    /// 401 for a user of the right tenant who never opened the organization in a browser.
    pub(super) fn never_signed_in(object_id: &str) -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "UnauthorizedRequestException",
            FRAMEWORK,
            format!(
                "TF401444: Sign in at least once as {object_id} in a web browser to enable access to the service."
            ),
        )
    }

    /// The build service says 400 for a project that is hidden or absent.
    pub(super) fn project_hidden_from_build(project: &str) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "ProjectDoesNotExistException",
            CORE,
            format!(
                "VS800075: The project with id '{project}' does not exist, or you do not have permission to access it."
            ),
        )
    }

    /// The other services say 404 for the same.
    pub(super) fn project_hidden(project: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "ProjectDoesNotExistWithNameException",
            CORE,
            format!(
                "TF200016: The following project does not exist: {project}. Check its name, and that it exists."
            ),
        )
    }

    /// 403 with the name of the missing permission on a pipeline.
    pub(super) fn pipeline_permission(user: &str, permission: &str, pipeline: &str, project: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            BUILD,
            format!(
                "TF215106: Access denied. {user} needs {permission} permissions for build pipeline {pipeline} in team project {project} to perform the action."
            ),
        )
    }

    /// 403 of the release service.
    pub(super) fn release_permission(user: &str, permission: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            RELEASE,
            format!("Access denied. {user} needs {permission} permissions to perform the action."),
        )
    }

    pub(super) fn build_not_found(id: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "BuildNotFoundException",
            BUILD,
            format!("The requested build {id} could not be found."),
        )
    }

    pub(super) fn definition_not_found(id: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "DefinitionNotFoundException",
            BUILD,
            format!("The build pipeline {id} could not be found."),
        )
    }

    pub(super) fn pipeline_not_found(id: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "PipelineNotFoundException",
            PIPELINES,
            format!("Pipeline with id {id} could not be found."),
        )
    }

    /// A thing of another kind that is not there.
    pub(super) fn not_found(type_key: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, type_key, BUILD, message)
    }

    /// 400 for a pipeline that would not compile with the given parameters.
    pub(super) fn pipeline_validation(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "PipelineValidationException",
            PIPELINES,
            message,
        )
    }

    /// 400 for a request that is well formed and still makes no sense.
    pub(super) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "VssPropertyValidationException",
            WEB_API,
            message,
        )
    }

    /// 400 for an `api-version` that is absent, unknown or lacks `-preview`.
    pub(super) fn version(type_key: &str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, type_key, WEB_API, message)
    }

    /// 400 in the wrapped shape: what model binding says about a value it cannot read.
    pub(super) fn model(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "", WEB_API, message)
    }

    /// 404 of a path that no controller serves.
    pub(super) fn no_controller(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "HttpException",
            ("System.Web", "System.Web"),
            format!("The controller for path '{path}' was not found or does not implement IController."),
        )
    }

    /// 405 in the wrapped shape.
    pub(super) fn no_method(method: &http::Method) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "",
            WEB_API,
            format!("The requested resource does not support http method '{method}'."),
        )
    }

    /// 429 body. The headers are the throttle's affair.
    pub(super) fn throttled(resource: &str) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "RequestBlockedException",
            FRAMEWORK,
            format!(
                "TF400733: The request has been canceled: Request was blocked due to exceeding usage of resource {resource} in namespace User ID."
            ),
        )
    }

    fn body(&self) -> Value {
        if self.type_key.is_empty() {
            return json!({"count": 1, "value": {"Message": self.message}});
        }
        let (namespace, assembly) = self.namespace;
        json!({
            "$id": "1",
            "innerException": null,
            "message": self.message,
            "typeName": format!("{namespace}.{}, {assembly}", self.type_key),
            "typeKey": self.type_key,
            "errorCode": 0,
            "eventId": 3000,
        })
    }
}

impl IntoResponse for ServiceError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body().to_string()).into_response();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        response
    }
}
