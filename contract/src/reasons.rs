//! Reasons of conditions, as they are written in the status of an `McpServer` and in the status document of a Pod.
//! `docs/conditions.md` explains each. Operator and sidecar use this list, so a reason has the same name in both.

/// Declares an enum of which each variant is written exactly as it is called.
#[macro_export]
macro_rules! wire_names {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant, in the order of the declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name as it is written.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// Returns the variant with this name, or `None` if this version does not know the name.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|name| name.as_str() == text)
            }
        }
    };
}

wire_names! {
    /// A condition's reason.
    pub enum Reason {
        // Ready
        /// The conditions that `Ready` depends on have been True at this generation.
        Ready,
        /// A result is missing.
        Verifying,

        // Accepted, Stalled
        /// The spec is valid.
        Accepted,
        /// A field has an unusable value.
        InvalidSpec,
        /// An older object names this `publicUrl`.
        PublicUrlTaken,
        /// The bundle of `certificateAuthorityRef` does not exist.
        CertificateAuthorityNotFound,
        /// That bundle contains no certificate.
        CertificateAuthorityInvalid,
        /// The given `ServiceAccount` does not exist.
        ServiceAccountNotFound,
        /// The owner of the `ServiceAccount` does not share it with this object, or it must not be shared.
        ServiceAccountNotShared,
        /// The keyring Secret cannot be read.
        KeyringDamaged,
        /// An object of another owner has the name of a child.
        NameTaken,
        /// The API server refuses a child.
        ChildRejected,
        /// This version of the operator cannot read the object.
        Undecodable,

        // Available, Reconciling
        /// Enough Pods are ready.
        PodsServing,
        /// A rollout replaces the Pods.
        RolloutInProgress,
        /// A Pod runs and is not ready.
        PodsNotReady,
        /// A Pod does not reach the store of the sessions. Also of `SessionsDurable`.
        StoreUnreachable,
        /// A Secret or `ConfigMap` of a Pod does not exist.
        VolumesUnavailable,
        /// A node evicted or refused the only Pod.
        PodFailed,
        /// No Pod could be created.
        PodsRefused,
        /// No node fits.
        Unschedulable,
        /// An image cannot be pulled.
        ImagePullFailed,
        /// A container ends repeatedly.
        ContainerCrashing,
        /// A container cannot be created.
        ContainerMisconfigured,
        /// There is no Deployment.
        NotDeployed,
        /// `suspend` is true.
        Suspended,
        /// A step of the operator failed repeatedly; the operator tries again.
        StepFailed,

        // UpdatePending
        /// Enough other objects roll out.
        RolloutWaiting,

        // FederationVerified, Verified
        /// No Pod has reported yet.
        NotObserved,
        /// The operator cannot read the Pod's status.
        PodUnreachable,
        /// Entra accepted the token.
        TokenAccepted,
        /// No federated identity credential of the application names the issuer of the token (AADSTS700211).
        FicIssuerMismatch,
        /// No federated identity credential names the audience of the token (AADSTS700212).
        FicAudienceMismatch,
        /// No federated identity credential names the subject of the token (AADSTS700213).
        FicSubjectMismatch,
        /// The token differs from a federated identity credential in upper and lower case only (AADSTS7002137,
        /// AADSTS7002138).
        FicCaseMismatch,
        /// The application has no federated identity credential, or none that matches (AADSTS70021, AADSTS70025).
        FicNotFound,
        /// Entra itself issued the token, and accepts no such token as assertion (AADSTS700231).
        ChainedFederation,
        /// Entra accepts no such token as assertion, or the file contains no token (AADSTS700222, AADSTS700229).
        WrongAssertion,
        /// The token has expired, or is not valid yet (AADSTS700024).
        FederatedTokenExpired,
        /// The token's signature does not match the keys of its issuer (AADSTS700027, AADSTS50012).
        FederatedTokenSignature,
        /// Entra cannot read the discovery document or the keys of the issuer (AADSTS90061, AADSTS50166,
        /// AADSTS501661).
        IssuerUnreachable,
        /// The tenant has no such application (AADSTS700016, AADSTS700011).
        AppNotFound,
        /// The application is disabled (AADSTS7000112, AADSTS70001).
        AppDisabled,
        /// The authority has no such tenant, or names another issuer (AADSTS90002, AADSTS90038).
        TenantNotFound,
        /// The application is registered as a public client, which may not send an assertion (AADSTS700025).
        PublicClient,
        /// The tenant has no service principal of the requested API (AADSTS500011).
        ResourceNotFound,
        /// The application is not assigned to a role of the requested API (AADSTS501051).
        AppNotAssigned,
        /// A Conditional Access policy blocks the application or the user (AADSTS53003, AADSTS530032, AADSTS530035,
        /// AADSTS53011), or requires tokens that are bound to a device (AADSTS530084).
        PolicyBlocked,
        /// Entra does not answer.
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
        /// The server answers only with a user's token, and has answered a user's request with a result.
        UserAnswered,
        /// The server answered with an error.
        ServerError,
        /// The server does not speak MCP.
        NotMcp,

        // RouteReady
        /// Every Gateway has accepted the `HTTPRoute`.
        RouteAccepted,
        /// A Gateway has not said yet whether it accepts the route.
        RoutePending,
        /// The cluster serves no `HTTPRoute`.
        GatewayApiNotInstalled,
        /// No listener of the Gateway admits routes of this namespace.
        NotAllowedByListeners,
        /// No listener of the Gateway has the host of `publicUrl`.
        NoMatchingListenerHostname,
        /// The Gateway has no listener of that name.
        NoMatchingParent,
        /// The controller of the Gateway does not support a field of the route.
        UnsupportedValue,
        /// The Gateway does not find the Service.
        BackendNotResolved,
        /// The Gateway refuses the route for another reason.
        RouteRefused,

        // TenantMatches
        /// Azure DevOps names the tenant of `entra.tenantId` for the organization.
        SameTenant,
        /// Azure DevOps names another tenant.
        OtherTenant,
        /// The organization is connected to no tenant.
        NoTenant,
        /// Azure DevOps answers and names no tenant.
        TenantNotNamed,

        // UserSignIn
        /// A user signed in.
        SignedIn,
        /// Nobody has consented to the permissions that the application requests (AADSTS65001).
        ConsentRequired,
        /// An administrator must consent to the permissions of the application (AADSTS90094, AADSTS90095).
        AdminConsentRequired,
        /// The registration of the application does not fit its requests (AADSTS500131, AADSTS90008, AADSTS90009,
        /// AADSTS240002).
        AppMisconfigured,
        /// The application lacks a permission of the requested API (AADSTS650057, AADSTS650056, AADSTS65005,
        /// AADSTS650052).
        PermissionMissing,

        // SessionsDurable
        /// Sessions are in one Pod's memory.
        MemoryStore,
        /// Sessions are in a Redis that deletes none of them.
        SharedStore,
        /// The Redis deletes sessions when its memory is full.
        EvictionPolicy,
        /// The Redis does not say whether it deletes sessions.
        EvictionPolicyUnknown,
        /// The keyring that the Pods mount cannot be used. They go on with the keys that they loaded before.
        KeyringUnusable,

        // RevocationsInForce
        /// Every ready Pod has loaded the declared revocations.
        RevocationsLoaded,
        /// A Pod has other revocations than the declared ones.
        RevocationsPending,
        /// The Secret for the Pods could not be written.
        RevocationsNotWritten,
    }
}

