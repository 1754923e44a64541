//! The sessions of signed-in users: codes, session keys, refresh tokens and the record behind them.
//!
//! A client gets a session key (its access token) and a refresh token. Both are sealed and carry the
//! session's id and secret; the user's Entra tokens are in a record that only the secret, together with the
//! keyring, can open. `docs/sessions.md` has the lifetimes.

mod authorization_code;
mod end_signal;
mod engine;
mod entra_refresh;
mod error;
mod grant;
mod per_user;
mod record;
mod refresh;
mod refresh_rotation;
mod renewals;
mod revocation;
mod session_id;
mod sign_in_again;
mod step_up;

pub use authorization_code::{CodeRedemption, NewLogin};
pub use engine::{OpenSession, SessionRules, Sessions};
pub use error::{DeadGrant, GrantError, SessionError, Unavailable};
pub use grant::ClientTokens;
pub use revocation::Revocation;
pub use session_id::SessionId;
pub(crate) use session_id::SessionSecret;
pub use sign_in_again::SignInAgain;
