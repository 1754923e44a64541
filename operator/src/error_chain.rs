//! An error with its causes in one line. The API server's own message replaces the text of kube's error, which
//! repeats its cause. If the operator lacks a right, the line ends with what to do.

use behalf_runtime::error_chain_with;
use kube::core::Status;

/// The next step for an administrator whose operator lacks a right.
pub const GRANT_RIGHTS: &str = "run helm upgrade with the operator's chart, which grants its rights again";

/// Returns whether the API server refused a request because the operator lacks a right. It also answers 403 for quotas,
/// admission, and namespaces that are being deleted.
pub fn lacks_right(status: &Status) -> bool {
    status.is_forbidden() && status.message.contains("User \"") && status.message.contains(" cannot ")
}

/// Returns whether a missing right caused the error.
pub fn is_missing_right(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(kube::Error::Api(status)) = of_kube(error) {
            return lacks_right(status);
        }
        next = error.source();
    }
    false
}

fn of_kube<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e kube::Error> {
    error
        .downcast_ref::<kube::Error>()
        .or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref))
}

/// Returns the error's text and the text of each cause, joined with `: `.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    error_chain_with(error, |cause| {
        Some(match of_kube(cause)? {
            kube::Error::Api(status) if lacks_right(status) => {
                format!(
                    "{}; the operator lacks this right: {GRANT_RIGHTS}, or grant this one to the account that the message names",
                    status.message
                )
            }
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to apply Deployment azure-devops")]
    struct Failed(#[source] Box<kube::Error>);

    #[test]
    fn the_api_servers_message_is_in_the_line_once() {
        let status = kube::core::Status::failure("deployments.apps is forbidden", "Forbidden")
            .with_code(403)
            .boxed();
        assert_eq!(
            chain(&Failed(Box::new(kube::Error::Api(status)))),
            "failed to apply Deployment azure-devops: deployments.apps is forbidden"
        );
    }

    #[test]
    fn the_line_about_a_missing_right_says_what_to_do() {
        let message = "deployments.apps is forbidden: User \"system:serviceaccount:behalf-system:behalf\" cannot create resource \
                       \"deployments\" in API group \"apps\" in the namespace \"mcp\"";
        let status = kube::core::Status::failure(message, "Forbidden")
            .with_code(403)
            .boxed();
        let error = Failed(Box::new(kube::Error::Api(status)));
        assert!(is_missing_right(&error));
        let text = chain(&error);
        assert!(
            text.contains(message) && text.ends_with("grant this one to the account that the message names"),
            "{text}"
        );
    }
}
