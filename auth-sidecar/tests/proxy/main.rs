//! The proxy and the probes, through the public router or as a whole sidecar on loopback. The Entra simulator and a
//! server that records its requests stand beside it.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod answers;
#[cfg(test)]
#[path = "../support/captured_log.rs"]
mod captured_log;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod counting;
#[cfg(test)]
mod declared_revocations;
#[cfg(test)]
mod embedded_json;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod moved_clock;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod second_try;
#[cfg(test)]
mod start_and_stop;
#[cfg(test)]
mod tool_error;
#[cfg(test)]
mod world;
