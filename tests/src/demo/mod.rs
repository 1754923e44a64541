//! `make demo`: everything from a cluster to three people calling tools, told as it happens.

mod binaries;
mod down;
mod error;
mod forwarder;
mod kubeconfig;
mod next_steps;
mod people;
mod place;
mod progress;
mod publish;
mod transcript;
mod up;

pub use binaries::{binary, build_images};
pub use down::down;
pub use error::DemoError;
pub use kubeconfig::kubeconfig;
pub use next_steps::next_steps;
pub use people::{play, text};
pub use progress::Progress;
pub use publish::publish;
pub use transcript::{Call, Outcome, SignIn, Transcript};
pub use up::{Forwarding, Running, client, load_images, start, up};
