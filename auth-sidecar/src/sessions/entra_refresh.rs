//! Renews the user's tokens for this application before they expire.

use std::sync::Arc;
use std::time::Duration;

use behalf_entra::{EntraError, NextStep, Secret, TokenSet};
use behalf_runtime::trace;
use futures::FutureExt as _;
use jiff::{SignedDuration, Timestamp};

use super::error::{SessionError, Unavailable};
use super::record::{Record, RenewalRefusal};
use super::renewals::{Flight, Joined, RenewalPause, Renewed};
use super::repository::Change;
use super::sign_in_again::SignInAgain;
use super::{OpenSession, Sessions, renewal_lease};
use crate::telemetry::audit::{Action, Event};
use crate::telemetry::request_cause;

/// A token is renewed when less than this time is left, so that a call and its On-Behalf-Of exchange end before
/// the token expires.
const RENEW_BEFORE_EXPIRY: SignedDuration = SignedDuration::from_mins(10);

/// Minimum time left of a token that calls still use while Entra cannot renew it.
const MINIMUM_TIME_LEFT: SignedDuration = SignedDuration::from_secs(60);

/// Maximum time that a call with a valid token waits for a renewal. A usual renewal takes a fraction of a
/// second. A slower one continues for later calls.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Minimum time between a refused renewal and the next request for it. Entra blocks applications that repeat a
/// refused request (AADSTS50196), and some clients ignore the challenge and call again.
const PAUSE_AFTER_REFUSAL: SignedDuration = SignedDuration::from_mins(5);

/// For this time a replica uses tokens that the store did not save. Then it asks Entra again and tries to save those.
const UNSAVED: Duration = Duration::from_mins(5);

/// Minimum time between two requests to Entra for a session whose refusal the store did not save.
const UNSAVED_REFUSAL: Duration = Duration::from_mins(1);

/// The next step of a renewal.
enum RenewalStep {
    /// No request to Entra is needed.
    Done(Renewed),

    /// This refresh token must be sent to Entra.
    AskEntra(Secret),
}

impl Sessions {
    /// Returns the user's tokens if that of the session must be renewed: less than ten minutes of it are left. They live for ten
    /// more minutes if Entra permits. `None` if the session's own tokens are to be used.
    ///
    /// Each session has one renewal in flight, and all its calls share the result. While Entra is slow, throttles or is
    /// unreachable, calls use the old token until it expires.
    pub(crate) async fn renewed_if_due(
        self: &Arc<Self>,
        session: &OpenSession,
    ) -> Result<Option<Arc<TokenSet>>, SessionError> {
        let now = self.clock.now();
        if !session.has_record() || is_valid_for(session.tokens.expires_at(), now, RENEW_BEFORE_EXPIRY) {
            return Ok(None);
        }
        // Boxed, because this branch is rare and would make the future of every request larger.
        Box::pin(self.renewed_in_time(session, now)).await.map(Some)
    }

    async fn renewed_in_time(
        self: &Arc<Self>,
        session: &OpenSession,
        now: Timestamp,
    ) -> Result<Arc<TokenSet>, SessionError> {
        let valid = if is_valid_for(session.tokens.expires_at(), now, MINIMUM_TIME_LEFT) {
            Some(self.tokens_of(session)?)
        } else {
            None
        };
        let flight = match self.join_renewal(session, None) {
            Joined::Flight(flight) => flight,
            Joined::Paused(Err(error)) if is_temporary(&error) => return valid.ok_or(error),
            Joined::Paused(result) => return result,
        };
        let Some(valid) = valid else {
            return flight.await;
        };
        match tokio::time::timeout(MAX_WAIT, flight).await {
            Ok(Err(error)) if !is_temporary(&error) => Err(error),
            Ok(Ok(renewed)) => Ok(renewed),
            Ok(Err(_)) | Err(_) => Ok(valid),
        }
    }

    /// Renews the user's token after Entra refused `refused` as On-Behalf-Of assertion, even if `refused` has
    /// not expired.
    pub async fn renewed_user_token(
        self: &Arc<Self>,
        session: &OpenSession,
        refused: &Secret,
    ) -> Result<Arc<TokenSet>, SessionError> {
        if !session.has_record() {
            return Err(SessionError::SignInRequired);
        }
        let mut renewed = self.join(session, refused).await?;
        if renewed.access_token == *refused {
            // This call joined a renewal that started before the refusal. That renewal has ended.
            renewed = self.join(session, refused).await?;
        }
        Ok(renewed)
    }

    async fn join(self: &Arc<Self>, session: &OpenSession, refused: &Secret) -> Renewed {
        match self.join_renewal(session, Some(refused)) {
            Joined::Flight(flight) => flight.await,
            Joined::Paused(result) => result,
        }
    }

