//! Step-up of clients that answer `insufficient_scope` with a refresh.
//!
//! A refresh cannot add scopes (RFC 6749, section 6). The TypeScript SDK 1.32.2 refreshes all the same before
//! it tries another login, gets the same scopes and gives up. One `invalid_grant` right after the challenge
//! makes it log in with the scopes of the challenge. The session itself stays: the client may use its tokens,
//! and the next refresh succeeds. It happens once in ten minutes, so that a client that repeats a call without
//! its scope can still refresh.

use jiff::SignedDuration;

use super::error::SessionError;
use super::record::Record;
use super::repository::Change;
use super::{OpenSession, Sessions, later};
use crate::access::Scopes;

/// Time between the challenge and the refresh that answers it. The SDK refreshes at once. A refresh that only
/// renews an access token comes in this time at most by chance, and succeeds when it is repeated.
const ANSWERED_WITHIN: SignedDuration = SignedDuration::from_secs(10);

/// Time from one such challenge to the next one that may refuse a refresh.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(10);

impl Sessions {
    /// Remembers that a call of this session was challenged with `insufficient_scope` for `needed`. A session
    /// that has these scopes, and a narrower access token, gets them by a refresh.
    pub async fn expect_step_up(&self, session: &OpenSession, needed: Scopes) -> Result<(), SessionError> {
        if !session.has_record() {
            return Ok(());
        }
        let now = self.clock.now();
        let mark = |record: &mut Record, _: &mut _| {
            let is_recent = record
                .step_up_until
                .is_some_and(|until| now < later(until, AGAIN_AFTER));
            if is_recent || record.scopes.contains(needed) {
                return Change::Nothing(());
            }
            record.step_up_until = Some(later(now, ANSWERED_WITHIN));
            Change::Write(())
        };
        Ok(self.repository.change(&session.id, &session.secret, mark).await?)
    }
}
