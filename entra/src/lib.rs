//! The Entra ID client of Behalf.
//!
//! It knows HTTP and files, and nothing of Kubernetes, axum or MCP. Every request to the token endpoint
//! authenticates with the Pod's projected `ServiceAccount` token, which a federated identity credential on
//! the application trusts. This crate cannot send a client secret.
//!
//! | Subject | Where |
//! |---|---|
//! | The projected token | [`FederatedTokenFile`] |
//! | Authorize URL, the four token requests, discovery | [`EntraClient`] |
//! | Meaning of a refusal, and who must act | [`EntraError`], [`NextStep`], [`FederationReason`], [`SignInReason`] |
//! | On-Behalf-Of with a cache | [`OnBehalfOf`] |
//! | Tokens of the application itself | [`ApplicationToken`] |
//! | Validation of tokens issued for this application | [`TokenValidator`] |
//! | Claims that nobody has verified | [`unverified_claims`] |
//! | Trust roots of every outgoing connection | [`TrustRoots`], [`HttpClient`], [`TlsSettings`] |

#![warn(missing_docs)]

mod application_token;
mod assertion;
mod cached;
mod claims;
mod client;
mod client_pause;
mod clock;
mod codes;
mod discovery;
mod error;
mod grant;
mod http_client;
mod keys;
mod next_step;
mod obo;
mod observer;
mod pause;
mod reason;
mod refusal;
mod response;
mod retry;
mod secret;
mod settings;
mod shared_tokens;
mod token;
mod token_rules;
mod trust_roots;
mod unverified;

pub use application_token::ApplicationToken;
pub use assertion::{AssertionClaims, AssertionError, FederatedTokenFile};
pub use claims::{LEEWAY, UserClaims, UserIdentity};
pub use client::{AuthorizeRequest, EntraClient};
pub use clock::{Clock, FixedClock, SystemClock};
pub use discovery::{Discovery, DiscoveryError};
pub use error::EntraError;
pub use grant::CodeGrant;
pub use http_client::{HttpClient, HttpLimits, Proxies};
pub use next_step::NextStep;
pub use obo::{Exchanged, OnBehalfOf};
pub use observer::{TokenRequest, TokenRequestObserver};
pub use reason::{FederationFinding, FederationReason, SignInReason, Verdict};
pub use refusal::Refusal;
pub use response::TokenSet;
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use settings::{AZURE_DEVOPS_SCOPE, Settings, SettingsError, sign_in_scope};
pub use shared_tokens::{NotShared, SharedTokens};
pub use token::TokenValidator;
pub use token_rules::{TokenRejection, TokenRules, TokenSource};
pub use trust_roots::{TlsSettings, TrustError, TrustRoots};
pub use unverified::unverified_claims;
