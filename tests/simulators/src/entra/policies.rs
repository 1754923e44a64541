//! Conditional Access as far as the simulator has it: policies by user or by application.

use serde_json::{Value, json};

use super::failure::Failure;
use super::model::{Demand, Policy, RequestKind, User};
use super::state::{Login, State};

impl State {
    /// Judges a user's request. `login` is where its tokens come from.
    pub(super) fn judge_user(
        &self,
        kind: RequestKind,
        user: &User,
        login: Option<&Login>,
    ) -> Result<(), Failure> {
        self.directory
            .policies
            .iter()
            .filter(|(name, _)| user.answers_to(name))
            .flat_map(|(_, policies)| policies)
            .filter(|policy| policy.at.contains(&kind))
            .try_for_each(|policy| judge(policy, login))
    }

    /// Judges the application's own sign-in.
    pub(super) fn judge_application(&self, client_id: &str) -> Result<(), Failure> {
        self.directory
            .policies
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(client_id))
            .flat_map(|(_, policies)| policies)
            .filter(|policy| policy.at.contains(&RequestKind::ClientCredentials))
            .try_for_each(|policy| judge(policy, None))
    }
}

fn judge(policy: &Policy, login: Option<&Login>) -> Result<(), Failure> {
    match &policy.demand {
        Demand::Claims {
            code,
            error,
            suberror,
            claims,
        } => {
            let demanded: Value = serde_json::from_str(claims).unwrap_or(Value::Null);
            let met = login.and_then(|login| login.claims.as_ref());
            if met.is_some_and(|met| contains(met, &demanded)) {
                return Ok(());
            }
            let failure = Failure::new(
                400,
                error,
                *code,
                "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access the resource.",
            )
            .claims(claims);
            Err(match suberror {
                Some(suberror) => failure.suberror(suberror),
                None => failure,
            })
        }
        Demand::Block => {
            let claims = json!({"access_token": {"capolids": {"essential": true,
                "values": ["53d70f2c-8e9b-4a35-9b34-6f3a6ad0d1fb"]}}});
            Err(Failure::invalid_grant(
                53_003,
                "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
            )
            .suberror("message_only")
            .claims(&claims.to_string()))
        }
        Demand::TokenProtection => Err(Failure::invalid_grant(
            530_084,
            "Access has been blocked by conditional access token protection policy configured by this organization.",
        )),
        Demand::FreshLogin { since } => {
            if login.is_some_and(|login| login.at >= *since) {
                return Ok(());
            }
            Err(Failure::invalid_grant(
                70_043,
                "The refresh token has expired or is invalid due to sign-in frequency checks by Conditional Access.",
            ))
        }
    }
}

/// Whether `whole` says everything that `part` says: a client may merge a challenge with other claims.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(name, value)| whole.get(name).is_some_and(|found| contains(found, value))),
        (Value::Array(whole), Value::Array(part)) => part.iter().all(|value| whole.contains(value)),
        _ => whole == part,
    }
}

/// Whether `claims` announces that the client understands claims challenges (`cp1`).
pub(super) fn announces_cp1(claims: Option<&Value>) -> bool {
    claims
        .and_then(|claims| claims.pointer("/access_token/xms_cc/values"))
        .and_then(Value::as_array)
        .is_some_and(|values| values.iter().any(|value| value == "cp1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_challenge_still_meets_the_demand() {
        let demanded = json!({"access_token": {"polids": {"values": ["a"]}}});
        let merged =
            json!({"access_token": {"polids": {"values": ["b", "a"]}, "xms_cc": {"values": ["cp1"]}}});
        assert!(contains(&merged, &demanded));
        assert!(announces_cp1(Some(&merged)));
    }

    #[test]
    fn another_challenge_does_not_meet_the_demand() {
        let demanded = json!({"access_token": {"polids": {"values": ["a"]}}});
        assert!(!contains(
            &json!({"access_token": {"polids": {"values": ["b"]}}}),
            &demanded
        ));
        assert!(!contains(&json!({"access_token": {}}), &demanded));
        assert!(!announces_cp1(Some(&demanded)));
    }
}
