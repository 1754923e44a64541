//! An error with its causes, as one line of a log.

use std::error::Error;

/// Returns the error's text and the text of each cause below it, joined with `: `.
///
/// Some libraries repeat a cause in their own text. The line has such a cause once.
pub fn error_chain(error: &dyn Error) -> String {
    error_chain_with(error, |_| None)
}

/// Returns the line of [`error_chain`] with some causes replaced: a text that `replace` returns for a cause stands for that
/// cause and all causes below it.
pub fn error_chain_with(
    error: &dyn Error,
    replace: impl Fn(&(dyn Error + 'static)) -> Option<String>,
) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let replaced = replace(cause);
        next = if replaced.is_some() { None } else { cause.source() };
        let text = replaced.unwrap_or_else(|| cause.to_string());
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
    }
    line
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
    fn a_replaced_text_stands_for_all_causes_below() {
        let error = Own(Library(std::io::Error::other("no such file")));
        let line = error_chain_with(&error, |cause| {
            cause.is::<Library>().then(|| "no input".to_owned())
        });
        assert_eq!(line, "failed to read the file: no input");
    }

    #[test]
    fn each_cause_is_in_the_line_once() {
        let error = Own(Library(std::io::Error::other("no such file")));
        assert_eq!(
            error_chain(&error),
            "failed to read the file: input error: no such file"
        );
    }
}
