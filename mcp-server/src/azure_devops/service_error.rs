//! Parses the error bodies of Azure DevOps.

use behalf_runtime::has_media_type;
use http::HeaderMap;
use serde::Deserialize;

use super::transport::without_bom;
use crate::redact;

/// Maximum length in characters of a message that is passed on to the model.
const MAX_MESSAGE_LENGTH: usize = 1_000;

/// The body of an error. Azure DevOps sends it in three shapes: an object, a list that contains the object,
/// or text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceError {
    pub(super) type_key: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(rename = "typeKey")]
    type_key: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
    value: Option<Box<ErrorObject>>,
}

impl ServiceError {
    /// Parses `body`. A body of another shape is an error without members.
    pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Self {
        let body = without_bom(body);
        if let Ok(object) = serde_json::from_slice::<ErrorObject>(body) {
            let object = match object {
                ErrorObject {
                    message: None,
                    value: Some(inner),
                    ..
                } => *inner,
                other => other,
            };
            return Self {
                type_key: object.type_key,
                message: object.message,
            };
        }
        if has_media_type(headers, "text/plain") {
            let message = String::from_utf8_lossy(body).trim().to_owned();
            return Self {
                type_key: None,
                message: (!message.is_empty()).then_some(message),
            };
        }
        Self::default()
    }

    /// Returns the message for the model: one line, without secrets and mail addresses.
    pub(super) fn shown(self) -> Option<String> {
        self.message
            .map(|message| redact::line(&redact::cut(&one_line(&message), MAX_MESSAGE_LENGTH)))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
