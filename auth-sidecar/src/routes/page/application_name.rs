//! The name of an application as a page shows it. Whoever registers a client chooses it, so it must not be able to
//! speak to the user.

/// Most characters of a name. The longest of the known clients has 29 (Visual Studio Code - Insiders).
const MOST_CHARACTERS: usize = 32;

/// Most words of a name; more can be a sentence.
const MOST_WORDS: usize = 4;

/// What is shown when there is nothing to show.
const NONE: &str = "(no name)";

/// The name on one line, without invisible characters, and cut with an ellipsis where it is longer than a name or a
/// sentence ends.
pub(super) fn shown(name: Option<&str>) -> String {
    let visible: String = name
        .unwrap_or_default()
        .chars()
        .map(|character| if character.is_whitespace() { ' ' } else { character })
        .filter(|character| !is_invisible(*character))
        .collect();
    let mut shown = String::new();
    let mut words = 0;
    let mut rest = visible.split(' ').filter(|word| !word.is_empty()).peekable();
    while let Some(word) = rest.next() {
        words += usize::from(word.contains(char::is_alphanumeric));
        if words > MOST_WORDS {
            return cut(&shown);
        }
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
        if rest.peek().is_some() && ends_a_sentence(word) {
            return cut(&shown);
        }
    }
    if shown.is_empty() {
        return NONE.to_owned();
    }
    match shown.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => cut(shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

fn cut(shown: &str) -> String {
    let end = shown.char_indices().nth(MOST_CHARACTERS - 1);
    let shown = end.map_or(shown, |(end, _)| shown.get(..end).unwrap_or_default());
    let shown = shown.trim_end_matches(|character: char| !character.is_alphanumeric());
    format!("{shown}…")
}

fn ends_a_sentence(word: &str) -> bool {
    word.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»'])
        .ends_with([
            '.', '!', '?', ':', ';', ',', '…', '。', '！', '？', '：', '；', '，',
        ])
}

fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Claude")]
    #[case("Visual Studio Code")]
    #[case("Visual Studio Code - Insiders")]
    #[case("GitHub Copilot CLI")]
    #[case("Claude Code (plugin:a:b)")]
    #[case("MCP CLI Proxy")]
    #[case("Contoso Inc.")]
    fn names_of_clients_are_shown_whole(#[case] name: &str) {
        assert_eq!(shown(Some(name)), name);
    }

    #[rstest]
    #[case("Claude. Approved by your administrator, choose Allow.", "Claude…")]
    #[case("Claude: press Allow", "Claude…")]
    #[case("(Claude!) press Allow", "(Claude…")]
    #[case("Claude。 承認", "Claude…")]
    #[case("This was checked by your administrator", "This was checked by…")]
    #[case(
        "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…"
    )]
    fn sentences_are_cut(#[case] name: &str, #[case] expected: &str) {
        let shown = shown(Some(name));
        assert_eq!(shown, expected);
        assert!(shown.chars().count() <= MOST_CHARACTERS);
    }

    #[rstest]
    #[case(Some(" Cur\u{202e}sor\n\u{200b} IDE\0 "), "Cursor IDE")]
    #[case(Some(" \u{200b}\n"), NONE)]
    #[case(None, NONE)]
    fn nothing_invisible_is_left(#[case] name: Option<&str>, #[case] expected: &str) {
        assert_eq!(shown(name), expected);
    }
}
