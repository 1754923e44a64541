//! The user's tokens of an open session.

use std::fmt;
use std::sync::{Arc, OnceLock};

use behalf_entra::TokenSet;
use jiff::Timestamp;

use super::record::UserTokenFacts;
use super::repository::{LoadError, SealedTokens};
use crate::token_digest::TokenDigest;

/// The user's tokens of an open session. Most calls need the downstream token alone, which the digest of the user token finds.
#[derive(Clone)]
pub(crate) struct UserTokens {
    facts: UserTokenFacts,
    form: StoredTokens,
}

#[derive(Clone)]
enum StoredTokens {
    /// Tokens of a record. The first call that needs their text opens them.
    Sealed(SealedTokens, OnceLock<Arc<TokenSet>>),

    /// Tokens that are in no record.
    Open(Arc<TokenSet>),
}

impl UserTokens {
    /// Tokens of a record, and what the record says about them.
    pub(super) fn of_record(facts: UserTokenFacts, sealed: SealedTokens) -> Self {
        Self {
            facts,
            form: StoredTokens::Sealed(sealed, OnceLock::new()),
        }
    }

    /// Tokens that are in no record.
    pub(super) fn without_record(tokens: TokenSet) -> Self {
        Self {
            facts: UserTokenFacts::of(&tokens),
            form: StoredTokens::Open(Arc::new(tokens)),
        }
    }

    /// The digest of the user token.
    pub(crate) fn digest(&self) -> &TokenDigest {
        &self.facts.digest
    }

    /// Time at which the user token expires.
    pub(super) fn expires_at(&self) -> Timestamp {
        self.facts.expires_at
    }

    /// Returns the tokens. `open` opens those of a record.
    pub(super) fn opened_with(
        &self,
        open: impl FnOnce(&SealedTokens) -> Result<TokenSet, LoadError>,
    ) -> Result<Arc<TokenSet>, LoadError> {
        let tokens = match &self.form {
            StoredTokens::Open(tokens) => tokens,
            StoredTokens::Sealed(sealed, opened) => {
                if let Some(tokens) = opened.get() {
                    tokens
                } else {
                    let tokens = open(sealed)?;
                    opened.get_or_init(|| Arc::new(tokens))
                }
            }
        };
        Ok(Arc::clone(tokens))
    }
}

impl fmt::Debug for UserTokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("UserTokens(..)")
    }
}
