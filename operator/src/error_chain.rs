//! An error with its causes in one line. The API server's own message replaces the text of kube's error, which
//! repeats its cause.

/// Returns the error's text and the text of each cause, joined with `: `.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error
            .downcast_ref::<kube::Error>()
            .or_else(|| error.downcast_ref::<Box<kube::Error>>().map(AsRef::as_ref))
        {
            text.push_str(": ");
            match error {
                kube::Error::Api(status) => text.push_str(&status.message),
                other => text.push_str(&other.to_string()),
            }
            break;
        }
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
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
}
