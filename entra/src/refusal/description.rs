//! Reduces `error_description` to text that a condition may show.

const MAX_LINE_LENGTH: usize = 400;

/// Returns the first line without words that may name a person or be a credential.
pub(super) fn first_line(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    let line = line.split("Trace ID:").next().unwrap_or_default();
    let mut kept = String::new();
    for word in line.split_whitespace() {
        if !kept.is_empty() {
            kept.push(' ');
        }
        if names_someone(word) {
            kept.push_str("[removed]");
        } else {
            kept.extend(word.chars().filter(|character| !character.is_control()));
        }
        if kept.len() > MAX_LINE_LENGTH {
            let end = kept.floor_char_boundary(MAX_LINE_LENGTH);
            kept.truncate(end);
            kept.push_str("...");
            break;
        }
    }
    kept
}

fn names_someone(word: &str) -> bool {
    let bare = word.trim_matches(|character: char| !character.is_ascii_alphanumeric() && character != ':');
    word.contains('@')
        || word.contains("eyJ")
        || bare.parse::<std::net::IpAddr>().is_ok()
        || bare.trim_end_matches(':').parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "AADSTS50034: The account ana@contoso.example is unknown",
        "AADSTS50034: The account [removed] is unknown"
    )]
    #[case(
        "AADSTS53003: blocked from 203.0.113.7.",
        "AADSTS53003: blocked from [removed]"
    )]
    #[case(
        "AADSTS53003: blocked from 2001:db8::7",
        "AADSTS53003: blocked from [removed]"
    )]
    #[case(
        "AADSTS1: token eyJhbGciOi was refused",
        "AADSTS1: token [removed] was refused"
    )]
    #[case("AADSTS2: first\r\nsecond", "AADSTS2: first")]
    #[case("AADSTS3: first Trace ID: 1f0c", "AADSTS3: first")]
    #[case(
        "AADSTS700211: No matching federated identity record found for presented assertion issuer \
         'https://westeurope.oic.prod-aks.azure.com/a/b/'.",
        "AADSTS700211: No matching federated identity record found for presented assertion issuer \
         'https://westeurope.oic.prod-aks.azure.com/a/b/'."
    )]
    fn the_description_keeps_the_cause_and_drops_names(#[case] given: &str, #[case] kept: &str) {
        assert_eq!(first_line(given), kept);
    }

    #[test]
    fn the_description_is_bounded() {
        assert!(first_line(&"wörd ".repeat(10_000)).len() <= MAX_LINE_LENGTH + 16);
        assert!(first_line(&"ö".repeat(10_000)).len() <= MAX_LINE_LENGTH + 16);
    }
}
