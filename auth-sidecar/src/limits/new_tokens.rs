//! Limits how many new tokens of Entra one user presents as bearer (`clients.entraTokens`). Each new token may cause an
//! On-Behalf-Of exchange, and Entra throttles the application for all users.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use behalf_entra::UserIdentity;
use jiff::Timestamp;
use moka::future::Cache;

use super::address_budget::{Bucket, Rate};
use crate::session_id::SessionId;

/// The new tokens of one user. A token lives for 60 to 90 minutes, so that an agent needs about one in an hour. A user may
/// have many agents that start at once.
const NEW_TOKENS: Rate = Rate {
    burst: 60.0,
    per_second: 0.1,
};

/// After this time without a new token a budget is full again, and is dropped.
const BUDGET_LIFE: Duration = Duration::from_mins(10);

/// Maximum number of users with a budget. Only users with a valid token have one.
const MOST_USERS: u64 = 10_000;

/// Maximum number of known tokens. The downstream tokens of about as many fit into their cache.
const MOST_TOKENS: u64 = 20_000;

/// A token that is not used for this time is forgotten, and is charged again.
const TOKEN_LIFE: Duration = Duration::from_mins(90);

/// The tokens that were charged, and the users' budgets. Clones share them.
#[derive(Clone)]
pub(crate) struct NewTokens {
    known: Cache<SessionId, ()>,
    budgets: Cache<(String, String), Arc<Mutex<Bucket>>>,
}

impl NewTokens {
    pub(crate) fn new() -> Self {
        let known = Cache::builder()
            .max_capacity(MOST_TOKENS)
            .time_to_idle(TOKEN_LIFE)
            .build();
        let budgets = Cache::builder()
            .max_capacity(MOST_USERS)
            .time_to_idle(BUDGET_LIFE)
            .build();
        Self { known, budgets }
    }

    /// Charges the user for `token`, unless it was charged before. Parallel requests with one token are charged once.
    ///
    /// # Errors
    /// The time until the next new token, if the budget is used up.
    pub(crate) async fn try_charge(
        &self,
        token: SessionId,
        user: &UserIdentity,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let charge = self.charge(user, now);
        self.known.try_get_with(token, charge).await.map_err(|wait| *wait)
    }

    async fn charge(&self, user: &UserIdentity, now: Timestamp) -> Result<(), Duration> {
        let key = (user.tid.clone(), user.oid.clone());
        let full = async { Arc::new(Mutex::new(Bucket::full(NEW_TOKENS, now))) };
        let budget = self.budgets.get_with(key, full).await;
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = 1.0 - budget.tokens(NEW_TOKENS, now);
        if missing > 0.0 {
            return Err(Duration::try_from_secs_f64(missing / NEW_TOKENS.per_second).unwrap_or(BUDGET_LIFE));
        }
        budget.charge(NEW_TOKENS, now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn user(oid: &str) -> UserIdentity {
        UserIdentity {
            tid: "contoso".to_owned(),
            oid: oid.to_owned(),
        }
    }

    fn token(user: u8, number: u8) -> SessionId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&[user, number]);
        SessionId::from_bytes(bytes)
    }

    #[tokio::test]
    async fn a_user_with_many_new_tokens_waits_and_others_do_not() {
        let limit = NewTokens::new();
        let (ana, ben) = (user("ana"), user("ben"));
        for number in 0..60 {
            assert_eq!(limit.try_charge(token(1, number), &ana, START).await, Ok(()));
        }
        let next = token(1, 60);
        let wait = limit.try_charge(next, &ana, START).await;
        assert_eq!(wait, Err(Duration::from_secs(10)));
        assert_eq!(limit.try_charge(token(2, 0), &ben, START).await, Ok(()));
        let later = START + SignedDuration::from_secs(10);
        assert_eq!(limit.try_charge(next, &ana, later).await, Ok(()));
        assert!(limit.try_charge(token(1, 61), &ana, later).await.is_err());
    }

    #[tokio::test]
    async fn a_token_is_charged_once_also_by_parallel_requests() {
        let limit = NewTokens::new();
        let ana = user("ana");
        let one = token(1, 0);
        for _ in 0..100 {
            let both = tokio::join!(
                limit.try_charge(one, &ana, START),
                limit.try_charge(one, &ana, START)
            );
            assert_eq!(both, (Ok(()), Ok(())));
        }
        for number in 1..60 {
            assert_eq!(limit.try_charge(token(1, number), &ana, START).await, Ok(()));
        }
        assert!(limit.try_charge(token(1, 60), &ana, START).await.is_err());
        assert_eq!(
            limit.try_charge(one, &ana, START).await,
            Ok(()),
            "a token that was charged goes on"
        );
    }
}
