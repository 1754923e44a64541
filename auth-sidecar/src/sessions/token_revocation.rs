//! Revocation of tokens (RFC 7009).

use behalf_entra::Secret;

use super::Sessions;
use super::error::{GrantError, Unavailable};
use super::grant::{ClientDigest, Code, Grant};
use super::repository::LoadError;
use crate::keys::{OpenError, Purpose};
use crate::telemetry::audit::{Action, Event};

/// The result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The token is not valid. RFC 7009, section 2.2, gives the same answer whether it was valid before or not.
    Done,

    /// The token belongs to another client.
    OtherClient,

    /// The text is an authorization code. Its session has no token yet.
    UnsupportedType,
}

impl Sessions {
    /// Ends the session of an access token or refresh token. Each of them ends the whole session, as RFC 7009,
    /// section 2.1, allows: a sealed token cannot be revoked alone.
    pub async fn revoke(&self, token: &Secret, client_id: &str) -> Result<Revocation, GrantError> {
        self.end_session_of(token, client_id, "revoked_by_client").await
    }

    /// Ends the session of a token whose client the administrator denies.
    pub(crate) async fn end_denied(&self, token: &Secret, client_id: &str) -> Result<Revocation, GrantError> {
        self.end_session_of(token, client_id, "client_denied").await
    }

    async fn end_session_of(
        &self,
        token: &Secret,
        client_id: &str,
        reason: &'static str,
    ) -> Result<Revocation, GrantError> {
        if self.keyring.open::<Code>(Purpose::Code, token.expose()).is_ok() {
            return Ok(Revocation::UnsupportedType);
        }
        let opened = match Grant::open(&self.keyring, Purpose::Refresh, token) {
            Err(OpenError::Malformed) => Grant::open(&self.keyring, Purpose::Access, token),
            opened => opened,
        };
        let grant = match opened {
            Ok(grant) => grant,
            Err(OpenError::UnknownKey {
                rotation_pending: true,
            }) => {
                return Err(GrantError::Unavailable(Unavailable::Keyring));
            }
            Err(_) => return Ok(Revocation::Done),
        };
        if grant.client != ClientDigest::of(client_id) {
            return Ok(Revocation::OtherClient);
        }
        match self.repository.load(&grant.id, &grant.secret).await {
            Ok(loaded) => {
                self.end(&grant.id).await?;
                Event::of(Action::SessionEnd)
                    .user(&loaded.record.user)
                    .client(client_id)
                    .session(&grant.id)
                    .because(reason)
                    .succeeded();
                Ok(Revocation::Done)
            }
            // A record that this version cannot read must not come back with another one.
            Err(LoadError::Gone) => {
                self.end(&grant.id).await?;
                Ok(Revocation::Done)
            }
            Err(LoadError::OtherSecret) => Ok(Revocation::Done),
            Err(LoadError::Unavailable(source)) => Err(GrantError::Unavailable(source)),
        }
    }
}
