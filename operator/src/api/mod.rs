//! The custom resource: its types and its CRD. It uses no client and no clock.

pub mod crd;
pub mod v1alpha1;
