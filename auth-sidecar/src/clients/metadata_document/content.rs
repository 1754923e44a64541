//! Reads the content of a metadata document. Pure.

use axum::http::{HeaderMap, StatusCode};
use behalf_contract::json::{self, JsonError};
use behalf_runtime::media_type;
use serde_json::Value;

use crate::clients::metadata::{MAX_NAME_BYTES, uses_code_grant};

/// Maximum size of a document in bytes, as the draft recommends (section 6.6).
pub(super) const MAX_DOCUMENT_BYTES: usize = 5 * 1024;

/// Maximum number of values in a document. The known ones have about 20, and keys of a few values each.
const MAX_VALUES: usize = 256;

/// The parts of a metadata document that this server uses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Document {
    /// The name of the client. It is untrusted text.
    pub(crate) name: Option<String>,

    /// The redirect URIs as the document has them. The caller checks them.
    pub(crate) redirect_uris: Vec<String>,
}

/// Why a document cannot be used. Only the log of this server contains it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DocumentError {
    #[error("too many documents are fetched at the moment")]
    Limited,

    #[error("failed to fetch it")]
    Fetch(#[source] Box<dyn std::error::Error + Send + Sync>),

    #[error("its host answered {0} instead of 200; redirects are not followed")]
    Status(StatusCode),

    #[error("its media type is neither application/json nor application/<name>+json")]
    MediaType,

    #[error("it is larger than {MAX_DOCUMENT_BYTES} bytes")]
    TooLarge,

    #[error("it is not usable JSON")]
    Json(#[from] JsonError),

    #[error("its client_id is not the address of the document")]
    ClientId,

    #[error("it contains a client secret, or its client authenticates with one")]
    Secret,

    #[error("its client_name is not a text of at most {MAX_NAME_BYTES} bytes")]
    Name,

    #[error("its redirect_uris is not a list of texts")]
    RedirectUris,

    #[error("its grant_types lack authorization_code, or its response_types lack code")]
    Grants,
}

impl DocumentError {
    /// True if the host was not asked, or answered for itself alone. Another answer withdraws the last good document.
    pub(super) fn says_nothing_about_the_document(&self) -> bool {
        match self {
            Self::Limited | Self::Fetch(_) => true,
            Self::Status(status) => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}

/// True for `application/json` and `application/<name>+json` (draft, section 4).
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = media_type(headers).unwrap_or_default().to_ascii_lowercase();
    let subtype = media_type.strip_prefix("application/");
    subtype.is_some_and(|subtype| subtype == "json" || subtype.strip_suffix("+json").is_some_and(is_name))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_whitespace)
}

impl Document {
    /// Parses the document at `url`. Members without a meaning for this server are ignored.
    ///
    /// A document may offer `private_key_jwt`. This server offers only `none` (PKCE), also to such a client, because its
    /// codes go to the client's own redirect URIs alone.
    pub(super) fn parse(bytes: &[u8], url: &str) -> Result<Self, DocumentError> {
        let parsed = json::parse(bytes, MAX_VALUES)?.value;
        if parsed.get("client_id").and_then(Value::as_str) != Some(url) {
            return Err(DocumentError::ClientId);
        }
        // Everybody can read the document (draft, section 4.1).
        let method = parsed.get("token_endpoint_auth_method").and_then(Value::as_str);
        let has_secret =
            parsed.get("client_secret").is_some() || parsed.get("client_secret_expires_at").is_some();
        if has_secret || method.is_some_and(|method| method.starts_with("client_secret_")) {
            return Err(DocumentError::Secret);
        }
        let list = |member: &str| parsed.get(member).and_then(Value::as_array).map(Vec::as_slice);
        if !uses_code_grant(list("grant_types"), list("response_types")) {
            return Err(DocumentError::Grants);
        }
        let name = match parsed.get("client_name") {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) if name.len() <= MAX_NAME_BYTES => Some(name.clone()),
            Some(_) => return Err(DocumentError::Name),
        };
        let uris = parsed.get("redirect_uris").and_then(Value::as_array);
        let uris = uris.ok_or(DocumentError::RedirectUris)?;
        let texts = uris.iter().map(|uri| uri.as_str().map(str::to_owned));
        Ok(Self {
            name: name.filter(|name| !name.trim().is_empty()),
            redirect_uris: texts.collect::<Option<_>>().ok_or(DocumentError::RedirectUris)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header::CONTENT_TYPE;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    const URL: &str = "https://client.example/c";

    fn with(patch: Value) -> Result<Document, DocumentError> {
        let mut document =
            json!({"client_id": URL, "client_name": "A", "redirect_uris": ["http://localhost/cb"]});
        let Value::Object(patch) = patch else { panic!() };
        for (key, value) in patch {
            document[key] = value;
        }
        Document::parse(document.to_string().as_bytes(), URL)
    }

    #[test]
    fn reads_the_name_and_the_redirect_uris() {
        let patch = json!({
            "client_name": "Zoë", "logo_uri": "https://client.example/logo.png",
            "redirect_uris": ["https://client.example/cb", "javascript:alert(1)"],
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
            "jwks_uri": "https://client.example/keys",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        });
        let expected = Document {
            name: Some("Zoë".to_owned()),
            redirect_uris: ["https://client.example/cb", "javascript:alert(1)"]
                .map(str::to_owned)
                .to_vec(),
        };
        assert_eq!(with(patch).unwrap(), expected);
        assert_eq!(with(json!({"client_name": " "})).unwrap().name, None);
    }

    #[rstest]
    #[case::other_id(json!({"client_id": "https://client.example/d"}), "client_id")]
    #[case::id_in_another_spelling(json!({"client_id": "https://Client.example/c"}), "client_id")]
    #[case::no_id(json!({"client_id": null}), "client_id")]
    #[case::secret(json!({"client_secret": "x"}), "secret")]
    #[case::expiry_of_a_secret(json!({"client_secret_expires_at": 0}), "secret")]
    #[case::secret_in_the_body(json!({"token_endpoint_auth_method": "client_secret_post"}), "secret")]
    #[case::long_name(json!({"client_name": "n".repeat(129)}), "client_name")]
    #[case::name_is_no_text(json!({"client_name": 7}), "client_name")]
    #[case::no_uris(json!({"redirect_uris": null}), "redirect_uris")]
    #[case::uri_is_no_text(json!({"redirect_uris": [7]}), "redirect_uris")]
    #[case::other_grant(json!({"grant_types": ["client_credentials"]}), "grant_types")]
    #[case::other_response(json!({"response_types": ["token"]}), "grant_types")]
    #[case::many_values(json!({"x": vec![0; 300]}), "JSON")]
    fn another_document_is_refused(#[case] patch: Value, #[case] expected: &str) {
        let error = with(patch).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case::json("application/json", true)]
    #[case::parameters("Application/JSON; charset=utf-8", true)]
    #[case::specific("application/client-metadata+json", true)]
    #[case::no_name("application/+json", false)]
    #[case::html("text/html", false)]
    #[case::plain("text/plain", false)]
    #[case::text("text/json", false)]
    #[case::longer("application/jsonp", false)]
    #[case::only_in_a_parameter("text/html; x=application/json", false)]
    fn the_media_type_is_json(#[case] value: &'static str, #[case] expected: bool) {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
        assert_eq!(is_json(&headers), expected);
        assert!(!is_json(&HeaderMap::new()));
    }

    #[rstest]
    #[case(b"")]
    #[case(b"<html>")]
    #[case(b"[]")]
    #[case(b"null")]
    #[case(b"{\"client_id\":\"https://client.example/c\"} {}")]
    fn other_bytes_are_no_document(#[case] bytes: &[u8]) {
        assert!(Document::parse(bytes, URL).is_err());
    }
}
