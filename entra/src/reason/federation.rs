//! Reasons why the federation of `ServiceAccount` and application does not work.

/// Whether a finding shows that the federation does not work, or leaves it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Entra answered, and the answer means that the federation does not work.
    False,
    /// The error says nothing about the federation: an outage, a policy, or an answer with an unknown meaning.
    Unknown,
}

impl Verdict {
    /// Returns the status of the condition.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The finding of an error about the federation of `ServiceAccount` and application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FederationFinding {
    /// Gives the status of the condition `FederationVerified`.
    pub verdict: Verdict,

    /// The reason of the condition `FederationVerified`.
    pub reason: FederationReason,
}

behalf_contract::wire_names! {
    /// Why Entra does not accept the Pod's token as the application. Reasons of the condition
    /// `FederationVerified`. The file `codes.rs` contains the AADSTS numbers of each; no control flow depends on
    /// them.
    pub enum FederationReason {
        /// No credential of the application names the token's issuer.
        FicIssuerMismatch,
        /// No credential names the token's audience.
        FicAudienceMismatch,
        /// No credential names the token's subject.
        FicSubjectMismatch,
        /// Issuer or subject differ from a credential's in upper and lower case only.
        FicCaseMismatch,
        /// The application has no federated identity credential, or none that matches.
        FicNotFound,
        /// Entra itself issued the token.
        ChainedFederation,
        /// Entra does not accept such a token as assertion, or the file contains no token.
        WrongAssertion,
        /// The token has expired, or is not valid yet.
        FederatedTokenExpired,
        /// The token's signature does not match the issuer's keys.
        FederatedTokenSignature,
        /// Entra cannot read the issuer's discovery document or keys.
        IssuerUnreachable,
        /// The tenant has no such application.
        AppNotFound,
        /// The application is disabled.
        AppDisabled,
        /// The authority has no such tenant, or names another issuer.
        TenantNotFound,
        /// The application is registered as a public client, which may not send an assertion.
        PublicClient,
        /// The tenant has no service principal of the resource.
        ResourceNotFound,
        /// The application is not assigned to a role of the resource.
        AppNotAssigned,
        /// A Conditional Access policy blocks the application.
        PolicyBlocked,
        /// Entra did not answer, or its answer cannot be used.
        Unreachable,
        /// Entra asked to wait.
        Throttled,
        /// Entra refused with a number that this table does not contain.
        Unknown,
    }
}

impl FederationReason {
    /// Returns one sentence for the administrator: the next step, and where to take it.
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
                "Use the ServiceAccount token directly, without a managed identity, and put the federated identity \
                 credential on the application: Entra refuses its own tokens as federated assertions."
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
                "Make the issuer's .well-known/openid-configuration and its keys answer on the internet \
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
                "Create the service principal of the requested API in the tenant: \
                 az ad sp create --id <application id of the API> (499b84ac-1321-427f-aa17-267ca6975798 for Azure DevOps)."
            }
            Self::AppNotAssigned => {
                "Give the application an app role of the requested API, which requires assignment. Users may be able to \
                 sign in nevertheless."
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

    /// Returns whether this reason, if Entra states it, shows that the federation does not work.
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
