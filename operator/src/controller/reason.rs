//! The closed list of condition types and reasons. `docs/conditions.md` explains each.

/// Declares an enum of names that are written exactly as they are called.
macro_rules! names {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every name.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// The name that is written so.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|name| name.as_str() == text)
            }
        }
    };
}

names! {
    /// A condition's type, in the order in which they are shown.
    pub enum ConditionType {
        /// Everything was seen to work at this generation, and nothing is seen to fail.
        Ready,
        /// The spec is valid and everything it names exists.
        Accepted,
        /// Enough Pods serve the current configuration.
        Available,
        /// Entra takes the Pods' token as the application.
        FederationVerified,
        /// The MCP server listed its tools.
        Verified,
        /// Users sign in, and their tokens are exchanged.
        UserSignIn,
        /// Sessions survive a restart.
        SessionsDurable,
        /// Work is going on; present only while true.
        Reconciling,
        /// This object must be edited; present only while true.
        Stalled,
    }
}

names! {
    /// A condition's reason.
    pub enum Reason {
        // Ready
        /// All that makes an object ready was seen.
        Ready,
        /// Something was not seen yet.
        Verifying,

        // Accepted, Stalled
        /// The spec can be served.
        Accepted,
        /// A field holds what cannot be used.
        InvalidSpec,
        /// An older object names this `publicUrl`.
        PublicUrlTaken,
        /// The bundle of `certificateAuthorityRef` does not exist.
        CertificateAuthorityNotFound,
        /// It holds no certificate.
        CertificateAuthorityInvalid,
        /// The given `ServiceAccount` does not exist.
        ServiceAccountNotFound,
        /// Its owner does not share it with this object, or it must not be shared.
        ServiceAccountNotShared,
        /// The keyring Secret cannot be read.
        KeyringDamaged,
        /// Somebody else's object has the name of a child.
        NameTaken,
        /// The API server refuses a child.
        ChildRejected,

        // Available, Reconciling
        /// Enough Pods are ready.
        PodsServing,
        /// Pods are being replaced.
        RolloutInProgress,
        /// A Pod runs and is not ready.
        PodsNotReady,
        /// No Pod could be created.
        PodsRefused,
        /// No node fits.
        Unschedulable,
        /// An image cannot be pulled.
        ImagePullFailed,
        /// A container ends again and again.
        ContainerCrashing,
        /// A container cannot be created.
        ContainerMisconfigured,
        /// There is no Deployment.
        NotDeployed,
        /// `suspend` is true.
        Suspended,
        /// A step of the operator failed and is tried again.
        StepFailed,

        // FederationVerified, Verified
        /// Nothing was reported yet.
        NotObserved,
        /// The operator cannot read the Pod's status.
        PodUnreachable,
        /// Entra accepted the token.
        TokenAccepted,
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
        /// AADSTS700231.
        ChainedFederation,
        /// AADSTS700222, AADSTS700229.
        WrongAssertion,
        /// AADSTS700024.
        FederatedTokenExpired,
        /// AADSTS700027, AADSTS50012.
        FederatedTokenSignature,
        /// AADSTS90061.
        IssuerUnreachable,
        /// AADSTS700016.
        AppNotFound,
        /// AADSTS7000112.
        AppDisabled,
        /// AADSTS90002.
        TenantNotFound,
        /// AADSTS700025.
        PublicClient,
        /// AADSTS500011.
        ResourceNotFound,
        /// AADSTS501051.
        AppNotAssigned,
        /// AADSTS53003.
        PolicyBlocked,
        /// No answer from Entra.
        Unreachable,
        /// Entra limits the rate.
        Throttled,
        /// A reason that this version has no name for.
        Unknown,
        /// The server listed its tools.
        HandshakeSucceeded,
        /// The server does not listen yet.
        ServerStarting,
        /// The server does not listen.
        ServerUnreachable,
        /// The server did not answer in time.
        ServerTimedOut,
        /// The server answers only with a user's token.
        AuthRequired,
        /// The server answered with an error.
        ServerError,
        /// The server does not speak MCP.
        NotMcp,

        // UserSignIn
        /// A user signed in.
        SignedIn,
        /// AADSTS65001.
        ConsentRequired,
        /// AADSTS90094.
        AdminConsentRequired,
        /// AADSTS500131 and its kind.
        AppMisconfigured,
        /// AADSTS650057 and its kind.
        PermissionMissing,

        // SessionsDurable
        /// Sessions are in one Pod's memory.
        MemoryStore,
    }
}

impl Reason {
    /// Reasons that the federated identity credential is wrong or missing: the command in the status helps.
    pub fn wants_credential(self) -> bool {
        matches!(
            self,
            Self::FicIssuerMismatch
                | Self::FicAudienceMismatch
                | Self::FicSubjectMismatch
                | Self::FicCaseMismatch
                | Self::FicNotFound
                | Self::FederatedTokenSignature
        )
    }
}

#[cfg(test)]
mod tests {
    use behalf_entra::{FederationReason, SignInReason};

    use super::*;

    #[test]
    fn knows_every_reason_that_the_sidecar_can_report_of_the_federation() {
        for reason in FederationReason::ALL {
            assert_eq!(
                Reason::parse(reason.as_str()).map(Reason::as_str),
                Some(reason.as_str())
            );
        }
    }

    #[test]
    fn knows_every_reason_that_the_sidecar_can_report_of_sign_ins() {
        for reason in SignInReason::ALL {
            let known = Reason::parse(reason.as_str()).is_some();
            assert!(known || reason.fix().is_none(), "{reason:?}");
        }
    }

    #[test]
    fn every_reason_is_documented() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conditions.md");
        let text = std::fs::read_to_string(path).unwrap();
        for name in Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .chain(ConditionType::ALL.iter().map(|kind| kind.as_str()))
        {
            assert!(
                text.contains(&format!("`{name}`")),
                "docs/conditions.md does not explain {name}"
            );
        }
    }
}
