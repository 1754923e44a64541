//! What takes the place of Entra and Azure DevOps in tests and in the demo: their simulators, the people that both
//! know, and a browser that signs these people in.

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
