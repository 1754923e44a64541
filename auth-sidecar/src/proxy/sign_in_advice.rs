//! The answers to a user whose token is refused within minutes after the sign-in, or who cannot consent.

use jiff::SignedDuration;

/// A user who signed in within this time is not asked to sign in again because of a refused token. Another login
/// would bring the same token, and the client would ask for logins without end.
pub(super) const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// Message to the user when the downstream API refuses the token within [`RECENT`].
pub(super) const TOKEN_REFUSED: &str = "The service behind this server refuses this account's token although the sign-in \
    is only minutes old, so signing in again does not help. For Azure DevOps: check that the account belongs to the \
    tenant of the organization (a guest account has to be a member there), and open the organization once in a \
    browser with this account. If that does not help, ask an administrator to compare the organization's tenant with \
    the one of this server.";

/// Message to the user when Entra refuses to exchange the user's token within [`RECENT`].
pub(super) const ASSERTION_REFUSED: &str = "Entra refuses this account's token for the service behind this server \
    although the sign-in is only minutes old, so signing in again does not help. Ask an administrator to compare the \
    application and the tenant of this server with the ones in Entra, and to look at the tenant's sign-in logs.";

/// Message to the user of a client that presented a token of Entra, if nobody consented to the exchange of the token
/// (AADSTS65001). The client's own sign-in asks for another consent, so that it would not help.
pub(super) const CONSENT_MISSING: &str = "Nobody has consented that this server calls the service behind it for this \
    account, and another token does not change that: ask an administrator to grant the consent of this server's \
    application (az ad app permission admin-consent --id <client id>).";

/// Message to the user of a client that presented a token of Entra, if Entra demands another sign-in although the token was
/// issued within [`RECENT`].
pub(super) const NEW_TOKEN_NEEDED: &str = "Entra demands another sign-in of this account although the presented token is \
    only minutes old: sign in again in the application that you use, so that it gets a token from that sign-in. If that \
    does not help, ask an administrator to look at the tenant's sign-in logs.";
