//! W3C Trace Context (`traceparent`), Level 1 and Level 2: parsed and written.

use std::fmt;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the trace context.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The bit of the flags that says that the caller recorded its span.
const SAMPLED: u8 = 1;

/// The id of a trace: 16 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub(super) [u8; 16]);

/// The id of a span: 8 bytes, not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpanId(pub(super) [u8; 8]);

/// A place in a trace: the trace, one span of it, and whether its spans are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl TraceContext {
    /// Parses the value of `traceparent`. Returns `None` for a value that must be ignored (W3C Trace Context, section
    /// 3.2.2). A version after 00 may have further fields.
    pub fn parse(value: &str) -> Option<Self> {
        let bytes = value.as_bytes();
        let (head, rest) = bytes.split_at_checked(55)?;
        let is_separated = [2, 35, 52].iter().all(|place| head.get(*place) == Some(&b'-'));
        let [version] = hex(head.get(..2)?)?;
        let is_whole = rest.is_empty() || (version > 0 && rest.starts_with(b"-"));
        if !is_separated || !is_whole || version == u8::MAX {
            return None;
        }
        let trace = hex::<16>(head.get(3..35)?).filter(|id| *id != [0; 16])?;
        let span = hex::<8>(head.get(36..52)?).filter(|id| *id != [0; 8])?;
        let [flags] = hex(head.get(53..)?)?;
        Some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & SAMPLED != 0,
        })
    }

    /// Returns the context that a request carries. Two headers are as good as none.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return None;
        };
        Self::parse(value.to_str().ok()?)
    }

    /// Returns the id of the trace.
    pub fn trace_id(&self) -> TraceId {
        self.trace
    }

    /// Returns the value of `traceparent`.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.to_string()).ok()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-", self.trace)?;
        write_hex(formatter, &self.span.0)?;
        write!(formatter, "-{:02x}", u8::from(self.sampled) * SAMPLED)
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(formatter, &self.0)
    }
}

fn write_hex(formatter: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

/// Reads lower-case hexadecimal digits. The standard forbids others.
fn hex<const LENGTH: usize>(digits: &[u8]) -> Option<[u8; LENGTH]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; LENGTH];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_survives_parsing_and_writing() {
        let context = TraceContext::parse(VALID).unwrap();
        assert_eq!(context.header().unwrap(), VALID);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let unsampled = VALID.replace("-01", "-00");
        assert_eq!(TraceContext::parse(&unsampled).unwrap().to_string(), unsampled);
    }

    #[rstest]
    #[case("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-future")]
    #[case("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03")]
    fn later_versions_and_flags_are_read(#[case] value: &str) {
        assert_eq!(TraceContext::parse(value), TraceContext::parse(VALID));
    }

    #[rstest]
    #[case("")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")]
    #[case("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more")]
    #[case("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
    #[case("00-00000000000000000000000000000000-00f067aa0ba902b7-01")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01")]
    #[case("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01")]
    #[case("00-ana@contoso.example.and.so.on.xx-00f067aa0ba902b7-01")]
    #[case("00-4bf92f3577b34da6a3ce929d0e0e473\u{e9}-00f067aa0ba902b7-01")]
    fn other_values_are_ignored(#[case] value: &str) {
        assert_eq!(TraceContext::parse(value), None);
    }

    #[test]
    fn two_headers_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceContext::of(&headers), TraceContext::parse(VALID));
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceContext::of(&headers), None);
    }
}
