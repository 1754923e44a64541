//! The proxy and the probes from outside: through the public router, or as a whole sidecar on loopback, between
//! the Entra simulator and a server that notes what it was sent.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod answers;
#[cfg(test)]
mod connections;
mod counting;
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
mod world;
