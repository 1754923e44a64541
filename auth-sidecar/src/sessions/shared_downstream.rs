//! The downstream token of a session, shared with the other replicas (ADR 0020).
//!
//! It has an entry of its own beside the record, sealed under the session's secret, too. A replica reads the entry only if
//! its own cache has no token, and writes it only after an exchange.

use std::borrow::Cow;
use std::sync::Arc;

use behalf_entra::{Secret, SharedTokens, TokenSet};
use behalf_runtime::digest_of_parts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{OpenSession, Sessions};
use crate::keys::{RecordContext, RecordKind};
use crate::store::{Entry, StoreKey, Written};
use crate::token_digest::TokenDigest;

/// Maximum number of attempts to write the entry. Its loss costs one more exchange.
const MAX_ATTEMPTS: usize = 3;

/// The downstream token of one session for one user token.
pub(crate) struct SharedDownstream {
    sessions: Arc<Sessions>,
    session: OpenSession,
    exchange: ExchangeDigest,
}

/// SHA-256 of the user token's digest and of the scope of an exchange. Conditional Access is judged for each user token, so that a
/// downstream token must not serve another one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ExchangeDigest([u8; 32]);

/// The content of the entry.
#[derive(Serialize, Deserialize)]
pub(super) struct DownstreamEntry<'a> {
    exchange: ExchangeDigest,
    #[serde(borrow)]
    token: Cow<'a, str>,
    expires_at: Timestamp,
}

impl ExchangeDigest {
    fn of(user_token: &TokenDigest, scope: &str) -> Self {
        Self(digest_of_parts(&[&user_token.as_bytes()[..], scope.as_bytes()]))
    }
}

impl Sessions {
    /// The shared downstream token of `session` for the user token with this digest.
    pub(crate) fn shared_downstream(
        self: &Arc<Self>,
        session: &OpenSession,
        user_token: &TokenDigest,
        scope: &str,
    ) -> SharedDownstream {
        SharedDownstream {
            sessions: Arc::clone(self),
            session: session.clone(),
            exchange: ExchangeDigest::of(user_token, scope),
        }
    }
}

impl SharedDownstream {
    /// Removes the token after the downstream API refused it. A newer token stays, but for one that another replica saves
    /// at this very moment: its loss costs an exchange.
    pub(crate) async fn remove_refused(&self, refused: &Secret) {
        if !self.is_shared() {
            return;
        }
        // Before the removal, so that a call that reads the entry meanwhile does not use the token.
        self.sessions.refused_downstream.insert(refused).await;
        if let Some(tokens) = self.read().await
            && tokens.access_token == *refused
        {
            // If the store does not answer, the token stays. This replica does not use it again.
            let _ = self.sessions.store.remove(&self.key()).await;
        }
    }

    /// False with a store of one process, and for a token of Entra: no record is there that the entry could stand beside.
    fn is_shared(&self) -> bool {
        self.sessions.is_shared && self.session.has_record()
    }

    /// Returns the token of the entry, also one that was refused.
    async fn read(&self) -> Option<TokenSet> {
        // While the store is away, the session cannot be opened either. The store logs its outage.
        let entry = self.sessions.store.get(&self.key()).await.ok()??;
        self.open(&entry)
    }

    fn key(&self) -> StoreKey {
        StoreKey::Downstream(self.session.id)
    }

    fn context(&self, revision: u64) -> RecordContext<'_> {
        RecordContext {
            kind: RecordKind::Downstream,
            id: &self.session.id,
            secret: &self.session.secret,
            revision,
        }
    }

    fn open(&self, entry: &Entry) -> Option<TokenSet> {
        let context = self.context(entry.revision);
        let bytes = self.sessions.keyring.open_record(context, &entry.value).ok()?;
        let found: DownstreamEntry<'_> = serde_json::from_slice(&bytes).ok()?;
        let tokens = TokenSet {
            access_token: Secret::new(found.token),
            expires_at: found.expires_at,
            refresh_token: None,
            id_token: None,
        };
        (found.exchange == self.exchange).then_some(tokens)
    }

    fn seal(&self, revision: u64, tokens: &TokenSet) -> Option<Vec<u8>> {
        let content = DownstreamEntry {
            exchange: self.exchange,
            token: Cow::Borrowed(tokens.access_token.expose()),
            expires_at: tokens.expires_at,
        };
        let bytes = serde_json::to_vec(&content).ok()?;
        self.sessions
            .keyring
            .seal_record(self.context(revision), &bytes)
            .ok()
    }
}

impl SharedTokens for SharedDownstream {
    async fn load(&self) -> Option<TokenSet> {
        if !self.is_shared() {
            return None;
        }
        let tokens = self.read().await?;
        let is_refused = self.sessions.refused_downstream.contains(&tokens.access_token);
        (!is_refused).then_some(tokens)
    }

    async fn save(&self, tokens: &TokenSet) {
        if !self.is_shared() {
            return;
        }
        let (store, key) = (&self.sessions.store, self.key());
        let end = tokens.expires_at.min(self.session.ends_at);
        for _ in 0..MAX_ATTEMPTS {
            let Ok(entry) = store.get(&key).await else { return };
            let revision = entry.map_or(0, |entry| entry.revision);
            let Some(value) = self.seal(revision.saturating_add(1), tokens) else {
                return;
            };
            // The token is lost for the others if the session has ended, and if the store is full or away.
            if !matches!(store.put(&key, revision, value, end).await, Ok(Written::Conflict)) {
                return;
            }
        }
    }
}
