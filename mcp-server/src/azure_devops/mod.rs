//! A client of the Azure DevOps REST API, version 7.1.
//!
//! [`AzureDevOps`] is the client that all calls share. [`Call`] contains the requests of one tool call: it has
//! the user's token and the time that it may wait, and it handles refused tokens, throttling and outages.

mod answer_budget;
mod call;
mod challenge;
mod classify;
mod client;
pub(crate) mod date;
mod endpoints;
mod failure;
mod retry_budget;
pub(crate) mod scalar;
mod service_error;
mod transport;
pub(crate) mod wire;

pub(crate) use call::Call;
pub use client::{AzureDevOps, Options};
pub(crate) use endpoints::{BuildQuery, DeploymentQuery, Page, RunRequest};
pub(crate) use failure::Failure;
