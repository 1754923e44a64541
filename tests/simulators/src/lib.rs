//! The simulators of Entra and Azure DevOps for tests and demo, the users that both know, and a browser that signs these
//! users in.

pub mod azure_devops;
pub mod certificates;
pub mod control;
pub mod embedded_json;
pub mod entra;
pub mod fixture_server;
pub mod keys;
pub mod listener;
pub mod people;
pub mod sign_in;
