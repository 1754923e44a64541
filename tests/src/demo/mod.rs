//! `make demo`: everything from a cluster to two people calling tools, told as it happens.

mod binaries;
mod down;
mod error;
mod forwarder;
mod next_steps;
mod people;
mod place;
mod publish;
mod transcript;
mod up;

pub use binaries::build_images;
pub use down::down;
pub use error::DemoError;
pub use next_steps::next_steps;
pub use people::{play, text};
pub use publish::publish;
pub use transcript::{Call, Outcome, SignIn, Transcript};
pub use up::{Forwarding, Progress, Running, client, load_images, start, up};
