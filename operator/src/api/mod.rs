//! The custom resource: what users write and read. No client, no clock.

pub mod crd;
pub mod v1alpha1;
