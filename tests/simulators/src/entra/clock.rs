//! The machine's clock: the one place of the simulator that reads it.

use jiff::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "the edge: everything else takes the time as a value"
)]
pub(super) fn system_now() -> Timestamp {
    Timestamp::now()
}
