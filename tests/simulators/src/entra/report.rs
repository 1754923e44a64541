//! The reports of the simulator: the redacted record, the secret values, and minted tokens.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::model::RequestKind;
use super::trace::Trace;

/// One request as the simulator saw it. Holds parameter names, never a value that is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Counts from 1, and goes on after a reset.
    pub number: u64,

    /// When it came, by the simulator's clock.
    pub at: Timestamp,

    /// The kind of the request.
    pub kind: RequestKind,

    /// `grant_type`, when it is not one of the four.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_grant: Option<String>,

    /// `client_id`, when sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,

    /// `scope`, when sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,

    /// `prompt`, when sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,

    /// `claims`, when sent: a challenge, no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,

    /// Names of all parameters, sorted.
    pub parameters: Vec<String>,

    /// Scheme of the `Authorization` header, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_scheme: Option<String>,

    /// The claims of the client assertion, unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assertion: Option<AssertionNames>,

    /// The user it turned out to be about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,

    /// The fault that hit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,

    /// The answer. Absent while the request waits, or if the client left first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,

    /// `trace_id` of the answer.
    pub trace_id: String,

    /// `correlation_id` of the answer.
    pub correlation_id: String,
}

impl RequestRecord {
    /// A request that just came, before anything in it is read.
    pub(super) fn new(kind: RequestKind, trace: &Trace) -> Self {
        Self {
            number: 0,
            at: trace.at,
            kind,
            unknown_grant: None,
            client_id: None,
            scope: None,
            prompt: None,
            claims: None,
            parameters: Vec::new(),
            authorization_scheme: None,
            assertion: None,
            user: None,
            fault: None,
            outcome: None,
            trace_id: trace.id.clone(),
            correlation_id: trace.correlation_id.clone(),
        }
    }

    /// Whether the parameter was sent.
    pub fn has(&self, parameter: &str) -> bool {
        self.parameters.iter().any(|name| name == parameter)
    }

    /// Whether it was answered with success.
    pub fn succeeded(&self) -> bool {
        self.outcome
            .as_ref()
            .is_some_and(|outcome| outcome.error.is_none() && outcome.status < 400)
    }

    /// The AADSTS codes of the answer.
    pub fn codes(&self) -> &[u32] {
        self.outcome.as_ref().map_or(&[], |outcome| &outcome.codes)
    }
}

/// The names in a client assertion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssertionNames {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `aud`.
    pub audience: Vec<String>,
}

/// The answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// HTTP status; 0 when the connection was dropped.
    pub status: u16,

    /// `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,

    /// `error_codes`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u32>,

    /// `suberror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suberror: Option<String>,
}

/// The kind of a secret value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretKind {
    /// Issued at the end of a sign-in.
    AuthorizationCode,
    /// Issued, or received as the assertion of an On-Behalf-Of request.
    AccessToken,
    /// Issued or received.
    RefreshToken,
    /// Issued.
    IdToken,
    /// Received: the Pod's projected token.
    ClientAssertion,
    /// Received.
    CodeVerifier,
    /// Received, although no client should send one.
    ClientSecret,
}

impl SecretKind {
    /// The kinds that a whole login with a refresh and an exchange leaves behind.
    pub const EXPECTED: [Self; 6] = [
        Self::AuthorizationCode,
        Self::AccessToken,
        Self::RefreshToken,
        Self::IdToken,
        Self::ClientAssertion,
        Self::CodeVerifier,
    ];
}

/// A secret value that passed through the simulator. **For leak tests only.**
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretValue {
    /// The kind of the secret.
    pub kind: SecretKind,
    /// The value itself.
    pub value: String,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SecretValue")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A token to make without a login, right in everything that is not named here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MintRequest {
    /// User name; absent: an app-only token.
    pub user: Option<String>,

    /// The application the token is issued to; absent: the directory's first.
    pub client_id: Option<String>,

    /// Application id of the resource; absent: the application itself.
    pub resource: Option<String>,

    /// An id token instead of an access token.
    pub id_token: bool,

    /// Seconds until it expires, negative for the past; absent: one hour.
    pub expires_in_seconds: Option<i64>,

    /// Claims that replace the right ones; `null` removes a claim.
    pub claims: Map<String, Value>,

    /// Sign with a key that is in no key set, under the `kid` of the current one.
    pub foreign_key: bool,
}

impl MintRequest {
    /// An access token of this user for the application itself.
    pub fn for_user(name: &str) -> Self {
        Self {
            user: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// An app-only access token.
    pub fn app_only() -> Self {
        Self::default()
    }

    /// For this resource instead of the application itself.
    #[must_use]
    pub fn resource(mut self, application_id: &str) -> Self {
        self.resource = Some(application_id.to_owned());
        self
    }

    /// With this claim instead of the right one; `null` removes it.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Seconds until it expires. Negative: it has expired.
    #[must_use]
    pub fn expires_in(mut self, seconds: i64) -> Self {
        self.expires_in_seconds = Some(seconds);
        self
    }
}

/// The answer to a [`MintRequest`].
#[derive(Clone, Serialize, Deserialize)]
pub struct Minted {
    /// The token.
    pub token: String,
}

impl fmt::Debug for Minted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Minted(..)")
    }
}
