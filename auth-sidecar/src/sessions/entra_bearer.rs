//! The session of a client that presents a token of Entra (`clients.entraTokens`). It has no record: nothing is stored,
//! renewed or shared, and it ends with the token.

use std::sync::Arc;

use behalf_entra::{LEEWAY, Secret, TokenSet, UserClaims, UserIdentity};
use jiff::Timestamp;

use super::user_tokens::UserTokens;
use super::{OpenSession, SessionError, Sessions, later};
use crate::access::Scopes;
use crate::session_id::{SessionId, SessionSecret};
use crate::token_digest::TokenDigest;

impl Sessions {
    /// Returns the session of a token whose claims are validated. All requests with one token have the same session id.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] if an administrator revoked the user's sessions from before the token was issued. A token
    /// without a time of issue counts as old.
    pub(crate) fn of_entra_token(
        &self,
        token: &Secret,
        claims: UserClaims,
        scopes: Scopes,
    ) -> Result<OpenSession, SessionError> {
        let id = id_of(token);
        let issued_at = claims.iat.unwrap_or(Timestamp::MIN);
        let end_signal = self.end_signals.subscribe_without_record(id);
        end_signal.set_login(&claims.oid, issued_at);
        if self.revocations.is_revoked(&claims.oid, issued_at) {
            return Err(SessionError::Invalid);
        }
        // The validation allows the same difference between clocks.
        let ends_at = later(claims.exp, LEEWAY);
        Ok(OpenSession {
            id,
            user: Arc::new(UserIdentity {
                tid: claims.tid,
                oid: claims.oid,
            }),
            client_id: claims.azp.unwrap_or_default(),
            registered_label: None,
            scopes,
            signed_in_at: issued_at,
            expires_at: ends_at,
            ends_at,
            // It opens no record.
            secret: SessionSecret::generate(self.random.as_ref()),
            tokens: UserTokens::without_record(TokenSet {
                access_token: token.clone(),
                expires_at: claims.exp,
                refresh_token: None,
                id_token: None,
            }),
            end_signal,
            has_record: false,
        })
    }
}

/// A part of the token's hash, which tells nothing about the token.
fn id_of(token: &Secret) -> SessionId {
    let digest = TokenDigest::of(token);
    let (start, _) = digest.as_bytes().split_at(16);
    let mut id = [0; 16];
    id.copy_from_slice(start);
    SessionId::from_bytes(id)
}
