//! The MCP client of the handshake probe. It sends `initialize`, `notifications/initialized` and `tools/list`.
//! To a server that knows only MCP 2026-07-28 it sends `server/discover` and `tools/list`. Its requests contain
//! the host key and no user's token, so that a server may refuse it every other method.

use std::time::Duration;

use axum::body::Body;
use behalf_contract::ServerInfo;
use behalf_contract::json::{self as foreign_json, JsonError};
use behalf_contract::mcp::{self, FIRST_STATELESS_REVISION};
use behalf_runtime::has_media_type;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::handshake_error::HandshakeError;
use super::sse::EventReader;
use crate::upstream::{AnswerBody, Upstream};

/// The newest MCP revision that begins with `initialize`.
const LEGACY: &str = "2025-11-25";

/// Maximum size of one answer in bytes. A list of tools with large schemas is many times smaller.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of JSON values of one answer. The schemas of thousands of tools have fewer.
const MAX_VALUES: usize = 100_000;

/// Maximum number of pages of `tools/list` that are read. A server may return a next page without end.
const MAX_PAGES: usize = 32;

/// Maximum length of the server's name and version in characters. The status shows them on one line.
const MAX_NAME_LENGTH: usize = 128;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(mcp::PROTOCOL_VERSION_HEADER);
const SESSION_ID: HeaderName = HeaderName::from_static(mcp::SESSION_ID_HEADER);
const MCP_METHOD: HeaderName = HeaderName::from_static(mcp::METHOD_HEADER);

/// The state of one handshake.
pub(super) struct McpClient<'a> {
    upstream: &'a Upstream,
    session: Option<HeaderValue>,
    version: Option<HeaderValue>,
    next_id: u64,
}

impl<'a> McpClient<'a> {
    pub(super) fn new(upstream: &'a Upstream) -> Self {
        Self {
            upstream,
            session: None,
            version: None,
            next_id: 1,
        }
    }

    /// Makes the handshake and counts the server's tools.
    pub(super) async fn handshake(&mut self) -> Result<ServerInfo, HandshakeError> {
        let initialize = json!({
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": client_info(),
        });
        match self.request("initialize", initialize, None).await {
            Ok(result) => self.legacy(&result).await,
            // A server that refuses `initialize` may know only the modern revision.
            Err(error @ (HandshakeError::Refused { .. } | HandshakeError::Status { .. })) => {
                self.modern().await.map_err(|_| error)
            }
            Err(error) => Err(error),
        }
    }

    async fn legacy(&mut self, initialized: &Value) -> Result<ServerInfo, HandshakeError> {
        let missing = |problem| HandshakeError::Malformed {
            method: "initialize",
            problem,
        };
        let agreed = text(&initialized["protocolVersion"]).ok_or_else(|| missing("no protocolVersion"))?;
        let name = text(&initialized["serverInfo"]["name"]).ok_or_else(|| missing("no serverInfo.name"))?;
        let version = text(&initialized["serverInfo"]["version"]).unwrap_or_default();
        self.version = HeaderValue::from_str(&agreed).ok();
        self.notify("notifications/initialized").await?;
        let tools = self.count_tools(None).await?;
        Ok(ServerInfo {
            name,
            version,
            protocol_version: agreed,
            tools,
        })
    }

