//! Recognizes the ids of clients that registered themselves, and the labels that stand for them. Pure.

/// The start of every such id. The sidecar seals the registration into the rest.
const PREFIX: &str = "bhi1.";

/// The start of the label that stands for such an id in the audit log and in the list of sessions. 16 hexadecimal digits of
/// the id's SHA-256 follow.
pub const REGISTERED_CLIENT_LABEL: &str = "registered:";

/// Minimum length of the sealed part. The smallest registration has a few characters more. A page or a log line that
/// cuts ids shows less.
const MIN_SEALED_LENGTH: usize = 96;

/// True for a text that has the form of a whole id: prefix, id of the key, and the sealed registration in base64url.
pub fn is_registered_client_id(text: &str) -> bool {
    let parts = text.strip_prefix(PREFIX).and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(key, sealed)| {
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        is_key && sealed.len() >= MIN_SEALED_LENGTH && sealed.bytes().all(is_base64url)
    })
}

/// True for a text that has the form of a label.
pub fn is_registered_client_label(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix(REGISTERED_CLIENT_LABEL)
        .is_some_and(|digits| digits.len() == 16 && digits.bytes().all(is_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_id_has_the_form() {
        let sealed = "aA0-_".repeat(30);
        assert!(is_registered_client_id(&format!("bhi1.c9.{sealed}")));
        for text in [
            String::new(),
            "bhi1.c9.".to_owned(),
            format!("bhi1.c9.{}", "a".repeat(24)),
            format!("bhi1.c9.{sealed}…"),
            format!("bhi1.c9.{sealed}.a"),
            format!("bhi1..{sealed}"),
            format!("bha1.c9.{sealed}"),
            format!("bhi1.{sealed}"),
        ] {
            assert!(!is_registered_client_id(&text), "{text}");
        }
    }

    #[test]
    fn only_a_whole_label_has_the_form() {
        assert!(is_registered_client_label("registered:9f86d081884c7d65"));
        for text in [
            "registered:",
            "registered:9f86d081884c7d6",
            "registered:9f86d081884c7d650",
            "registered:9F86D081884C7D65",
            "registered:9f86d081884c7d6g",
            "9f86d081884c7d65",
        ] {
            assert!(!is_registered_client_label(text), "{text}");
        }
    }
}
