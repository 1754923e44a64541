//! Computes `Accepted`: whether the spec is valid and every child is applied.

use behalf_contract::Reason;

use super::{ConditionValue, Status};
use crate::controller::validate::Refusals;

/// Computes the condition. `refusals` are the reasons why the object is refused.
pub(in crate::controller::status) fn condition(refusals: Option<&Refusals>) -> ConditionValue {
    match refusals {
        Some(refusals) => ConditionValue::new(Status::False, refusals.reason(), refusals.to_string()),
        None => ConditionValue::new(
            Status::True,
            Reason::Accepted,
            "the spec is valid and everything it names exists",
        ),
    }
}
