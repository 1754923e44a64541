//! The authorization server through its router, and whole logins against the Entra simulator.

// `cfg(test)` tells the lints that the helpers are test code, too.
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod entra_refresh;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod login;
#[cfg(test)]
mod metadata;
#[cfg(test)]
mod pages;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod register;
#[cfg(test)]
mod scopes;
#[cfg(test)]
mod token;
