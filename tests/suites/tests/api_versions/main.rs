//! A second, served version of the API: it is added with `conversion: None` to the CRD of a real API server, and becomes the
//! stored one. Every object stays readable through both versions, and the operator, which knows the first one, goes on.
//!
//! No next version of Behalf exists. The test shows that one can be added: no field, rule or default of the present CRD, and no
//! request of the operator, is in its way. `.ci/test` runs this suite against a control plane of its own, without nodes.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod world;

#[cfg(test)]
mod versions;
