//! The form of a token in a record. It is a quarter shorter than the text: the parts of a JWT and of Entra's refresh tokens
//! are base64url, and are stored as the bytes that they encode.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use behalf_entra::Secret;

/// The first byte of a part: its bytes are the text itself, or encode to it.
const TEXT: u8 = 0;
const ENCODED: u8 = 1;

/// The part is followed by a dot and a further part.
const MORE: u8 = 2;

/// Appends the token. Each part is its kind, its length and its bytes. `None` for a token with a part of 64 KiB or more.
pub(super) fn pack(token: &Secret, packed: &mut Vec<u8>) -> Option<()> {
    let mut rest = Some(token.expose());
    while let Some(text) = rest {
        let part;
        (part, rest) = match text.split_once('.') {
            Some((part, rest)) => (part, Some(rest)),
            None => (text, None),
        };
        let more = if rest.is_some() { MORE } else { 0 };
        // Decoding accepts only the text that encoding returns.
        match BASE64URL.decode(part) {
            Ok(bytes) => append(ENCODED | more, &bytes, packed)?,
            Err(_) => append(TEXT | more, part.as_bytes(), packed)?,
        }
    }
    Some(())
}

fn append(kind: u8, bytes: &[u8], packed: &mut Vec<u8>) -> Option<()> {
    packed.push(kind);
    packed.extend_from_slice(&u16::try_from(bytes.len()).ok()?.to_be_bytes());
    packed.extend_from_slice(bytes);
    Some(())
}

/// Reads a token. Returns it and the bytes after it.
pub(super) fn unpack(packed: &[u8]) -> Option<(Secret, &[u8])> {
    // A text that grows would leave copies of the token in memory.
    let mut token = String::with_capacity(longest_text(packed)?);
    let mut rest = packed;
    loop {
        let (kind, bytes);
        (kind, bytes, rest) = split_part(rest)?;
        match kind & !MORE {
            TEXT => token.push_str(std::str::from_utf8(bytes).ok()?),
            ENCODED => BASE64URL.encode_string(bytes, &mut token),
            _ => return None,
        }
        if kind & MORE == 0 {
            return Some((Secret::new(token), rest));
        }
        token.push('.');
    }
}

/// Returns a length that the text of the first token does not exceed: that of its bytes, each part as base64url with a dot.
fn longest_text(packed: &[u8]) -> Option<usize> {
    let (mut length, mut rest) = (0, packed);
    loop {
        let (kind, bytes);
        (kind, bytes, rest) = split_part(rest)?;
        length += bytes.len().div_ceil(3) * 4 + 1;
        if kind & MORE == 0 {
            return Some(length);
        }
    }
}

/// Returns the kind and the bytes of the first part, and the bytes after it.
fn split_part(packed: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, high, low], after) = packed.split_first_chunk()?;
    let (bytes, rest) = after.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((*kind, bytes, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(token: &str) -> Vec<u8> {
        let mut packed = Vec::new();
        pack(&Secret::new(token), &mut packed).unwrap();
        packed
    }

    #[test]
    fn every_token_is_equal_after_it_was_packed() {
        let tokens = [
            "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxIn0.c2lnbmF0dXJl",
            "0.AXkA_-8.AgABAwEAAAD",
            "1.AbcdE",
            "opaque token",
            "..",
            "a.",
            "",
            "AA==",
            // The last character has bits that no byte fills.
            "AB",
            "ü.é",
        ];
        for token in tokens {
            let mut bytes = packed(token);
            bytes.extend_from_slice(b"rest");
            let (again, rest) = unpack(&bytes).unwrap();
            assert_eq!((again.expose(), rest), (token, &b"rest"[..]), "{token}");
        }
    }

    #[test]
    fn a_packed_jwt_is_a_quarter_shorter() {
        let part = "abcd".repeat(100);
        let token = format!("{part}.{part}.{part}");
        assert_eq!(packed(&token).len(), 3 * (300 + 3));
    }

    #[test]
    fn other_bytes_are_no_token() {
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0",
            b"\0\0\x01",
            b"\x02\0\0",
            b"\x04\0\0",
            b"\0\0\x01\xff",
        ] {
            assert!(unpack(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn a_part_of_64_kib_is_not_packed() {
        let token = Secret::new("!".repeat(64 * 1024));
        assert!(pack(&token, &mut Vec::new()).is_none());
    }
}
