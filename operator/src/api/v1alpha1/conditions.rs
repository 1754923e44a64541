//! The types of conditions, and how to find one in a list.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

behalf_contract::wire_names! {
    /// A condition's type, in the order in which a status lists them.
    pub enum ConditionType {
        /// Accepted, Available, FederationVerified, Verified and, with `spec.route`, RouteReady have been True at this generation, and none is False now.
        Ready,
        /// The spec is valid, and everything that it names exists.
        Accepted,
        /// Enough Pods serve the current configuration.
        Available,
        /// Entra accepted the ServiceAccount's token as the application.
        FederationVerified,
        /// The MCP server answered a handshake and listed its tools.
        Verified,
        /// Each Gateway accepted the `HTTPRoute`. Present only with `spec.route`.
        RouteReady,
        /// Azure DevOps names the tenant of `spec.entra.tenantId` for the organization. Present only with
        /// `spec.server.azureDevOps`.
        TenantMatches,
        /// A user signed in, and Entra exchanged the user's token.
        UserSignIn,
        /// Sessions survive a restart.
        SessionsDurable,
        /// Every ready Pod has loaded the declared revocations.
        RevocationsInForce,
        /// The Pods are those of an earlier release or of earlier settings of the operator, and wait for the rollouts of other
        /// objects. Present only while true.
        UpdatePending,
        /// A rollout is in progress, or a step failed repeatedly. Present only while true.
        Reconciling,
        /// The object stays refused until it is edited. Present only while true.
        Stalled,
    }
}

behalf_contract::wire_names! {
    /// A condition's status.
    pub enum Status {
        /// The operator observed what the condition says.
        True,
        /// The operator observed the contrary.
        False,
        /// The operator observed neither.
        Unknown,
    }
}

/// Returns the condition of a type.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// Returns whether the condition of a type has a status.
pub fn is(conditions: &[Condition], kind: ConditionType, status: Status) -> bool {
    find(conditions, kind).is_some_and(|condition| condition.status == status.as_str())
}

/// Returns whether two lists contain the same conditions, in any order.
pub fn conditions_equal(left: &[Condition], right: &[Condition]) -> bool {
    left.len() == right.len() && left.iter().all(|condition| right.contains(condition))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_type_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conditions.md");
        let text = std::fs::read_to_string(path).unwrap();
        for kind in ConditionType::ALL {
            let name = kind.as_str();
            assert!(
                text.contains(&format!("`{name}`")),
                "docs/conditions.md does not explain {name}"
            );
        }
    }
}
