//! Opens the session of an access token.

use std::sync::Arc;

use behalf_entra::{Secret, TokenSet};
use jiff::Timestamp;

use super::error::SessionError;
use super::grant::{ClientDigest, Grant};
use super::repository::LoadedRecord;
use super::user_tokens::UserTokens;
use super::{OpenSession, Sessions};
use crate::client_label::registered_label_of;
use crate::keys::Purpose;
use crate::token_digest::TokenDigest;

impl Sessions {
    /// Opens the session of an access token that a client presented in `Authorization`. This counts as use of
    /// the session.
    ///
    /// # Errors
    /// [`SessionError::Invalid`] unless the text is an access token of a live session of this resource.
    /// [`SessionError::Unavailable`] if the store or the keyring cannot decide that.
    pub async fn open(&self, access_token: &Secret) -> Result<Arc<OpenSession>, SessionError> {
        let now = self.clock.now();
        let token = TokenDigest::of(access_token);
        if let Some(session) = self.remembered.get(&token, now) {
            return Ok(session);
        }
        // Boxed, because this branch is rare and would make the future of every request larger.
        Box::pin(self.open_record(access_token, token, now)).await
    }

    async fn open_record(
        &self,
        access_token: &Secret,
        token: TokenDigest,
        now: Timestamp,
    ) -> Result<Arc<OpenSession>, SessionError> {
        let grant = Grant::open(&self.keyring, Purpose::Access, access_token)?;
        if grant.expires_at <= now || grant.resource != self.rules.resource {
            return Err(SessionError::Invalid);
        }
        let end_signal = self.end_signals.subscribe(grant.id, &grant.secret);
        let renewals = end_signal.renewals();
        let loaded = self.repository.load(&grant.id, &grant.secret).await?;
        let record = &loaded.record;
        end_signal.set_login(&record.user.oid, record.signed_in_at);
        if self.is_revoked(record) {
            self.end_revoked(&grant.id, record).await;
            return Err(SessionError::Invalid);
        }
        // A record without a family belongs to a code that no client has redeemed: no access token exists.
        let client = ClientDigest::of(&record.client_id);
        let is_redeemed = record.family.is_some() && client == grant.client;
        if !is_redeemed || record.ends_at <= now {
            return Err(SessionError::Invalid);
        }
        self.repository.extend(&grant.id, &loaded, now).await;
        let LoadedRecord {
            record,
            user_token,
            tokens,
            expires_at: ends_at,
            ..
        } = loaded;
        let session = Arc::new(OpenSession {
            id: grant.id,
            user: Arc::new(record.user),
            registered_label: registered_label_of(&record.client_id, client.as_bytes()),
            client_id: record.client_id,
            scopes: grant.scopes,
            signed_in_at: record.signed_in_at,
            expires_at: grant.expires_at.min(record.ends_at),
            ends_at: record.ends_at,
            secret: grant.secret,
            tokens: UserTokens::of_record(user_token, tokens),
            end_signal,
            has_record: true,
        });
        self.remembered
            .insert(token, Arc::clone(&session), renewals, now, ends_at);
        Ok(session)
    }

    /// Returns the user's tokens: renewed ones if that is due, and else those of the session.
    pub async fn user_token(self: &Arc<Self>, session: &OpenSession) -> Result<Arc<TokenSet>, SessionError> {
        match self.renewed_if_due(session).await? {
            Some(renewed) => Ok(renewed),
            None => self.tokens_of(session),
        }
    }

    /// Returns the user's tokens as they were when the session was opened.
    pub(crate) fn tokens_of(&self, session: &OpenSession) -> Result<Arc<TokenSet>, SessionError> {
        let (id, secret) = (&session.id, &session.secret);
        let open = |sealed: &_| self.repository.open_tokens(id, secret, sealed);
        Ok(session.tokens.opened_with(open)?)
    }
}
