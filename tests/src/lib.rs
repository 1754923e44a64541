//! What Behalf is tested and shown with: simulators of Entra and Azure DevOps, a local cluster and the
//! black-box suites.

pub mod azure_devops;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod control;
pub mod demo;
pub mod entra;
pub mod environment;
pub mod forward;
pub mod images;
pub mod inspector;
pub mod keys;
pub mod listener;
pub mod people;
pub mod sign_in;
