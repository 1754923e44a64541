//! Reasons why Entra refused a user's sign-in, refresh or On-Behalf-Of exchange.

behalf_contract::wire_names! {
    /// Why Entra refused a user's sign-in, refresh or On-Behalf-Of: the message to the user, and a label for
    /// metrics. The file `codes.rs` contains the AADSTS numbers of each.
    pub enum SignInReason {
        /// Neither the user nor an administrator has consented.
        ConsentRequired,
        /// Only an administrator may consent.
        AdminConsentRequired,
        /// The user declined on the consent dialog.
        ConsentDeclined,
        /// The application's registration is wrong, or this project uses it wrongly.
        AppMisconfigured,
        /// The registration lacks a permission of the resource.
        PermissionMissing,
        /// The application requires assignment, and the user is not assigned.
        UserNotAssigned,
        /// An application signed in where a user is required.
        UsersOnly,
        /// The tenant does not admit the account: unknown, foreign or disabled.
        UserNotAllowed,
        /// Multi-factor authentication or another control is required.
        StepUpRequired,
        /// A policy requires a managed device or an approved app.
        DeviceCondition,
        /// A Conditional Access policy blocks the user.
        PolicyBlocked,
        /// Conditional Access requires tokens bound to a device, which this application cannot request.
        TokenProtection,
        /// A policy limits the age of a login, and this one is older.
        SignInFrequency,
        /// Entra no longer accepts the user's token as On-Behalf-Of assertion.
        UserTokenStale,
        /// The authorization code was redeemed before, or belongs to another request.
        CodeUnusable,
        /// The user's grant has expired, was inactive for too long, or was revoked.
        SessionEnded,
        /// Entra cannot read the grant.
        GrantMalformed,
        /// The request was repeated too often.
        LoopDetected,
    }
}

impl SignInReason {
    /// Returns one sentence for the user: what happened, the next step, and who can take it.
    pub fn hint(self) -> &'static str {
        match self {
            Self::ConsentRequired => {
                "Nobody has consented to this application yet: sign in again and accept, or ask an \
                 administrator to grant consent (az ad app permission admin-consent --id <client id>)."
            }
            Self::AdminConsentRequired => {
                "This application needs an administrator's consent: ask for \
                 az ad app permission admin-consent --id <client id>."
            }
            Self::ConsentDeclined => "The consent was declined: sign in again and accept to go on.",
            Self::AppMisconfigured => {
                "The application registration does not fit: an administrator has to set \
                 requestedAccessTokenVersion to 2, expose the scope access_as_user and allow User.Read."
            }
            Self::PermissionMissing => {
                "The application does not declare the permission it needs: an administrator has to add the delegated \
                 permission of the API behind this server (user_impersonation for Azure DevOps) and consent to it."
            }
            Self::UserNotAssigned => {
                "You are not assigned to this application: ask an administrator to assign you or a group of \
                 yours on the enterprise application."
            }
            Self::UsersOnly => "Only people may use this server: sign in as a user, not as an application.",
            Self::UserNotAllowed => {
                "Your account may not sign in to this tenant: an administrator has to invite, enable or \
                 allow it."
            }
            Self::StepUpRequired => "Your organization asks for a further proof: sign in again.",
            Self::DeviceCondition => {
                "Your organization asks for a compliant device or an approved app: sign in from one."
            }
            Self::PolicyBlocked => {
                "A Conditional Access policy blocks this: give an administrator the correlation id, signing \
                 in again does not help."
            }
            Self::TokenProtection => {
                "Your organization's policy accepts only sign-ins that are bound to a device (token protection), \
                 which this server cannot offer: ask an administrator to exclude this application from that \
                 policy, signing in again does not help."
            }
            Self::SignInFrequency => "Your organization asks for a fresh login: sign in again.",
            Self::UserTokenStale => "The login is too old or was withdrawn: sign in again.",
            Self::CodeUnusable => "This login cannot be completed any more: start it again.",
            Self::SessionEnded => "The session ended or was revoked: sign in again.",
            Self::GrantMalformed => "The stored login is not readable for Entra: sign in again.",
            Self::LoopDetected => "The same request was made too often: wait some minutes.",
        }
    }

    /// Returns one sentence for an administrator if the cause is in the application, so that every user may get
    /// this refusal. `None` if the cause concerns one user, one device or one login.
    pub fn fix(self) -> Option<&'static str> {
        match self {
            Self::ConsentRequired | Self::AdminConsentRequired => Some(
                "Grant the application's permissions for the whole tenant: \
                 az ad app permission admin-consent --id <client id>.",
            ),
            Self::AppMisconfigured => Some(
                "Set requestedAccessTokenVersion of the app registration to 2, expose the scope \
                 access_as_user and allow User.Read.",
            ),
            Self::PermissionMissing => Some(
                "Add the delegated permission of the requested API (user_impersonation for Azure DevOps) to the app \
                 registration, then az ad app permission admin-consent --id <client id>.",
            ),
            _ => None,
        }
    }

    /// True if a login cannot change the answer. `with_claims` is true if Entra named claims that a login could
    /// satisfy.
    pub(crate) fn blocks(self, with_claims: bool) -> bool {
        match self {
            Self::AdminConsentRequired
            | Self::AppMisconfigured
            | Self::PermissionMissing
            | Self::UserNotAssigned
            | Self::UsersOnly
            | Self::UserNotAllowed
            | Self::PolicyBlocked
            | Self::TokenProtection => true,
            Self::DeviceCondition => !with_claims,
            Self::ConsentRequired
            | Self::ConsentDeclined
            | Self::StepUpRequired
            | Self::SignInFrequency
            | Self::UserTokenStale
            | Self::CodeUnusable
            | Self::SessionEnded
            | Self::GrantMalformed
            | Self::LoopDetected => false,
        }
    }
}
