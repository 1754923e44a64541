//! The answer of a route.

use axum::response::Response;

use crate::azure_devops::error::ServiceError;

pub(super) type Answer = Result<Response, ServiceError>;
