//! Decodes the answers that clients received into text that can be searched.

use behalf_auth_sidecar::keys::Purpose;
use behalf_auth_sidecar::proxy::SESSION_ID_PREFIX;

use crate::ensure;
use crate::world::TestResult;

/// The bytes of one connection without the framing of chunks, which may cut a value in two.
///
/// Fails for answers that are compressed: nothing would be found in them.
pub(crate) fn text(bytes: &[u8]) -> TestResult<String> {
    let raw = String::from_utf8_lossy(bytes);
    ensure!(
        !raw.to_ascii_lowercase().contains("\r\ncontent-encoding:"),
        "an answer is compressed: the search would prove nothing"
    );
    let mut text = String::with_capacity(raw.len());
    let mut joined = true;
    for line in raw.split("\r\n") {
        let is_length = (1..=8).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_length {
            if !joined {
                text.push('\n');
            }
            text.push_str(line);
        }
        joined = is_length;
    }
    Ok(text)
}

/// The values of all cookies that were set.
pub(crate) fn cookies(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let pair = value.split(';').next()?.trim();
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| pair.split_once('=').map(|(_, value)| value))?
    })
}

/// The kinds of values that the sidecar seals, with the prefix and the number of parts of each. Ids of clients are no secret:
/// each authorize URL contains one.
fn kinds() -> impl Iterator<Item = (&'static str, String, usize)> {
    let of_keyring = Purpose::ALL
        .into_iter()
        .filter(|purpose| *purpose != Purpose::Client);
    let of_keyring = of_keyring.map(|purpose| (kind(purpose), format!("{}.", purpose.prefix()), 3));
    of_keyring.chain([("MCP session id", SESSION_ID_PREFIX.to_owned(), 2)])
}

fn kind(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Access => "access token",
        Purpose::Refresh => "refresh token",
        other => other.name(),
    }
}

/// Everything sealed in a text: what it is, and the value.
pub(crate) fn sealed(text: &str) -> impl Iterator<Item = (&'static str, &str)> {
    let is_part = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    kinds().flat_map(move |(kind, prefix, parts)| {
        let values = text.match_indices(&*prefix).filter_map(|(at, _)| {
            let (before, rest) = text.split_at(at);
            let end = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
            let value = &rest[..end];
            let is_whole =
                !before.ends_with(is_part) && value.split('.').count() == parts && value.len() > 40;
            is_whole.then_some((kind, value))
        });
        values.collect::<Vec<_>>()
    })
}
