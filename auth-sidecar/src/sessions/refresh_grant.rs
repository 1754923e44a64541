//! Redeems the refresh tokens of clients.

use std::net::IpAddr;

use behalf_entra::Secret;

use super::Sessions;
use super::error::{DeadGrant, GrantError, Unavailable};
use super::grant::Issue;
use super::grant::{ClientDigest, ClientTokens, Grant};
use super::record::Record;
use super::refresh_rotation::Presented;
use super::repository::{Change, LoadError};
use crate::access::Scopes;
use crate::keys::Purpose;
use crate::telemetry::audit::{Action, Event};

/// The outcome for an authentic refresh token.
enum RefreshOutcome {
    Issue { record: Box<Record>, generation: u64 },
    Revoked(Box<Record>),
    Dead(DeadGrant),
    Scope,
}

impl Sessions {
    /// Issues a new access token and a new refresh token. `scopes` narrows the new access token, and must not
    /// exceed the scopes that the user granted. The refresh token keeps all granted scopes (RFC 6749, section 6). `address` is
    /// that of the sender, for the audit log.
    pub async fn refresh(
        &self,
        refresh_token: &Secret,
        client_id: &str,
        scopes: Option<Scopes>,
        address: Option<IpAddr>,
    ) -> Result<ClientTokens, GrantError> {
        let now = self.clock.now();
        let grant = Grant::open(&self.keyring, Purpose::Refresh, refresh_token)?;
        let refused = |reason| self.audit_refused_grant(Action::TokenRefresh, &grant.id, address, reason);
        if grant.expires_at <= now {
            return Err(DeadGrant::Expired.into());
        }
        if grant.client != ClientDigest::of(client_id) || grant.resource != self.rules.resource {
            refused("wrong_binding").await;
            return Err(DeadGrant::Binding.into());
        }
        let decide = |record: &mut Record, _: &mut _| {
            if self.is_revoked(record) {
                return Change::Nothing(RefreshOutcome::Revoked(Box::new(record.clone())));
            }
            let Some(family) = record.family else {
                return Change::Nothing(RefreshOutcome::Dead(DeadGrant::Unknown));
            };
            if record.ends_at <= now {
                return Change::Nothing(RefreshOutcome::Dead(DeadGrant::Ended));
            }
            match family.present(grant.generation, now, self.rules.refresh_grace) {
                Presented::Reused => Change::Nothing(RefreshOutcome::Dead(DeadGrant::Reused)),
                Presented::Valid(_) if record.sign_in_required => {
                    Change::Nothing(RefreshOutcome::Dead(DeadGrant::SignInRequired))
                }
                // The check for reuse comes first: a stolen old token ends the family, whichever scope it requests.
                Presented::Valid(_) if scopes.is_some_and(|scopes| !record.scopes.contains(scopes)) => {
                    Change::Nothing(RefreshOutcome::Scope)
                }
                Presented::Valid(_) if record.step_up_until.is_some_and(|until| now < until) => {
                    record.step_up_until = Some(now);
                    Change::Write(RefreshOutcome::Dead(DeadGrant::StepUp))
                }
                Presented::Valid(next) => {
                    record.family = Some(next);
                    let issue = RefreshOutcome::Issue {
                        record: Box::new(record.clone()),
                        generation: next.generation,
                    };
                    if next == family {
                        Change::Nothing(issue)
                    } else {
                        Change::Write(issue)
                    }
                }
            }
        };
        let outcome = match self.repository.change(&grant.id, &grant.secret, decide).await {
            Ok(outcome) => outcome,
            Err(LoadError::Gone | LoadError::OtherSecret) => return Err(DeadGrant::Ended.into()),
            Err(LoadError::Unavailable(source)) => return Err(GrantError::Unavailable(source)),
        };
        match outcome {
            RefreshOutcome::Issue { record, generation } => {
                let issue = Issue {
                    id: &grant.id,
                    secret: &grant.secret,
                    record: &record,
                    generation,
                    scopes: scopes.unwrap_or(record.scopes),
                    now,
                };
                let tokens = self
                    .client_tokens(&issue)
                    .map_err(|_| GrantError::Unavailable(Unavailable::Sealing))?;
                Event::of(Action::TokenRefresh)
                    .user(&record.user)
                    .client(&record.client_id)
                    .session(&grant.id)
                    .address(address)
                    .succeeded();
                Ok(tokens)
            }
            RefreshOutcome::Dead(DeadGrant::Reused) => {
                Err(self.end_reused(&grant.id, "refresh_token_reused").await?)
            }
            RefreshOutcome::Revoked(record) => {
                self.end_revoked(&grant.id, &record).await;
                Err(DeadGrant::Revoked.into())
            }
            RefreshOutcome::Dead(dead) => {
                match dead {
                    DeadGrant::SignInRequired => refused("sign_in_required").await,
                    DeadGrant::StepUp => refused("step_up").await,
                    // The session has ended, or never began.
                    _ => {}
                }
                Err(dead.into())
            }
            RefreshOutcome::Scope => {
                refused("invalid_scope").await;
                Err(GrantError::Scope)
            }
        }
    }
}
