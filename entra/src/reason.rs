//! Reasons that people read: of the condition `FederationVerified`, and of a refused sign-in.

/// Whether a finding contradicts that the federation works, or only hides whether it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Entra answered, and the answer means that the federation does not work.
    False,
    /// Nothing was learned about the federation: an outage, a policy, an answer nobody knows.
    Unknown,
}

impl Verdict {
    /// The condition status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What an error says about the federation of `ServiceAccount` and application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FederationFinding {
    /// The condition's status.
    pub verdict: Verdict,

    /// The condition's reason.
    pub reason: FederationReason,
}

/// Why Entra does not take the Pod's token as the application. Reasons of the condition
/// `FederationVerified`; chosen by AADSTS number, never deciding control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FederationReason {
    /// AADSTS700211.
    FicIssuerMismatch,
    /// AADSTS700212.
    FicAudienceMismatch,
    /// AADSTS700213.
    FicSubjectMismatch,
    /// AADSTS7002137, AADSTS7002138.
    FicCaseMismatch,
    /// AADSTS70021.
    FicNotFound,
    /// AADSTS700231, or an assertion that Entra itself issued.
    ChainedFederation,
    /// AADSTS700222, AADSTS700229, or a file that holds no token.
    WrongAssertion,
    /// AADSTS700024.
    FederatedTokenExpired,
    /// AADSTS700027, AADSTS50012.
    FederatedTokenSignature,
    /// AADSTS90061, AADSTS50166, AADSTS501661.
    IssuerUnreachable,
    /// AADSTS700016, AADSTS700011.
    AppNotFound,
    /// AADSTS70001, AADSTS7000112.
    AppDisabled,
    /// AADSTS90002, AADSTS90038, or an authority that speaks for another issuer.
    TenantNotFound,
    /// AADSTS700025.
    PublicClient,
    /// AADSTS500011.
    ResourceNotFound,
    /// AADSTS501051.
    AppNotAssigned,
    /// AADSTS53003 and its kind.
    PolicyBlocked,
    /// No answer from Entra, or none that could be used.
    Unreachable,
    /// Entra asked to wait.
    Throttled,
    /// An answer that has no name here.
    Unknown,
}

impl FederationReason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::FicIssuerMismatch,
        Self::FicAudienceMismatch,
        Self::FicSubjectMismatch,
        Self::FicCaseMismatch,
        Self::FicNotFound,
        Self::ChainedFederation,
        Self::WrongAssertion,
        Self::FederatedTokenExpired,
        Self::FederatedTokenSignature,
        Self::IssuerUnreachable,
        Self::AppNotFound,
        Self::AppDisabled,
        Self::TenantNotFound,
        Self::PublicClient,
        Self::ResourceNotFound,
        Self::AppNotAssigned,
        Self::PolicyBlocked,
        Self::Unreachable,
        Self::Throttled,
        Self::Unknown,
    ];

    /// The condition's reason, in `CamelCase`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FicIssuerMismatch => "FicIssuerMismatch",
            Self::FicAudienceMismatch => "FicAudienceMismatch",
            Self::FicSubjectMismatch => "FicSubjectMismatch",
            Self::FicCaseMismatch => "FicCaseMismatch",
            Self::FicNotFound => "FicNotFound",
            Self::ChainedFederation => "ChainedFederation",
            Self::WrongAssertion => "WrongAssertion",
            Self::FederatedTokenExpired => "FederatedTokenExpired",
            Self::FederatedTokenSignature => "FederatedTokenSignature",
            Self::IssuerUnreachable => "IssuerUnreachable",
            Self::AppNotFound => "AppNotFound",
            Self::AppDisabled => "AppDisabled",
            Self::TenantNotFound => "TenantNotFound",
            Self::PublicClient => "PublicClient",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::AppNotAssigned => "AppNotAssigned",
            Self::PolicyBlocked => "PolicyBlocked",
            Self::Unreachable => "Unreachable",
            Self::Throttled => "Throttled",
            Self::Unknown => "Unknown",
        }
    }

    /// One sentence: what to do next, and where.
    pub fn fix(self) -> &'static str {
        match self {
            Self::FicIssuerMismatch => {
                "Set the issuer of the federated identity credential to exactly the cluster's issuer; \
                 the trailing slash counts (AKS issuers end in one)."
            }
            Self::FicAudienceMismatch => {
                "Give the federated identity credential and the projected token the same audience, \
                 normally api://AzureADTokenExchange."
            }
            Self::FicSubjectMismatch => {
                "Set the subject of the federated identity credential to \
                 system:serviceaccount:<namespace>:<service account>."
            }
            Self::FicCaseMismatch => {
                "Write issuer, subject and audience of the federated identity credential in exactly the \
                 case of the token: Entra compares case-sensitively."
            }
            Self::FicNotFound => {
                "Create the federated identity credential on the application; one created just now needs \
                 about ten minutes to be known everywhere."
            }
            Self::ChainedFederation => {
                "Take the managed identity out of the path and put the federated identity credential on the \
                 application itself: Entra refuses its own tokens as federated assertions."
            }
            Self::WrongAssertion => {
                "Check that AZURE_FEDERATED_TOKEN_FILE names the projected ServiceAccount token and that its \
                 volume is mounted."
            }
            Self::FederatedTokenExpired => {
                "Check the node's clock and the kubelet: it has to renew the projected token before it expires."
            }
            Self::FederatedTokenSignature => {
                "Check that the credential's issuer is this cluster and publishes its current keys; after a \
                 key rotation wait until Entra has read the new ones."
            }
            Self::IssuerUnreachable => {
                "Make the issuer's .well-known/openid-configuration and its keys answer on the Internet \
                 (az aks update repairs it on AKS)."
            }
            Self::AppNotFound => {
                "Check client id and tenant id, then create the service principal: \
                 az ad sp create --id <client id>."
            }
            Self::AppDisabled => "Enable sign-in for the enterprise application.",
            Self::TenantNotFound => {
                "Check tenant id and authority: this authority does not serve this tenant."
            }
            Self::PublicClient => {
                "Register the redirect URI on platform Web and disable public client flows: a public client \
                 cannot authenticate with an assertion."
            }
            Self::ResourceNotFound => {
                "Create the service principal of Azure DevOps in the tenant: \
                 az ad sp create --id 499b84ac-1321-427f-aa17-267ca6975798."
            }
            Self::AppNotAssigned => {
                "Probe with the scope of another resource, or assign the application to itself: it requires \
                 assignment."
            }
            Self::PolicyBlocked => {
                "Exclude the application from the Conditional Access policy for workload identities, or \
                 include the address it calls from."
            }
            Self::Unreachable => {
                "Check egress to the authority (DNS, NetworkPolicy, proxy, private CA); it is tried again by itself."
            }
            Self::Throttled => "Wait: Entra limits the rate of requests; it is tried again by itself.",
            Self::Unknown => {
                "Look up the error and the correlation id in the sign-in logs of the tenant (service principal sign-ins)."
            }
        }
    }

    /// Whether this contradicts the federation, when Entra said it in so many words.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::PolicyBlocked
            | Self::AppNotAssigned
            | Self::Unreachable
            | Self::Throttled
            | Self::Unknown => Verdict::Unknown,
            _ => Verdict::False,
        }
    }
}

