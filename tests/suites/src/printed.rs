//! Parses the output of a client's program. It finds the authorize URL, and removes the parameters of a
//! login.

use url::Url;

/// Returns the authorize URL in the output so far, once it is complete.
pub(crate) fn authorize_url(printed: &str) -> Option<Url> {
    let start = printed
        .find("/authorize?")
        .and_then(|at| printed[..at].rfind("http"))?;
    let rest = &printed[start..];
    let end = rest.find(|character: char| character.is_whitespace() || character.is_control())?;
    Url::parse(&rest[..end]).ok()
}

/// Returns the output for an error message, without the parameters of authorize URLs, because they belong to
/// a login.
pub(crate) fn without_parameters(printed: &str) -> String {
    let cut = |word: &str| {
        word.split_once("/authorize?")
            .map_or_else(|| word.to_owned(), |(base, _)| format!("{base}/authorize?..."))
    };
    printed.split_whitespace().map(cut).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_authorize_url_only_when_it_is_whole() {
        assert_eq!(authorize_url("Open http://localhost:1/authorize?state=a"), None);
        let url = authorize_url("Open \u{1b}[1m http://localhost:1/authorize?state=a\r\nor").unwrap();
        assert_eq!(url.as_str(), "http://localhost:1/authorize?state=a");
    }

    #[test]
    fn error_messages_hold_no_authorize_parameters() {
        assert_eq!(
            without_parameters("go http://h/authorize?state=s now"),
            "go http://h/authorize?... now"
        );
    }
}
