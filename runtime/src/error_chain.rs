//! An error with its causes, as one line of a log.

use std::error::Error;

/// The error's text and the text of each cause below it, joined with `: `.
///
/// Some libraries repeat a cause in their own text. The line has such a cause once.
pub fn error_chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.fold(error.to_string(), |line, cause| {
        let cause = cause.to_string();
        if line.ends_with(&cause) {
            line
        } else {
            format!("{line}: {cause}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to read the file")]
    struct Own(#[source] Library);

    #[derive(Debug, thiserror::Error)]
    #[error("input error: {0}")]
    struct Library(#[source] std::io::Error);

    #[test]
    fn each_cause_is_in_the_line_once() {
        let error = Own(Library(std::io::Error::other("no such file")));
        assert_eq!(
            error_chain(&error),
            "failed to read the file: input error: no such file"
        );
    }
}