    /// Starts the session's renewal. It runs in its own task, so that it finishes even if its client goes
    /// away.
    fn join_renewal(self: &Arc<Self>, session: &OpenSession, refused: Option<&Secret>) -> Joined {
        let begin = || -> Flight {
            let (sessions, session, refused) = (Arc::clone(self), session.clone(), refused.cloned());
            let renewal = async move {
                let mut guard = sessions.renewals.guard(session.id, sessions.clock.as_ref());
                let (renewed, pause) = sessions.renew(&session, refused.as_ref()).await;
                session.end_signal.count_renewal();
                guard.pause = pause;
                renewed
            };
            let flight = trace::carry(request_cause::carry(renewal)).boxed().shared();
            tokio::spawn(flight.clone());
            flight
        };
        self.renewals.join(session.id, self.clock.now(), refused, begin)
    }

    /// Renews once, and pauses the next renewal if the request to Entra failed. Of several replicas one asks
    /// Entra; the others wait for its tokens.
    async fn renew(
        &self,
        session: &OpenSession,
        refused: Option<&Secret>,
    ) -> (Renewed, Option<RenewalPause>) {
        match self.next_step(session, refused).await {
            RenewalStep::Done(renewed) => (renewed, None),
            RenewalStep::AskEntra(refresh_token) => {
                let renewed = self.ask_entra(session, &refresh_token, refused).await;
                renewal_lease::release(self.store.as_ref(), session.id).await;
                renewed
            }
        }
    }

    /// Waits until this replica may ask Entra, or until the session's record has the answer.
    async fn next_step(&self, session: &OpenSession, refused: Option<&Secret>) -> RenewalStep {
        let store = self.store.as_ref();
        for wait in renewal_lease::waits() {
            let now = self.clock.now();
            match renewal_lease::acquire(store, session.id, now, self.random.as_ref()).await {
                Ok(true) => {
                    // The replica that held the lease before may have renewed the tokens.
                    let step = self.step_from_record(session, refused).await;
                    if let RenewalStep::Done(_) = step {
                        renewal_lease::release(store, session.id).await;
                    }
                    return step;
                }
                Ok(false) => {}
                Err(error) => return RenewalStep::Done(Err(error.into())),
            }
            tokio::time::sleep(wait).await;
            if let RenewalStep::Done(renewed) = self.step_from_record(session, refused).await {
                return RenewalStep::Done(renewed);
            }
        }
        RenewalStep::Done(Err(SessionError::unavailable(Unavailable::Contention)))
    }

    async fn step_from_record(&self, session: &OpenSession, refused: Option<&Secret>) -> RenewalStep {
        let opened = self.repository.load_with_tokens(&session.id, &session.secret);
        let (record, tokens) = match opened.await {
            Ok((loaded, tokens)) => (loaded.record, tokens),
            Err(error) => return RenewalStep::Done(Err(error.into())),
        };
        let now = self.clock.now();
        let is_refused = refused.is_some_and(|refused| tokens.access_token == *refused);
        // Another replica may have renewed the token.
        if is_valid_for(tokens.expires_at, now, RENEW_BEFORE_EXPIRY) && !is_refused {
            return RenewalStep::Done(Ok(tokens));
        }
        if let Some(refused) = record
            .refused
            .filter(|refused| now.duration_since(refused.at) < PAUSE_AFTER_REFUSAL)
        {
            let error = refused
                .hint
                .map_or(SessionError::SignInRequired, SessionError::Blocked);
            return RenewalStep::Done(Err(error));
        }
        if let Some(refresh_token) = &tokens.refresh_token {
            return RenewalStep::AskEntra(refresh_token.clone());
        }
        let is_valid = is_valid_for(tokens.expires_at, now, MINIMUM_TIME_LEFT) && !is_refused;
        RenewalStep::Done(if is_valid {
            Ok(tokens)
        } else {
            Err(SessionError::SignInRequired)
        })
    }

    async fn ask_entra(
        &self,
        session: &OpenSession,
        refresh_token: &Secret,
        refused: Option<&Secret>,
    ) -> (Renewed, Option<RenewalPause>) {
        let now = self.clock.now();
        match self.entra.refresh(refresh_token, &self.rules.entra_scope).await {
            Ok(tokens) => {
                let saved = self.save_tokens(session, &tokens, refused).await;
                let is_unsaved = matches!(
                    saved,
                    Err(SessionError::Unavailable {
                        source: Unavailable::Store(_),
                        ..
                    })
                );
                if !is_unsaved {
                    return (saved, None);
                }
                // A full store must not make each call ask Entra. Meanwhile this replica uses the tokens alone.
                let unsaved = Ok(Arc::new(tokens));
                let pause = RenewalPause::new(self.clock.now(), UNSAVED, unsaved.clone());
                (unsaved, Some(pause))
            }
            Err(error) => self.failed_renewal(session, error, now).await,
        }
    }

    /// Stores the tokens that Entra issued. If another replica stored tokens that expire later, those are used:
    /// Entra does not revoke a refresh token when it issues a new one. A `refused` token is always replaced,
    /// because its expiry says nothing about its age: Entra gives each token a random lifetime.
    async fn save_tokens(
        &self,
        session: &OpenSession,
        tokens: &TokenSet,
        refused: Option<&Secret>,
    ) -> Renewed {
        let stored = self
            .repository
            .change(&session.id, &session.secret, |record, stored| {
                let is_refused = refused.is_some_and(|refused| stored.access_token == *refused);
                if !is_refused && stored.expires_at >= tokens.expires_at {
                    return Change::Nothing(Arc::clone(stored));
                }
                let old = stored.refresh_token.as_ref();
                *stored = Arc::new(TokenSet {
                    refresh_token: tokens.refresh_token.as_ref().or(old).cloned(),
                    id_token: None,
                    ..tokens.clone()
                });
                record.refused = None;
                Change::Write(Arc::clone(stored))
            })
            .await?;
        Ok(stored)
    }

