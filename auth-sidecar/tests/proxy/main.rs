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
mod entra_bearers;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod fake_server;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod injection;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod lost_write;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod moved_clock;
#[cfg(test)]
#[path = "../support/nginx.rs"]
mod nginx;
#[cfg(test)]
mod probes;
#[cfg(test)]
#[path = "../support/redis_entra_checker.rs"]
#[expect(dead_code, reason = "the tests of the store use the rest")]
mod redis_entra_checker;
#[cfg(test)]
#[path = "../support/redis_failover.rs"]
mod redis_failover;
#[cfg(test)]
mod redis_identity;
#[cfg(test)]
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "the tests of the store use the rest")]
mod redis_server;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod revocation;
#[cfg(test)]
mod sealed_tokens;
#[cfg(test)]
mod second_try;
#[cfg(test)]
mod server_sessions;
#[cfg(test)]
mod shared_downstream;
#[cfg(test)]
mod start_and_stop;
#[cfg(test)]
mod stolen_store;
#[cfg(test)]
mod store_outage;
#[cfg(test)]
mod tenant;
#[cfg(test)]
mod tool_error;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod world;
