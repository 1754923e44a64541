//! `make demo`: starts a cluster, installs Behalf, signs three users in and calls the tools.
//!
//! The black-box suite uses the same code: [`environment`], [`forward`] and [`mcp_client`].

mod administration;
mod binaries;
mod calls;
mod down;
pub mod environment;
mod error;
mod failover;
pub mod forward;
mod forwarder;
mod internal_document;
mod kubeconfig;
pub mod mcp_client;
mod next_steps;
mod place;
mod progress;
mod publish;
mod running;
mod script;
mod sign_in;
mod transcript;
mod up;

pub use administration::Administration;
pub use binaries::{binary, build_images};
pub use calls::text;
pub use down::down;
pub use error::DemoError;
pub use failover::Failover;
pub use internal_document::{InternalDocumentError, document_at, internal_document};
pub use kubeconfig::kubeconfig;
pub use next_steps::next_steps;
pub use progress::Progress;
pub use publish::publish;
pub use running::Running;
pub use script::play;
pub use sign_in::{Call, Outcome, SignIn};
pub use transcript::Transcript;
pub use up::{Forwarding, kube_client, load_images, start, up};
