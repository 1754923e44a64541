//! Builds messages that hide JSON inside JSON, in the form that `serde_json` treats as embedded text: an
//! object whose first key is [`KEY`]. `serde_json::Value` parses that text with a new recursion limit.

/// The key of `serde_json`'s feature `raw_value`.
pub const KEY: &str = "$serde_json::private::RawValue";

/// Brackets around each level: a level uses up most of the recursion limit of 128.
const BRACKETS: usize = 60;

/// Returns JSON that hides `json`.
pub fn hide(json: &str) -> String {
    hide_behind(KEY, json)
}

/// Returns JSON that hides `json` behind another spelling of the key.
pub fn hide_behind(key: &str, json: &str) -> String {
    format!(r#"{{"{key}":"{}"}}"#, escape(json))
}

/// Returns hidden JSON with the maximum number of levels that fit into `longest` bytes. Each level adds five
/// bytes to an escape instead of doubling it, so 88 KB contain about 90 levels.
pub fn nested(longest: usize) -> String {
    let mut json = "0".to_owned();
    loop {
        let next = format!("{}{}{}", "[".repeat(BRACKETS), hide(&json), "]".repeat(BRACKETS));
        if next.len() > longest {
            return json;
        }
        json = next;
    }
}

/// Returns a text of at most `longest` bytes that hides the maximum number of small objects.
pub fn many_values(longest: usize) -> String {
    let objects = vec![r#"{"":0}"#; longest / escape(r#"{"":0},"#).len()];
    hide(&format!("[{}]", objects.join(",")))
}

/// Returns `json` escaped as the content of a JSON string.
fn escape(json: &str) -> String {
    json.replace('\\', r"\u005c").replace('"', r"\u0022")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_json_is_parsed_as_embedded_text() {
        for text in [
            hide(r#"{"a":"\n"}"#),
            hide_behind(r"\u0024serde_json::private::RawValue", "[1]"),
        ] {
            let object: std::collections::BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
            let hidden = &object[KEY];
            assert!([r#"{"a":"\n"}"#, "[1]"].contains(&hidden.as_str()), "{hidden}");
        }
    }

    #[test]
    fn texts_are_about_as_long_as_asked_for() {
        for text in [nested(88_000), many_values(88_000)] {
            assert!((80_000..=88_100).contains(&text.len()), "{}", text.len());
        }
    }
}
