//! Computes `Accepted`: whether the spec is valid and every child is applied.

use behalf_contract::Reason;

use super::{Finding, Status};
use crate::controller::validate::Refusals;

/// Computes the condition. `refusals` are the reasons why the object is refused.
pub(in crate::controller::status) fn judge(refusals: Option<&Refusals>) -> Finding {
    match refusals {
        Some(refusals) => Finding::new(Status::False, refusals.reason(), refusals.to_string()),
        None => Finding::new(
            Status::True,
            Reason::Accepted,
            "the spec is valid and everything it names exists",
        ),
    }
}
