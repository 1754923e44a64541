//! The listener on real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on has failed"
)]

mod drain;
mod early_answers;
mod end;
mod full;
mod peer;
mod slow_readers;
mod support;
mod versions;
