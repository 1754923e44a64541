//! Reasons for administrators and users: of the condition `FederationVerified`, and of a refused sign-in.

mod federation;
mod sign_in;

pub use federation::{FederationFinding, FederationReason, Verdict};
pub use sign_in::SignInReason;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use behalf_contract::Reason;

    use super::*;

    /// A condition's reason, as Kubernetes validates it.
    fn is_camel_case(text: &str) -> bool {
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|character| character.is_ascii_alphanumeric())
    }

    #[test]
    fn every_reason_has_a_unique_name_and_a_sentence() {
        let federation = FederationReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), reason.fix()));
        let sign_in = SignInReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), reason.hint()));
        for table in [federation.collect::<Vec<_>>(), sign_in.collect()] {
            let names: HashSet<_> = table.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), table.len());
            for (name, sentence) in &table {
                assert!(is_camel_case(name), "{name}");
                assert!(
                    sentence.len() > 20 && sentence.contains('.'),
                    "{name}: {sentence}"
                );
                assert!(!sentence.contains("  "), "{name}: {sentence}");
            }
        }
    }

    /// A server from an image of the object's author may call any API.
    #[test]
    fn no_text_takes_the_api_for_azure_devops() {
        let federation = FederationReason::ALL.iter().map(|reason| reason.fix());
        let sign_in = SignInReason::ALL
            .iter()
            .flat_map(|reason| [Some(reason.hint()), reason.fix()]);
        for text in federation.chain(sign_in.flatten()) {
            let without_examples = text.replace("for Azure DevOps)", "");
            assert!(!without_examples.contains("Azure DevOps"), "{text}");
        }
    }

    #[test]
    fn every_reason_of_a_condition_is_one_of_the_contract() {
        for reason in FederationReason::ALL {
            assert!(Reason::parse(reason.as_str()).is_some(), "{reason:?}");
        }
        for reason in SignInReason::ALL {
            assert!(
                Reason::parse(reason.as_str()).is_some() || reason.fix().is_none(),
                "{reason:?}"
            );
        }
    }
}
