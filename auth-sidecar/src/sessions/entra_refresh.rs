//! The user's own tokens, kept fresh.

use std::sync::Arc;

use behalf_entra::{EntraError, NextStep, TokenSet};
use jiff::{SignedDuration, Timestamp};

use super::engine::{Change, OpenSession, Sessions};
use super::error::{SessionError, Unavailable};
use super::pending::SignInAgain;
use super::record::{Record, Refused};

/// A token handed out lives at least this long, so that a call and its On-Behalf-Of exchange end before it.
const FRESH: SignedDuration = SignedDuration::from_mins(10);

/// While Entra cannot be reached, a token is used up to this close to its end.
const LAST_RESORT: SignedDuration = SignedDuration::from_secs(60);

/// After Entra refused to renew, it is asked again no sooner: a client that ignores the challenge must not
/// make requests (AADSTS50196).
const PAUSE: SignedDuration = SignedDuration::from_mins(5);

impl Sessions {
    /// The user's token for this application, with at least ten minutes left. Renews it when less is left;
    /// one request at a time for each session.
    ///
    /// While Entra cannot be reached, what is left of the token is used up before calls fail.
    pub async fn user_token(&self, session: &OpenSession) -> Result<Arc<TokenSet>, SessionError> {
        let now = self.clock.now();
        if lives_for(&session.tokens, now, FRESH) {
            return Ok(Arc::clone(&session.tokens));
        }
        let _turn = self.flights.take_off(session.id).await;
        // Whoever had the turn before may have renewed it; so may another replica.
        let record = self.load(&session.id, &session.secret).await?.record;
        let now = self.clock.now();
        if lives_for(&record.tokens, now, FRESH) {
            return Ok(record.tokens);
        }
        if let Some(refused) = record
            .refused
            .filter(|refused| now.duration_since(refused.at) < PAUSE)
        {
            return Err(refused.hint.map_or(
                SessionError::SignInRequired { claims: None },
                SessionError::Blocked,
            ));
        }
        let Some(refresh_token) = &record.tokens.refresh_token else {
            return if lives_for(&record.tokens, now, LAST_RESORT) {
                Ok(record.tokens)
            } else {
                Err(SessionError::SignInRequired { claims: None })
            };
        };
        match self
            .entra
            .refresh(refresh_token, &self.rules.entra_scope, None)
            .await
        {
            Ok(tokens) => self.keep(session, tokens).await,
            Err(error) => self.without_renewal(session, &record.tokens, error, now).await,
        }
    }

    /// Keeps what Entra gave. When another replica was faster, its tokens are as good: Entra lets the old
    /// refresh token live.
    async fn keep(&self, session: &OpenSession, tokens: TokenSet) -> Result<Arc<TokenSet>, SessionError> {
        let kept = self
            .change(&session.id, &session.secret, |record| {
                if record.tokens.expires_at >= tokens.expires_at {
                    return Change::Nothing(Arc::clone(&record.tokens));
                }
                let old = record.tokens.refresh_token.as_ref();
                record.tokens = Arc::new(TokenSet {
                    refresh_token: tokens.refresh_token.as_ref().or(old).cloned(),
                    id_token: None,
                    ..tokens.clone()
                });
                record.refused = None;
                Change::Write(Arc::clone(&record.tokens))
            })
            .await?;
        Ok(kept)
    }

    async fn without_renewal(
        &self,
        session: &OpenSession,
        tokens: &Arc<TokenSet>,
        error: EntraError,
        now: Timestamp,
    ) -> Result<Arc<TokenSet>, SessionError> {
        let step = error.next_step();
        // Entra wants nothing more of the user, it has taken back what it gave: calls are refused from now on,
        // so what they opened before ends as well. A policy that asks for more lets it go on.
        let has_ended = matches!(
            step,
            NextStep::Blocked
                | NextStep::SignInAgain {
                    claims: None,
                    consent: false
                }
        );
        if has_ended {
            self.lifelines.cut(&session.id);
        }
        match step {
            NextStep::SignInAgain { claims, consent } => {
                self.mark_refused(session, Refused { at: now, hint: None })
                    .await?;
                self.require_sign_in(
                    session,
                    SignInAgain {
                        claims: claims.clone(),
                        consent,
                    },
                )
                .await?;
                Err(SessionError::SignInRequired { claims })
            }
            NextStep::Blocked => {
                let hint = error.hint().to_owned();
                self.mark_refused(
                    session,
                    Refused {
                        at: now,
                        hint: Some(hint.clone()),
                    },
                )
                .await?;
                Err(SessionError::Blocked(hint))
            }
            NextStep::ClientAuthentication | NextStep::RetryLater { .. } | NextStep::OurBug
                if lives_for(tokens, now, LAST_RESORT) =>
            {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, session.id = %session.id, "Unable to renew a user's tokens; the old ones still live");
                Ok(Arc::clone(tokens))
            }
            NextStep::ClientAuthentication => Err(SessionError::ClientAuthentication(error)),
            NextStep::RetryLater { after } => Err(SessionError::Unavailable {
                retry_after: after,
                source: Unavailable::Entra(error),
            }),
            NextStep::OurBug => Err(SessionError::unavailable(Unavailable::Entra(error))),
        }
    }

    async fn mark_refused(&self, session: &OpenSession, refused: Refused) -> Result<(), SessionError> {
        let mark = |record: &mut Record| {
            record.refused = Some(refused.clone());
            Change::Write(())
        };
        Ok(self.change(&session.id, &session.secret, mark).await?)
    }
}

fn lives_for(tokens: &TokenSet, now: Timestamp, duration: SignedDuration) -> bool {
    tokens.expires_at.duration_since(now) >= duration
}
