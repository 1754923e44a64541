//! A thin client of the Azure DevOps REST API, version 7.1.
//!
//! [`AzureDevOps`] holds what all calls share. [`Call`] is one tool call of one user: it carries the token,
//! the budget of time to wait, and every rule of the service that does not fit a status code.

mod answer_budget;
mod call;
pub(crate) mod date;
mod endpoints;
mod error;
mod failure;
mod patience;
mod service;
pub(crate) mod wire;

pub(crate) use call::Call;
pub(crate) use endpoints::{BuildQuery, DeploymentQuery, Page, RunRequest};
pub(crate) use error::Failure;
pub use service::{AzureDevOps, Options};
