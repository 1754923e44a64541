//! The audit log: each event's line with its exact fields, through the public router and the product's own logging.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
#[path = "../oauth_server/answer.rs"]
#[expect(dead_code, reason = "the tests of the authorization server use the rest")]
mod answer;
#[cfg(test)]
#[path = "../oauth_server/breakable_store.rs"]
#[expect(dead_code, reason = "the tests of the authorization server use the rest")]
mod breakable_store;
#[cfg(test)]
mod calls;
#[cfg(test)]
#[path = "../oauth_server/configuration.rs"]
mod configuration;
#[cfg(test)]
#[path = "../proxy/fake_server.rs"]
#[expect(dead_code, reason = "the tests of the proxy use the rest")]
mod fake_server;
#[cfg(test)]
#[path = "../oauth_server/fixture.rs"]
#[expect(dead_code, reason = "the tests of the authorization server use the rest")]
mod fixture;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod logins;
#[cfg(test)]
#[path = "../support/nginx.rs"]
#[expect(
    dead_code,
    reason = "the tests of the authorization server and of the proxy use it"
)]
mod nginx;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod traces;