    async fn modern(&mut self) -> Result<ServerInfo, HandshakeError> {
        self.version = Some(HeaderValue::from_static(FIRST_STATELESS_REVISION));
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": FIRST_STATELESS_REVISION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": client_info(),
        });
        let found = self.request("server/discover", json!({}), Some(&meta)).await?;
        let info = if found["serverInfo"].is_object() {
            &found["serverInfo"]
        } else {
            &found["_meta"]["io.modelcontextprotocol/serverInfo"]
        };
        let name = text(&info["name"]).unwrap_or_else(|| "unnamed server".to_owned());
        let version = text(&info["version"]).unwrap_or_default();
        let tools = self.count_tools(Some(&meta)).await?;
        Ok(ServerInfo {
            name,
            version,
            protocol_version: FIRST_STATELESS_REVISION.to_owned(),
            tools,
        })
    }

    async fn count_tools(&mut self, meta: Option<&Value>) -> Result<u32, HandshakeError> {
        let mut tools = 0_usize;
        let mut params = json!({});
        for _ in 0..MAX_PAGES {
            let page = self.request("tools/list", params, meta).await?;
            let Some(list) = page["tools"].as_array() else {
                return Err(HandshakeError::Malformed {
                    method: "tools/list",
                    problem: "no list of tools",
                });
            };
            tools += list.len();
            match page["nextCursor"].as_str() {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => break,
            }
        }
        Ok(u32::try_from(tools).unwrap_or(u32::MAX))
    }

    /// Sends a request and reads its result from a JSON body or an event stream.
    async fn request(
        &mut self,
        method: &'static str,
        mut params: Value,
        meta: Option<&Value>,
    ) -> Result<Value, HandshakeError> {
        let id = self.next_id;
        self.next_id += 1;
        if let Some(meta) = meta {
            params["_meta"] = meta.clone();
        }
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let response = self.post(method, &message).await?;
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(HandshakeError::AuthRequired { method });
        }
        if !status.is_success() {
            return Err(HandshakeError::Status { method, status });
        }
        if self.session.is_none() {
            self.session = response.headers().get(SESSION_ID).cloned();
        }
        let answer = read_answer(method, response, id).await?;
        if let Some(error) = answer.get("error") {
            return Err(HandshakeError::Refused {
                method,
                code: error["code"].as_i64().unwrap_or_default(),
            });
        }
        match answer {
            Value::Object(mut fields) => fields.remove("result").ok_or(HandshakeError::Malformed {
                method,
                problem: "neither result nor error",
            }),
            _ => Err(HandshakeError::Malformed {
                method,
                problem: "not an object",
            }),
        }
    }

    async fn notify(&mut self, method: &'static str) -> Result<(), HandshakeError> {
        let response = self
            .post(method, &json!({"jsonrpc": "2.0", "method": method}))
            .await?;
        let status = response.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(HandshakeError::Status { method, status })
        }
    }

    async fn post(
        &self,
        method: &'static str,
        message: &Value,
    ) -> Result<http::Response<AnswerBody>, HandshakeError> {
        let mut request = self.headed(Method::POST, Body::from(message.to_string()));
        request
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self
            .version
            .as_ref()
            .is_some_and(|version| version == FIRST_STATELESS_REVISION)
        {
            request
                .headers_mut()
                .insert(MCP_METHOD, HeaderValue::from_static(method));
        }
        tracing::trace!(mcp.method = method, "Handshake sends {method}");
        self.upstream
            .send(request)
            .await
            .map_err(|error| HandshakeError::Unreachable(error.into()))
    }

    /// Returns whether the server opened an MCP session.
    pub(super) fn has_session(&self) -> bool {
        self.session.is_some()
    }

    /// Ends the MCP session if the server opened one. Otherwise the probes would fill the server's memory.
    pub(super) async fn end_session(&self) {
        if self.session.is_some() {
            let request = self.headed(Method::DELETE, Body::empty());
            // Some servers refuse DELETE and end unused sessions themselves.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.upstream.send(request)).await;
        }
    }

    fn headed(&self, method: Method, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        let headers = request.headers_mut();
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        if let Some(version) = &self.version {
            headers.insert(PROTOCOL_VERSION, version.clone());
        }
        if let Some(session) = &self.session {
            headers.insert(SESSION_ID, session.clone());
        }
        request
    }
}

async fn read_answer(
    method: &'static str,
    response: http::Response<AnswerBody>,
    id: u64,
) -> Result<Value, HandshakeError> {
    let streamed = has_media_type(response.headers(), "text/event-stream");
    if !streamed && !has_media_type(response.headers(), "application/json") {
        return Err(HandshakeError::Malformed {
            method,
            problem: "neither JSON nor an event stream",
        });
    }
    let mut body = response.into_body();
    let mut events = EventReader::default();
    let mut whole = Vec::new();
    let mut size = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| HandshakeError::Unreachable(error.into()))?;
        let Ok(bytes) = frame.into_data() else { continue };
        size += bytes.len();
        if size > MAX_ANSWER_BYTES {
            return Err(HandshakeError::Malformed {
                method,
                problem: "larger than 4 MiB",
            });
        }
        if !streamed {
            whole.extend_from_slice(&bytes);
            continue;
        }
        for event in events.push(&bytes) {
            // rmcp opens its streams with an event that has an id and empty data.
            if event.is_empty() {
                continue;
            }
            let message = parse(method, event.as_bytes())?;
            // The server may send notifications before the answer.
            if is_answer(&message, id) {
                return Ok(message);
            }
        }
    }
    if streamed {
        return Err(HandshakeError::Malformed {
            method,
            problem: "the stream ended without an answer",
        });
    }
    let message = parse(method, &whole)?;
    if is_answer(&message, id) {
        Ok(message)
    } else {
        Err(HandshakeError::Malformed {
            method,
            problem: "an answer to another request",
        })
    }
}

/// Reads a message of the server. The server may be an untrusted image.
fn parse(method: &'static str, message: &[u8]) -> Result<Value, HandshakeError> {
    let parsed = foreign_json::parse(message, MAX_VALUES).map_err(|error| HandshakeError::Malformed {
        method,
        problem: match error {
            JsonError::NotJson => "not JSON",
            JsonError::TooDeep => "JSON that is nested too deep",
            JsonError::TooManyValues(_) => "JSON with too many values",
            JsonError::ReservedKey => "JSON with a key that is reserved",
        },
    })?;
    Ok(parsed.value)
}

fn is_answer(message: &Value, id: u64) -> bool {
    message["id"].as_u64() == Some(id) && message.get("method").is_none()
}

fn client_info() -> Value {
    json!({"name": "behalf-auth-sidecar", "version": env!("CARGO_PKG_VERSION")})
}

/// Returns a text of the server as one line of at most [`MAX_NAME_LENGTH`] characters, for status and log.
fn text(value: &Value) -> Option<String> {
    let text: String = value
        .as_str()?
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME_LENGTH)
        .collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_bounded_line() {
        assert_eq!(text(&json!("a\nb")).as_deref(), Some("ab"));
        assert_eq!(text(&json!("x".repeat(1000))).unwrap().len(), MAX_NAME_LENGTH);
        assert_eq!(text(&json!("")), None);
        assert_eq!(text(&json!(7)), None);
    }
}