    /// Returns the error for the calls that wait, and the pause before the next renewal. Stores the
    /// requirements of Entra for the next login.
    async fn failed_renewal(
        &self,
        session: &OpenSession,
        error: EntraError,
        now: Timestamp,
    ) -> (Renewed, Option<RenewalPause>) {
        let step = error.next_step();
        // If neither a claim nor consent helps, later calls are refused, so the open requests and streams end as well.
        let ends_answers = matches!(
            step,
            NextStep::Blocked
                | NextStep::SignInAgain {
                    claims: None,
                    consent: false
                }
        );
        if ends_answers {
            self.end_everywhere(&session.id).await;
        }
        let pause = error.pause();
        // The request was not sent, because the whole process pauses. When that pause ends, this session may ask.
        let was_sent = !matches!(error, EntraError::Paused { .. });
        // Without the refusal in the record, each call would repeat the refused request.
        let unsaved = |error: SessionError| {
            let pause = matches!(error, SessionError::Unavailable { .. })
                .then(|| RenewalPause::new(self.clock.now(), UNSAVED_REFUSAL, Err(error.clone())));
            (Err(error), pause)
        };
        let error = match step {
            NextStep::SignInAgain { claims, consent } => {
                let again = SignInAgain { claims, consent };
                return unsaved(self.ask_for_sign_in(session, again, &error, now).await);
            }
            NextStep::Blocked => {
                let hint = error.hint().to_owned();
                let refused = RenewalRefusal {
                    at: now,
                    hint: Some(hint.clone()),
                    ends_answers: true,
                };
                let marked = self.mark_refused(session, refused, &error).await;
                return unsaved(marked.err().unwrap_or(SessionError::Blocked(hint)));
            }
            NextStep::ClientAuthentication => SessionError::ClientAuthentication(error),
            NextStep::RetryLater { .. } | NextStep::OurBug => SessionError::Unavailable {
                retry_after: Some(pause),
                source: Unavailable::Entra(error),
            },
        };
        let cause: &dyn std::error::Error = &error;
        tracing::warn!(
            error = cause,
            session.id = %session.id,
            pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "Unable to renew the user's tokens of session {}; calls use the old tokens while these are valid, then get 503",
            session.id
        );
        let pause = was_sent.then(|| RenewalPause::new(self.clock.now(), pause, Err(error.clone())));
        (Err(error), pause)
    }

    /// Stores the requirements of Entra for the next login.
    async fn ask_for_sign_in(
        &self,
        session: &OpenSession,
        again: SignInAgain,
        error: &EntraError,
        now: Timestamp,
    ) -> SessionError {
        let stored = async {
            let refused = RenewalRefusal {
                at: now,
                hint: None,
                ends_answers: again.is_plain(),
            };
            self.mark_refused(session, refused, error).await?;
            self.require_sign_in(session, again).await
        };
        match stored.await {
            Ok(()) => SessionError::SignInRequired,
            Err(error) => error,
        }
    }

    /// Stores a refusal of Entra and writes the first one of its kind to the audit log. Later refusals are not audited.
    async fn mark_refused(
        &self,
        session: &OpenSession,
        refused: RenewalRefusal,
        error: &EntraError,
    ) -> Result<(), SessionError> {
        let mark = |record: &mut Record, _: &mut _| {
            let before = record.refused.replace(refused.clone());
            Change::Write(before.as_ref().and_then(audited))
        };
        let before = self.repository.change(&session.id, &session.secret, mark).await?;
        if let Some((action, reason)) = audited(&refused)
            && before != Some((action, reason))
        {
            Event::of(action)
                .user(&session.user)
                .client(&session.client_id)
                .session(&session.id)
                .refusal_of_entra(error)
                .because(reason)
                .succeeded();
        }
        Ok(())
    }
}

/// Returns the action and reason of a refusal in the audit log. `None` for one that the user's next sign-in cures.
fn audited(refused: &RenewalRefusal) -> Option<(Action, &'static str)> {
    match (&refused.hint, refused.ends_answers) {
        // No sign-in helps, and the session goes on once Entra allows it.
        (Some(_), true) => Some((Action::SessionBlock, "blocked_by_entra")),
        (None, true) => Some((Action::SessionEnd, "revoked_by_entra")),
        (_, false) => None,
    }
}

/// True when the renewal failed for a temporary reason, so that the user's old token stays valid.
fn is_temporary(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::ClientAuthentication(_)
            | SessionError::Unavailable {
                source: Unavailable::Entra(_),
                ..
            }
    )
}

fn is_valid_for(expires_at: Timestamp, now: Timestamp, duration: SignedDuration) -> bool {
    expires_at.duration_since(now) >= duration
}
