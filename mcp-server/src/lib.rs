//! The MCP server for Azure DevOps: four tools that act with the rights of the signed-in user.
//!
//! | Subject | Where |
//! |---|---|
//! | The tools and the MCP server | `tools` |
//! | The layer in front of it inside a Pod, and the check of messages | [`hop`] |
//! | The client of the Azure DevOps REST API | [`azure_devops`] |
//! | The Azure CLI's login, for a laptop | [`azure_cli`] |
//! | Configuration, flags, start and stop | [`config`], [`cli`], [`serve`] |

pub mod app;
pub mod azure_cli;
pub mod azure_devops;
pub mod cli;
pub mod config;
pub mod hop;
pub mod metrics;
pub mod probes;
mod redact;
pub mod serve;
mod stdio;
mod token;
mod tools;