/// Why Entra refused a user's sign-in, refresh or On-Behalf-Of: what to tell the person, and a label for
/// metrics. Chosen by AADSTS number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

impl SignInReason {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::ConsentRequired,
        Self::AdminConsentRequired,
        Self::ConsentDeclined,
        Self::AppMisconfigured,
        Self::PermissionMissing,
        Self::UserNotAssigned,
        Self::UsersOnly,
        Self::UserNotAllowed,
        Self::StepUpRequired,
        Self::DeviceCondition,
        Self::PolicyBlocked,
        Self::SignInFrequency,
        Self::UserTokenStale,
        Self::CodeUnusable,
        Self::SessionEnded,
        Self::GrantMalformed,
        Self::LoopDetected,
    ];

    /// The reason in `CamelCase`, for a condition or a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsentRequired => "ConsentRequired",
            Self::AdminConsentRequired => "AdminConsentRequired",
            Self::ConsentDeclined => "ConsentDeclined",
            Self::AppMisconfigured => "AppMisconfigured",
            Self::PermissionMissing => "PermissionMissing",
            Self::UserNotAssigned => "UserNotAssigned",
            Self::UsersOnly => "UsersOnly",
            Self::UserNotAllowed => "UserNotAllowed",
            Self::StepUpRequired => "StepUpRequired",
            Self::DeviceCondition => "DeviceCondition",
            Self::PolicyBlocked => "PolicyBlocked",
            Self::SignInFrequency => "SignInFrequency",
            Self::UserTokenStale => "UserTokenStale",
            Self::CodeUnusable => "CodeUnusable",
            Self::SessionEnded => "SessionEnded",
            Self::GrantMalformed => "GrantMalformed",
            Self::LoopDetected => "LoopDetected",
        }
    }

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
            | Self::PolicyBlocked => true,
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// A condition's reason, as Kubernetes validates it.
    fn is_camel_case(text: &str) -> bool {
        text.starts_with(|first: char| first.is_ascii_uppercase())
            && text.chars().all(|character| character.is_ascii_alphanumeric())
    }

    #[test]
    fn every_reason_has_a_name_of_its_own_and_a_sentence() {
        let federation = FederationReason::ALL.map(|reason| (reason.as_str(), reason.fix()));
        let sign_in = SignInReason::ALL.map(|reason| (reason.as_str(), reason.hint()));
        for table in [&federation[..], &sign_in[..]] {
            let names: HashSet<_> = table.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), table.len());
            for (name, sentence) in table {
                assert!(is_camel_case(name), "{name}");
                assert!(
                    sentence.len() > 20 && sentence.contains('.'),
                    "{name}: {sentence}"
                );
                assert!(!sentence.contains("  "), "{name}: {sentence}");
            }
        }
    }
}
