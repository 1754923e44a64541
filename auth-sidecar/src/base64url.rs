//! The form of random values and digests in cookies, forms and files.

/// True for a text with the form of `length` bytes in base64url without padding.
pub(crate) fn is_base64url_of(length: usize, text: impl AsRef<[u8]>) -> bool {
    let text = text.as_ref();
    text.len() == (length * 4).div_ceil(3)
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(16, "AAAAAAAAAAAAAAAAAAAA_-", true)]
    #[case(16, "AAAAAAAAAAAAAAAAAAAA_", false)]
    #[case(16, "AAAAAAAAAAAAAAAAAAAA_-A", false)]
    #[case(16, "AAAAAAAAAAAAAAAAAAAA/+", false)]
    #[case(16, "AAAAAAAAAAAAAAAAAAAA==", false)]
    #[case(16, "", false)]
    #[case(32, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", true)]
    #[case(32, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjX\n", false)]
    #[case(32, "AAAAAAAAAAAAAAAAAAAA_-", false)]
    fn a_value_has_its_length_and_the_alphabet(
        #[case] length: usize,
        #[case] text: &str,
        #[case] is_form: bool,
    ) {
        assert_eq!(is_base64url_of(length, text), is_form);
    }
}
