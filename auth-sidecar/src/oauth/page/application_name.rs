//! The name of an application as a page shows it. Any client can register any name, so the name must not be able
//! to address the user.

/// Maximum number of characters of a name. The longest among known clients has 29 (Visual Studio Code -
/// Insiders).
const MAX_CHARACTERS: usize = 32;

/// Maximum number of words of a name. More words can form a sentence.
const MAX_WORDS: usize = 4;

/// Shown when the name has no visible characters.
const NONE: &str = "(no name)";

/// Returns the name on one line, without invisible characters. A name that is too long or contains the end of
/// a sentence is cut and gets an ellipsis.
pub(crate) fn shown(name: Option<&str>) -> String {
    let visible = visible(name.unwrap_or_default());
    let mut shown = String::new();
    let mut words = 0;
    let mut in_word = false;
    for character in visible.chars() {
        if character == ' ' && ends_a_sentence(&shown) {
            return cut(&shown);
        }
        // Every other character separates words, because a sentence needs no spaces: Checked-by-IT/press-Allow.
        let continues = character.is_alphanumeric() || is_combining(character);
        words += usize::from(continues && !in_word);
        in_word = continues;
        if words > MAX_WORDS {
            return cut(&shown);
        }
        shown.push(character);
    }
    if shown.is_empty() {
        return NONE.to_owned();
    }
    if shown.chars().count() > MAX_CHARACTERS {
        return cut(&shown);
    }
    shown
}

/// Reduces white space to single spaces, removes invisible characters, and keeps at most one combining mark
/// on each character.
fn visible(name: &str) -> String {
    let mut visible = String::new();
    let mut marked = true;
    for character in name.chars().filter(|character| !is_invisible(*character)) {
        if is_combining(character) {
            if !marked {
                visible.push(character);
            }
            marked = true;
        } else if !character.is_whitespace() {
            visible.push(character);
            marked = false;
        } else if !visible.is_empty() && !visible.ends_with(' ') {
            visible.push(' ');
            marked = true;
        }
    }
    visible.truncate(visible.trim_end().len());
    visible
}

fn cut(shown: &str) -> String {
    let end = shown.char_indices().nth(MAX_CHARACTERS - 1);
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
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

/// The Unicode blocks of combining marks. Without a limit the marks stack over the lines above and below.
fn is_combining(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}')
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
    #[case("Claude Code (plugin:a)")]
    #[case("MCP CLI Proxy")]
    #[case("Contoso Inc.")]
    fn names_of_clients_are_shown_whole(#[case] name: &str) {
        assert_eq!(shown(Some(name)), name);
    }

    #[rstest]
    #[case("Claude Code (plugin:a:b)", "Claude Code (plugin:a…")]
    #[case("Checked-by-IT/press-Allow", "Checked-by-IT/press…")]
    #[case(
        "Claude\u{2800}was\u{3164}checked\u{a0}by IT.Press Allow",
        "Claudewaschecked by IT.Press…"
    )]
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
        assert!(shown.chars().count() <= MAX_CHARACTERS);
    }

    #[rstest]
    #[case(Some(" Cur\u{202e}sor\n\u{200b} IDE\0 "), "Cursor IDE")]
    #[case(Some("\u{2800}\u{115f}\u{1160}\u{3164}\u{ffa0}\u{34f}\u{fe0f}"), NONE)]
    #[case(Some("\u{301}Cafe\u{301}\u{302}\u{303} x"), "Cafe\u{301} x")]
    #[case(Some(" \u{200b}\n"), NONE)]
    #[case(None, NONE)]
    fn invisible_characters_are_removed(#[case] name: Option<&str>, #[case] expected: &str) {
        assert_eq!(shown(name), expected);
    }
}
