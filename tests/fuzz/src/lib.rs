//! Fuzz targets. Each binary passes libFuzzer's input to one function, which panics when a property does not hold.
//!
//! The functions for the sidecar are in `behalf_auth_sidecar::fuzzing`, which exists only with `--cfg fuzzing`. `make fuzz`
//! builds and runs all targets (`.ci/fuzz`).
