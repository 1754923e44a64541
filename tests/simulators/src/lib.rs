//! The simulators of Entra and Azure DevOps for tests and demo, the users that both know, a browser that signs these
//! users in, a collector of traces, and a network plugin's decisions.

pub mod azure_devops;
pub mod certificates;
pub mod collector;
pub mod connect_proxy;
pub mod control;
pub mod embedded_json;
pub mod entra;
pub mod fixture_server;
pub mod keys;
pub mod listener;
pub mod network_policy;
pub mod people;
pub mod sign_in;
