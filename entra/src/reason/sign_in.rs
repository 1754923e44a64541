//! Reasons why Entra refused a user's sign-in, refresh or On-Behalf-Of exchange.

behalf_contract::wire_names! {
    /// Why Entra refused a user's sign-in, refresh or On-Behalf-Of: what to tell the person, and a label for
    /// metrics. Chosen by AADSTS number.
    pub enum SignInReason {
        /// AADSTS65001: nobody consented yet.
        ConsentRequired,
        /// AADSTS90094, AADSTS90095: only an administrator may consent.
        AdminConsentRequired,
        /// AADSTS65004: the user said no.
        ConsentDeclined,
        /// AADSTS90008, AADSTS90009, AADSTS240002, AADSTS500131: the registration or our use of it is wrong.
        AppMisconfigured,
        /// AADSTS650057, AADSTS650056, AADSTS65005, AADSTS650052.
        PermissionMissing,
        /// AADSTS50105.
        UserNotAssigned,
        /// AADSTS7000114, AADSTS7000113: an application where a user is needed.
        UsersOnly,
        /// AADSTS50020, AADSTS50034, AADSTS50057, AADSTS90072, AADSTS500212, AADSTS500213.
        UserNotAllowed,
        /// AADSTS50076 and its kind: multi-factor or another control.
        StepUpRequired,
        /// AADSTS50097, AADSTS53000 to AADSTS53002, AADSTS50131: a condition on the device or app.
        DeviceCondition,
        /// AADSTS53003, AADSTS530032, AADSTS530035, AADSTS53011.
        PolicyBlocked,
        /// AADSTS530084: Conditional Access requires tokens bound to a device, which this application
        /// cannot request.
        TokenProtection,
        /// AADSTS70043: the policy asks for a login every so often.
        SignInFrequency,
        /// AADSTS500133, AADSTS50013: the user's token given to On-Behalf-Of is no longer good.
        UserTokenStale,
        /// AADSTS54005, AADSTS501481, AADSTS700005: the authorization code cannot be redeemed.
        CodeUnusable,
        /// AADSTS70008, AADSTS700082, AADSTS700084, AADSTS50173, AADSTS50089: expired, inactive or revoked.
        SessionEnded,
        /// AADSTS70000, AADSTS9002313: a grant that Entra cannot read.
        GrantMalformed,
        /// AADSTS50196: the same request too often.
        LoopDetected,
    }
}

impl SignInReason {
    /// One sentence for the person: what happened, what to do next, and who can.
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
                "The application does not declare the permission it needs: an administrator has to add \
                 user_impersonation of Azure DevOps and consent to it."
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

    /// One sentence for an administrator, where the cause lies in the application and every user may meet it.
    /// `None` where it is the matter of one user, one device or one login.
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
                "Add user_impersonation of Azure DevOps to the app registration, then \
                 az ad app permission admin-consent --id <client id>.",
            ),
            _ => None,
        }
    }

    /// True where a login cannot change the answer. `with_claims`: Entra named claims that a login could
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
