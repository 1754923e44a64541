//! Limits how many new tokens of Entra one user presents as bearer (`clients.entraTokens`). Each new token may cause an
//! On-Behalf-Of exchange, and Entra throttles the application for all users.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use behalf_entra::UserIdentity;
use jiff::Timestamp;
use moka::future::Cache;

use super::token_bucket::{Rate, TokenBucket};
use crate::session_id::SessionId;

/// The new tokens of one user. A token lives for 60 to 90 minutes, so that an agent needs about one in an hour. A user may
/// have many agents that start at once.
const NEW_TOKENS: Rate = Rate {
    burst: 60.0,
    per_second: 0.1,
};

/// The tokens of one user that are older than this process. Another process may have charged them: a rollout must not send a user
/// with many agents away. There are as many as a process admits during the life of a token (60, and 540 in 90 minutes), so that
/// a user who keeps tokens for the next rollout gains no more.
const EARLIER_TOKENS: Rate = Rate {
    burst: 600.0,
    per_second: 0.1,
};

/// Maximum time by which Entra sets `iat` before the moment at which it issues a token.
const BACKDATED: Duration = Duration::from_mins(5);

/// After this time without a new token a budget is full again, and is dropped.
const BUDGET_LIFE: Duration = Duration::from_mins(100);

/// Maximum number of budgets. Only users with a valid token have one, or two after a rollout.
const MAX_USERS: u64 = 20_000;

/// Maximum number of known tokens. The downstream tokens of about as many fit into their cache.
const MAX_TOKENS: u64 = 20_000;

/// A token that is not used for this time is forgotten, and is charged again.
const TOKEN_LIFE: Duration = Duration::from_mins(90);

/// The tokens that were charged, and the users' budgets. Clones share them.
#[derive(Clone)]
pub(crate) struct NewTokens {
    /// When this process began to charge.
    began: Timestamp,
    known: Cache<SessionId, ()>,
    budgets: Cache<BudgetKey, Arc<Mutex<TokenBucket>>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct BudgetKey {
    user: UserIdentity,
    /// The budget of tokens that are older than this process.
    is_earlier: bool,
}

impl NewTokens {
    pub(crate) fn new(now: Timestamp) -> Self {
        let known = Cache::builder()
            .max_capacity(MAX_TOKENS)
            .time_to_idle(TOKEN_LIFE)
            .build();
        let budgets = Cache::builder()
            .max_capacity(MAX_USERS)
            .time_to_idle(BUDGET_LIFE)
            .build();
        Self {
            began: now,
            known,
            budgets,
        }
    }

    /// Charges the user for `token`, unless it was charged before. Parallel requests with one token are charged once.
    ///
    /// # Errors
    /// The time until the next new token, if the budget is used up.
    pub(crate) async fn try_charge(
        &self,
        token: SessionId,
        issued_at: Timestamp,
        user: &UserIdentity,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let is_earlier = issued_at < self.began - BACKDATED;
        let charge = self.charge(user, is_earlier, now);
        self.known.try_get_with(token, charge).await.map_err(|wait| *wait)
    }

    async fn charge(&self, user: &UserIdentity, is_earlier: bool, now: Timestamp) -> Result<(), Duration> {
        let rate = if is_earlier { EARLIER_TOKENS } else { NEW_TOKENS };
        let key = BudgetKey {
            user: user.clone(),
            is_earlier,
        };
        let full = async { Arc::new(Mutex::new(TokenBucket::full(rate, now))) };
        let budget = self.budgets.get_with(key, full).await;
        let mut budget = budget.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = 1.0 - budget.tokens(rate, now);
        if missing > 0.0 {
            return Err(Duration::try_from_secs_f64(missing / rate.per_second).unwrap_or(BUDGET_LIFE));
        }
        budget.charge(rate, now);
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
        let limit = NewTokens::new(START);
        let (ana, ben) = (user("ana"), user("ben"));
        // As Entra dates a token of this moment.
        let backdated = START - SignedDuration::from_mins(5);
        for number in 0..60 {
            assert_eq!(
                limit.try_charge(token(1, number), backdated, &ana, START).await,
                Ok(())
            );
        }
        let next = token(1, 60);
        let wait = limit.try_charge(next, START, &ana, START).await;
        assert_eq!(wait, Err(Duration::from_secs(10)));
        assert_eq!(limit.try_charge(token(2, 0), START, &ben, START).await, Ok(()));
        let later = START + SignedDuration::from_secs(10);
        assert_eq!(limit.try_charge(next, START, &ana, later).await, Ok(()));
        assert!(limit.try_charge(token(1, 61), START, &ana, later).await.is_err());
    }

    #[tokio::test]
    async fn after_a_rollout_a_user_goes_on_with_the_tokens_that_the_process_before_admitted() {
        let limit = NewTokens::new(START);
        let ana = user("ana");
        let before = START - SignedDuration::from_secs(301);
        for number in 0..600_u16 {
            let [high, low] = number.to_be_bytes();
            let charged = limit.try_charge(token(high, low), before, &ana, START).await;
            assert_eq!(charged, Ok(()), "{number}");
        }
        let wait = limit.try_charge(token(9, 0), before, &ana, START).await;
        assert_eq!(wait, Err(Duration::from_secs(10)));
        let new = limit.try_charge(token(9, 1), START, &ana, START).await;
        assert_eq!(new, Ok(()), "new tokens have their own budget");
    }

    #[tokio::test]
    async fn a_token_is_charged_once_also_by_parallel_requests() {
        let limit = NewTokens::new(START);
        let ana = user("ana");
        let one = token(1, 0);
        for _ in 0..100 {
            let both = tokio::join!(
                limit.try_charge(one, START, &ana, START),
                limit.try_charge(one, START, &ana, START)
            );
            assert_eq!(both, (Ok(()), Ok(())));
        }
        for number in 1..60 {
            assert_eq!(
                limit.try_charge(token(1, number), START, &ana, START).await,
                Ok(())
            );
        }
        assert!(limit.try_charge(token(1, 60), START, &ana, START).await.is_err());
        assert_eq!(
            limit.try_charge(one, START, &ana, START).await,
            Ok(()),
            "a token that was charged goes on"
        );
    }
}
