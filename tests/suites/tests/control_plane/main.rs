//! Tests on a control plane of their own, without nodes: a real API server with the controllers of Deployments, and the operator
//! as a process. `.ci/test` runs them.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod pods;
#[cfg(test)]
mod world;

#[cfg(test)]
mod crd_chart;
#[cfg(test)]
mod fresh;
#[cfg(test)]
mod rollouts;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod webhook;