wire_names! {
    /// The reason of an event that no condition reports.
    pub enum EventReason {
        /// The keyring Secret was missing, and the operator made a new keyring.
        KeyringReplaced,
        /// The object uses a keyring Secret without an owner, as a restore from a backup creates it.
        KeyringAdopted,
        /// The operator added a key to the keyring, which does not seal yet.
        KeyRotationStarted,
        /// Every Pod reports the new key, and it seals.
        KeyRotated,
        /// The operator removed a key that no session needs any more.
        KeyRetired,
        /// A step of a rotation cannot be written into the keyring Secret.
        KeyRotationFailed,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// The rows of the tables of reasons and events: each name with what to do.
    fn documented() -> BTreeMap<String, Vec<String>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/conditions.md");
        let text = std::fs::read_to_string(path).unwrap();
        let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut is_table_of_reasons = false;
        for line in text.lines() {
            let mut columns = line.trim_matches('|').split('|').map(str::trim);
            let (first, last) = (columns.next().unwrap_or_default(), columns.next_back());
            match first {
                "Reason" | "Event" => is_table_of_reasons = true,
                _ if !line.starts_with('|') => is_table_of_reasons = false,
                _ if is_table_of_reasons && first.starts_with('`') => {
                    for name in first.split('`').skip(1).step_by(2) {
                        let next_step = last.unwrap_or_default().to_owned();
                        rows.entry(name.to_owned()).or_default().push(next_step);
                    }
                }
                _ => {}
            }
        }
        rows
    }

    #[test]
    fn every_reason_and_no_other_has_a_row_that_says_what_to_do() {
        let rows = documented();
        let conditions = Reason::ALL.iter().map(|reason| reason.as_str());
        let events = EventReason::ALL.iter().map(|reason| reason.as_str());
        let names: BTreeSet<_> = conditions.chain(events).map(str::to_owned).collect();
        assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), names);
        for (name, next_steps) in rows {
            assert!(
                next_steps.iter().all(|step| !step.is_empty()),
                "{name}: {next_steps:?}"
            );
        }
    }
}
