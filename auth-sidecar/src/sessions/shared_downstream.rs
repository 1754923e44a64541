//! The downstream token of a session, shared with the other replicas (ADR 0020).
//!
//! It has an entry of its own beside the record, sealed under the session's secret, too. A replica reads the entry only if
//! its own cache has no token, and writes it only after an exchange.

use std::borrow::Cow;
use std::sync::Arc;

use behalf_entra::{Secret, SharedTokens, TokenSet};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{OpenSession, Sessions};
use crate::keys::{RecordKind, RecordPlace};
use crate::store::{StoreKey, Written};

/// Maximum number of attempts to write the entry. Its loss costs one more exchange.
const MAX_ATTEMPTS: usize = 3;

/// The downstream token of one session for one user token.
pub(crate) struct SharedDownstream {
    sessions: Arc<Sessions>,
    session: OpenSession,
    exchange: ExchangeDigest,
}

/// SHA-256 of the user token and the scope of an exchange. Conditional Access is judged for each user token, so that a
/// downstream token must not serve another one.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct ExchangeDigest([u8; 32]);

/// The content of the entry.
#[derive(Serialize, Deserialize)]
struct Content<'a> {
    exchange: ExchangeDigest,
    #[serde(borrow)]
    token: Cow<'a, str>,
    expires_at: Timestamp,
}

/// The content of the entry, opened, and its revision.
struct Found {
    revision: u64,
    exchange: ExchangeDigest,
    tokens: TokenSet,
}

impl ExchangeDigest {
    fn of(user_token: &Secret, scope: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [user_token.expose(), scope] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl Sessions {
    /// The shared downstream token of `session` for this user token.
    pub(crate) fn shared_downstream(
        self: &Arc<Self>,
        session: &OpenSession,
        user_token: &Secret,
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
    /// Removes the token after the downstream API refused it. A newer token stays.
    pub(crate) async fn remove_refused(&self, refused: &Secret) {
        if let Some(found) = self.find().await
            && found.tokens.access_token == *refused
        {
            // An empty value keeps the revisions, so that a replica with an older one does not bring the token back.
            let end = found.tokens.expires_at;
            self.put(found.revision, Vec::new(), end).await;
        }
    }

    fn key(&self) -> StoreKey {
        StoreKey::Downstream(self.session.id)
    }

    fn place(&self, revision: u64) -> RecordPlace<'_> {
        RecordPlace {
            kind: RecordKind::Downstream,
            id: &self.session.id,
            secret: &self.session.secret,
            revision,
        }
    }

    /// Returns the revision of the entry, and its content if it can be opened.
    async fn entry(&self) -> Option<(u64, Option<Found>)> {
        if !self.sessions.is_shared {
            return None;
        }
        // While the store is away, the session cannot be opened either. The store logs its outage.
        let Some(entry) = self.sessions.store.get(&self.key()).await.ok()? else {
            return Some((0, None));
        };
        let revision = entry.revision;
        let opened = self
            .sessions
            .keyring
            .open_record(self.place(revision), &entry.value);
        let found = opened.ok().and_then(|bytes| {
            let content: Content<'_> = serde_json::from_slice(&bytes).ok()?;
            Some(Found {
                revision,
                exchange: content.exchange,
                tokens: TokenSet {
                    access_token: Secret::new(content.token),
                    expires_at: content.expires_at,
                    refresh_token: None,
                    id_token: None,
                    scope: None,
                },
            })
        });
        Some((revision, found))
    }

    async fn find(&self) -> Option<Found> {
        let (_, found) = self.entry().await?;
        found.filter(|found| found.exchange == self.exchange)
    }

    /// Writes the entry. Returns true if no other replica was faster.
    async fn put(&self, revision: u64, value: Vec<u8>, token_expires_at: Timestamp) -> bool {
        let end = token_expires_at.min(self.session.ends_at);
        let written = self.sessions.store.put(&self.key(), revision, value, end).await;
        !matches!(written, Ok(Written::Conflict))
    }

    fn seal(&self, revision: u64, tokens: &TokenSet) -> Option<Vec<u8>> {
        let content = Content {
            exchange: self.exchange,
            token: Cow::Borrowed(tokens.access_token.expose()),
            expires_at: tokens.expires_at,
        };
        let bytes = serde_json::to_vec(&content).ok()?;
        self.sessions
            .keyring
            .seal_record(self.place(revision), &bytes)
            .ok()
    }
}

impl SharedTokens for SharedDownstream {
    async fn load(&self) -> Option<TokenSet> {
        self.find().await.map(|found| found.tokens)
    }

    async fn save(&self, tokens: &TokenSet) {
        for _ in 0..MAX_ATTEMPTS {
            let Some((revision, _)) = self.entry().await else {
                return;
            };
            let Some(value) = self.seal(revision.saturating_add(1), tokens) else {
                return;
            };
            if self.put(revision, value, tokens.expires_at).await {
                return;
            }
        }
    }
}
