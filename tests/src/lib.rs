//! What Behalf is tested and shown with: simulators of Entra and Azure DevOps, a local cluster and the
//! black-box suites.

pub mod azure_devops;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod conformance;
pub mod control;
pub mod demo;
pub mod embedded_json;
pub mod entra;
pub mod environment;
pub mod fixture_server;
pub mod forward;
pub mod header_proxy;
pub mod images;
pub mod inspector;
pub mod keys;
pub mod listener;
pub mod npm;
pub mod people;
mod printed;
pub mod sdk_client;
pub mod sign_in;
