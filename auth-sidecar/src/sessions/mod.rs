//! The sessions of signed-in users: codes, session keys, refresh tokens and the record behind them.
//!
//! A client gets a session key (its access token) and a refresh token. Both are sealed and carry the
//! session's id and secret; the user's Entra tokens are in a record that only the secret, together with the
//! keyring, can open. `docs/sessions.md` has the lifetimes.

mod code;
mod engine;
mod entra_refresh;
mod error;
mod family;
mod grant;
mod identifiers;
mod lifelines;
mod pending;
mod per_user;
mod record;
mod refresh;
mod renewals;
mod revocation;

pub use code::{CodeRedemption, NewLogin};
pub use engine::{OpenSession, SessionRules, Sessions};
pub use error::{DeadGrant, GrantError, SessionError, Unavailable};
pub use grant::ClientTokens;
pub use identifiers::SessionId;
pub(crate) use identifiers::SessionSecret;
pub use pending::SignInAgain;
pub use revocation::Revocation;
