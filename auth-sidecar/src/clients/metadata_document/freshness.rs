//! Decides how long a metadata document is used before it is fetched again. Pure.

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use jiff::SignedDuration;

/// A document is used for at least this long, so that logins do not fetch it again and again.
pub(super) const MIN_FRESHNESS: SignedDuration = SignedDuration::from_mins(1);

/// A document is used for at most this long, so that a client can withdraw a redirect URI.
const MAX_FRESHNESS: SignedDuration = SignedDuration::from_hours(24);

/// Returns the `max-age` of the answer, within bounds. Without one, and with `no-store` or `no-cache`, it is the
/// lower bound.
pub(super) fn freshness(headers: &HeaderMap) -> SignedDuration {
    let directives = || {
        let values = headers.get_all(CACHE_CONTROL).iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        texts.flat_map(|text| text.split(',')).map(str::trim)
    };
    let is_refused = directives().any(|directive| {
        let name = directive.split('=').next().unwrap_or_default();
        name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache")
    });
    let max_age = directives().find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds: i64 = value.trim_matches('"').parse().ok()?;
        name.eq_ignore_ascii_case("max-age").then_some(seconds)
    });
    let wanted = max_age.filter(|_| !is_refused).unwrap_or_default();
    SignedDuration::from_secs(wanted).clamp(MIN_FRESHNESS, MAX_FRESHNESS)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::absent(&[], 60)]
    #[case::within_bounds(&["public, max-age=3600"], 3600)]
    #[case::upper_case(&["Max-Age=3600"], 3600)]
    #[case::quoted(&["max-age=\"3600\""], 3600)]
    #[case::too_short(&["max-age=0"], 60)]
    #[case::too_long(&["max-age=31536000"], 86_400)]
    #[case::longest_number(&["max-age=9223372036854775807"], 86_400)]
    #[case::beyond_64_bits(&["max-age=92233720368547758070"], 60)]
    #[case::negative(&["max-age=-1"], 60)]
    #[case::no_number(&["max-age=x"], 60)]
    #[case::no_store(&["max-age=3600, no-store"], 60)]
    #[case::no_cache(&["max-age=3600", "no-cache=\"x\""], 60)]
    fn the_lifetime_of_a_document_is_within_bounds(#[case] values: &[&'static str], #[case] seconds: i64) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, HeaderValue::from_static(value));
        }
        assert_eq!(freshness(&headers), SignedDuration::from_secs(seconds));
    }
}
