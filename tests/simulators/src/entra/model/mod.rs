//! The inputs of the simulator: directory, policies, faults and settings. These are
//! the documents of the control port.

mod application;
mod directory;
mod fault;
mod policy;
mod request;

pub use self::application::{Application, FEDERATED_AUDIENCE, FederatedCredential, IssuerAccess};
pub use self::directory::{Consent, DORA, Directory, EMIL, Settings, User};
pub use self::fault::{Effect, Fault};
pub use self::policy::{Demand, Policy};
pub use self::request::RequestKind;
