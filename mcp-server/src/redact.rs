//! Redacts secrets and mail addresses in text from pipelines. Azure DevOps masks only the secrets that it knows. This
//! module finds common shapes of others, and misses the rest: the user may read the log in a browser, but a model may
//! pass it on.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The text that replaces a secret.
pub(crate) const REDACTED: &str = "[redacted]";

struct Rule {
    pattern: Option<Regex>,
    /// The replacement. `$1` is the text in front of the secret.
    replacement: &'static str,
}

/// The shapes of secrets. The character classes are ASCII, as tokens are.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    [
        // A JSON Web Token.
        (r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?", REDACTED),
        // An Authorization header.
        (r"((?i-u:bearer|basic)[ ]+)[A-Za-z0-9._~+/=-]{12,}", "${1}[redacted]"),
        // Credentials in an address.
        (r"([A-Za-z][A-Za-z0-9+.-]*://)[^/@\t \x22']+@", "${1}[redacted]@"),
        // name=value and name: value, also quoted and in query strings.
        (
            r#"((?i-u:(?:password|passwd|secret|api[_-]?key|account[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|credential|connection[_-]?string)[A-Za-z0-9_]*|[?&;]sig|[?&;]code)["']?[ ]?[=:][ ]?["']?)[^ \t"';&,]{3,}"#,
            "${1}[redacted]",
        ),
        // Redacts a token, but not the `unexpected token: x` of a compiler.
        (
            r#"((?i-u:[A-Za-z0-9][_.-]?token[A-Za-z0-9_]*["']?[ ]?[=:]|["']token["'][ ]?:|\btoken=)[ ]?["']?)[^ \t"';&,]{3,}"#,
            "${1}[redacted]",
        ),
        // A password under its short name, but not a working folder.
        (r#"((?i-u:pwd)["']?[ ]?[=:][ ]?["']?)[^ /\t"';&,][^ \t"';&,]{2,}"#, "${1}[redacted]"),
        // Well-known prefixes: GitHub, GitLab, npm, Slack, AWS, Google.
        (
            r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{20,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,})",
            REDACTED,
        ),
        // Azure DevOps personal access tokens, of both generations.
        (r"\b(?:[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}|[a-z2-7]{52})\b", REDACTED),
    ]
    .into_iter()
    .map(|(pattern, replacement)| Rule { pattern: Regex::new(pattern).ok(), replacement })
    .collect()
});

/// The shape of a mail address.
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\b([A-Za-z0-9._%+-]+)@([A-Za-z0-9-]+\.)+[A-Za-z]{2,}\b").ok());

/// Redacts one line.
pub(crate) fn line(text: &str) -> String {
    let mut text = text.to_owned();
    for rule in RULES.iter() {
        if let Some(pattern) = &rule.pattern
            && pattern.is_match(&text)
        {
            text = pattern.replace_all(&text, rule.replacement).into_owned();
        }
    }
    match &*ADDRESS {
        Some(pattern) => pattern
            .replace_all(&text, |found: &Captures<'_>| match found.get(1) {
                // `git@host` is the address of a repository, not of a person.
                Some(user) if user.as_str() == "git" => found[0].to_owned(),
                _ => "[address]".to_owned(),
            })
            .into_owned(),
        None => text,
    }
}

/// Redacts lines, and private keys of several lines.
pub(crate) fn lines<'text>(lines: impl IntoIterator<Item = &'text str>) -> Vec<String> {
    let mut in_key = false;
    let mut redacted = Vec::new();
    for text in lines {
        if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
            in_key = !text.contains("-----END ");
            redacted.push(REDACTED.to_owned());
        } else if in_key {
            in_key = !text.contains("-----END ");
        } else if text.contains("-----END ") && text.contains("PRIVATE KEY-----") {
            // The key began before the first line.
            redacted = vec![REDACTED.to_owned()];
        } else {
            redacted.push(line(text));
        }
    }
    redacted
}

/// Cuts text at a number of characters and adds an ellipsis.
pub(crate) fn cut(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn every_pattern_compiles() {
        assert!(RULES.iter().all(|rule| rule.pattern.is_some()));
        assert!(ADDRESS.is_some());
    }

    #[rstest]
    #[case("curl -H 'Authorization: Bearer abcdefghijklmnop'", "abcdefghijklmnop")]
    #[case(
        "token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl end",
        "eyJzdWIiOiJ4In0"
    )]
    #[case("git clone https://ana:hunter2pat@dev.azure.com/contoso/shop", "hunter2pat")]
    #[case("export DB_PASSWORD=hunter2 && run", "hunter2")]
    #[case("Server=db;User=x;Pwd=hunter2;", "hunter2")]
    #[case("NPM_TOKEN: abc123def", "abc123def")]
    #[case(r#"{"token":"abc123def"}"#, "abc123def")]
    #[case("curl https://x.example/?token=abc123def", "abc123def")]
    #[case(r#"{"clientSecret": "s3cr3t-value"}"#, "s3cr3t-value")]
    #[case("https://x.blob.core.windows.net/c?sv=2024&sig=abcDEF%3D&se=1", "abcDEF")]
    #[case("AccountKey=Zm9vYmFyYmF6;EndpointSuffix=x", "Zm9vYmFyYmF6")]
    #[case("pushed with ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abc")]
    #[case("pat abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst", "abcdefghijkl")]
    #[case("author ana@contoso.example committed", "ana@contoso")]
    fn redacts(#[case] text: &str, #[case] secret: &str) {
        let redacted = line(text);
        assert!(!redacted.contains(secret), "{redacted}");
        assert_ne!(redacted, text);
    }

    #[rstest]
    #[case("error[E0308]: mismatched types at src/app.rs:99")]
    #[case("fetching git@github.com:contoso/shop.git")]
    #[case("using actions/checkout@v4 and left-pad@1.3.0")]
    #[case("sha 574271bb0c1d2e3f4a5b6c7d8e9f00112233aabb")]
    #[case("unexpected token `}` in expression")]
    #[case("line 3: unexpected token: identifier")]
    #[case("PWD=/home/vsts/work/1/s")]
    fn keeps_other_text(#[case] text: &str) {
        assert_eq!(line(text), text);
    }

    #[test]
    fn redacts_a_whole_private_key() {
        let text =
            "before\n-----BEGIN RSA PRIVATE KEY-----\nMIIabc\nMIIdef\n-----END RSA PRIVATE KEY-----\nafter";
        assert_eq!(lines(text.lines()), ["before", REDACTED, "after"]);
    }

    #[test]
    fn redacts_a_private_key_that_began_earlier() {
        assert_eq!(
            lines("MIIabc\nMIIdef\n-----END PRIVATE KEY-----\nafter".lines()),
            [REDACTED, "after"]
        );
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
