//! Sends one request and reads its answer within size limits.

use behalf_entra::Secret;
use behalf_runtime::trace::{self, TRACEPARENT};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use super::answer_budget::Reserved;
use super::client::{self, AzureDevOps};
use super::failure::Failure;
use crate::metrics::Operation;

/// Maximum size of a JSON answer. A timeline of 2,750 records has 2.1 MB.
const MAX_JSON_BYTES: usize = 8 * 1024 * 1024;

/// Maximum number of objects and lists in a JSON answer. That timeline has about 8,000 objects.
const MAX_OBJECTS: usize = 64 * 1024;

/// Maximum number of bytes that are read of a log to find its end.
const MAX_LOG_BYTES: usize = 32 * 1024 * 1024;

/// Number of bytes that are kept of the end of a log.
const KEPT_TEXT: usize = 256 * 1024;

/// Maximum number of bytes that are read of an error.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// The kind of answer that the caller requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Json,
    Text,
}

/// A request to the API.
pub(super) struct Request<'request> {
    /// The endpoint, for metrics.
    pub(super) operation: Operation,
    pub(super) method: Method,
    pub(super) address: Url,
    pub(super) wanted: Wanted,
    pub(super) body: Option<&'request serde_json::Value>,
    /// Name of the project, for messages.
    pub(super) project: &'request str,
    /// Name of the requested resource, for messages.
    pub(super) what: &'request str,
}

impl Request<'_> {
    /// Returns true for a read. It changes nothing, so it may be repeated.
    pub(super) fn is_safe(&self) -> bool {
        self.method.is_safe()
    }
}

/// Sends a request with `token`.
pub(super) async fn transmit(
    client: &AzureDevOps,
    request: &Request<'_>,
    token: &Secret,
) -> Result<reqwest::Response, reqwest::Error> {
    let inner = &client.inner;
    let accept = match request.wanted {
        Wanted::Json => "application/json",
        Wanted::Text => "text/plain",
    };
    let mut builder = inner
        .http
        .client()
        .request(request.method.clone(), request.address.clone())
        .header(AUTHORIZATION, bearer(token))
        .header(ACCEPT, accept)
        .header(USER_AGENT, client::USER_AGENT);
    if inner.options.suppress_sign_in_page {
        builder = builder.header("x-tfs-fedauthredirect", "Suppress");
    }
    if let Some(body) = request.body {
        builder = builder.json(body);
    }
    let Some(trace) = trace::current() else {
        return builder.send().await;
    };
    // Neither path nor query: they contain arguments of the tool.
    let mut span = trace.child("azure_devops");
    span.set("http.request.method", trace::method_name(&request.method));
    span.set("server.address", request.address.host_str().unwrap_or_default());
    if let Some(value) = span.traceparent() {
        builder = builder.header(TRACEPARENT, value);
    }
    let sent = builder.send().await;
    match &sent {
        Ok(response) => {
            span.answered(response.status());
            span.set("azure_devops.activity_id", activity_id(response.headers()));
        }
        Err(error) if error.is_timeout() => span.fail("timeout"),
        Err(_) => span.fail("unreachable"),
    }
    sent
}

fn bearer(token: &Secret) -> HeaderValue {
    let text = format!("Bearer {}", token.expose());
    // Tokens are visible ASCII: the inner hop and the Azure CLI refuse others.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}

/// Returns the id by which Microsoft's support finds a request. The header `x-vss-userdata` beside it names
/// the user, so it is not read.
pub(super) fn activity_id(headers: &HeaderMap) -> &str {
    ["activityid", "x-vss-e2eid"]
        .iter()
        .find_map(|name| headers.get(*name)?.to_str().ok())
        .filter(|id| id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-'))
        .unwrap_or_default()
}

/// The body of an answer.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// True if bytes in front of a text, or behind an error, are missing.
    pub(super) cut: bool,
}

/// Reads a body within the size limits: JSON completely or not at all, the end of a text, the beginning of an
/// error. `taken` grows with it.
pub(super) async fn read(
    mut response: reqwest::Response,
    wanted: Wanted,
    success: bool,
    taken: &mut Reserved,
) -> Result<Body, Failure> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut total = 0_usize;
    let mut cut = false;
    while let Some(chunk) = response.chunk().await.map_err(Failure::Unreachable)? {
        total = total.saturating_add(chunk.len());
        taken.grow_to(bytes.len() + chunk.len())?;
        bytes.extend_from_slice(&chunk);
        match (success, wanted) {
            (false, _) if bytes.len() > MAX_ERROR_BYTES => {
                bytes.truncate(MAX_ERROR_BYTES);
                return Ok(Body { bytes, cut: true });
            }
            (true, Wanted::Json) if bytes.len() > MAX_JSON_BYTES => return Err(Failure::TooLarge),
            (true, Wanted::Text) => {
                if bytes.len() > 2 * KEPT_TEXT {
                    bytes.drain(..bytes.len() - KEPT_TEXT);
                    cut = true;
                }
                if total > MAX_LOG_BYTES {
                    return Err(Failure::TooLarge);
                }
            }
            _ => {}
        }
    }
    Ok(Body { bytes, cut })
}

/// Removes the UTF-8 byte order mark with which a body may begin.
pub(super) fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// Counts the objects and lists of a JSON text, which take more memory than their text once they are parsed if they are short:
/// serde reads a list as an object without names. More than [`MAX_OBJECTS`] are too large.
pub(super) fn count_objects(json: &[u8]) -> Result<usize, Failure> {
    let mut objects = 0;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => objects += 1,
            // The brace of a string is no object.
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
        if objects > MAX_OBJECTS {
            return Err(Failure::TooLarge);
        }
    }
    Ok(objects)
}

/// Moves behind the end of a string.
fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer_budget::OF_OBJECT;
    use super::super::wire::{Build, Deployment, Issue, Log, PreviousAttempt, Record, Run};
    use super::*;

    #[test]
    fn counts_objects_and_lists_outside_of_strings() {
        let json = br#"{"a": [{}, {"b{": "{\"[\\"}], "c": {"d": []}}"#;
        assert_eq!(count_objects(json).unwrap(), 6);
        assert_eq!(count_objects(b"\"{").unwrap(), 0, "a string without an end");
    }

    #[test]
    fn more_objects_than_are_read_are_too_large() {
        for empty in ["{}", "[]"] {
            let list = |length| format!("[{}]", vec![empty; length].join(","));
            let most = count_objects(list(MAX_OBJECTS - 1).as_bytes()).unwrap();
            assert_eq!(most, MAX_OBJECTS);
            let refused = count_objects(list(MAX_OBJECTS).as_bytes());
            assert!(matches!(refused, Err(Failure::TooLarge)), "{empty}");
        }
    }

    #[test]
    fn no_value_of_an_object_is_larger_than_the_memory_reserved_for_it() {
        let sizes = [
            size_of::<Build>(),
            size_of::<Deployment>(),
            size_of::<Issue>(),
            size_of::<Log>(),
            size_of::<PreviousAttempt>(),
            size_of::<Record>(),
            size_of::<Run>(),
        ];
        assert!(sizes.iter().all(|size| 2 * size <= OF_OBJECT), "{sizes:?}");
    }
}
