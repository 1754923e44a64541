//! A whole Behalf on a cluster: simulators, operator, two servers, and loopback ports that lead to them.
//!
//! The demo and the black-box suite stand on the same code and differ in names and ports only.

mod apply;
mod certificates;
mod error;
mod federation;
mod install;
mod layout;
mod ready;
mod redis;
mod remove;
mod servers;
mod simulators;

pub use apply::Objects;
pub use error::EnvironmentError;
pub use federation::create_federated_credential;
pub(crate) use install::image_values;
pub use install::{ImageReferences, install_operator};
pub use layout::{Layout, NAMESPACE_OPERATOR, NAMESPACE_SERVERS, NAMESPACE_SIMULATORS, Ports, Server};
pub use ready::{ConditionLine, Conditions, wait_for, wait_in};
pub use redis::apply_redis;
pub use remove::remove;
pub use servers::{apply_servers, render};
pub use simulators::{apply_simulators, wait_available};
