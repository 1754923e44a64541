//! Break the federation in every way, and fix it.

use behalf_entra::{EntraError, FederationFinding, FederationReason, NextStep, Verdict};
use behalf_simulators::entra::{FederatedCredential, IssuerFixture, RequestKind, ServiceAccountToken};
use behalf_simulators::people::CLIENT_ID;

use crate::tenant::Tenant;

fn right() -> ServiceAccountToken {
    ServiceAccountToken::of(IssuerFixture::SUBJECT)
}

fn is_false(reason: FederationReason) -> FederationFinding {
    FederationFinding {
        verdict: Verdict::False,
        reason,
    }
}

/// The finding, and the number it came from: a reason alone could come from the fallback.
async fn assert_refused(tenant: &Tenant, code: u32, reason: FederationReason) {
    let error = tenant.probe().await.unwrap_err();
    assert_eq!(error.refusal().unwrap().codes, [code], "{error}");
    assert_eq!(error.federation_finding(), is_false(reason));
    assert_eq!(error.next_step(), NextStep::ClientAuthentication);
}

#[tokio::test]
async fn the_projected_token_is_taken_as_the_application() {
    let tenant = Tenant::start().await;
    tenant.probe().await.unwrap();
    let requests = tenant
        .control
        .requests_of(RequestKind::ClientCredentials)
        .await
        .unwrap();
    assert_eq!(requests.len(), 1);
    assert!(!requests[0].has("client_secret") && !requests[0].has("resource"));
    assert_eq!(requests[0].authorization_scheme, None);
}

#[tokio::test]
async fn a_removed_credential_is_reported_and_a_recreated_one_works_without_a_restart() {
    let tenant = Tenant::start().await;
    tenant.probe().await.unwrap();
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    assert_eq!(tenant.finding().await.verdict, Verdict::False);
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[tenant.cluster.credential()])
        .await
        .unwrap();
    tenant.probe().await.unwrap();
}

#[tokio::test]
async fn right_claims_signed_by_another_key() {
    let tenant = Tenant::start().await;
    tenant.project(&right().foreign_key());
    assert_refused(&tenant, 700_027, FederationReason::FederatedTokenSignature).await;
}

#[tokio::test]
async fn another_issuer() {
    let tenant = Tenant::start().await;
    tenant.project(&right().issuer("https://oidc.contoso.example/"));
    assert_refused(&tenant, 700_211, FederationReason::FicIssuerMismatch).await;
}

#[tokio::test]
async fn another_audience() {
    let tenant = Tenant::start().await;
    tenant.project(&right().audience("api://AzureADTokenExchangeUSGov"));
    assert_refused(&tenant, 700_212, FederationReason::FicAudienceMismatch).await;
}

#[tokio::test]
async fn another_service_account() {
    let tenant = Tenant::start().await;
    tenant.project(&ServiceAccountToken::of("system:serviceaccount:mcp:another"));
    assert_refused(&tenant, 700_213, FederationReason::FicSubjectMismatch).await;
}

#[tokio::test]
async fn a_subject_in_another_case() {
    let tenant = Tenant::start().await;
    let credential = FederatedCredential::new(
        tenant.cluster.issuer(),
        IssuerFixture::SUBJECT.to_ascii_uppercase(),
    );
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[credential])
        .await
        .unwrap();
    assert_refused(&tenant, 7_002_138, FederationReason::FicCaseMismatch).await;
}

#[tokio::test]
async fn an_expired_token() {
    let tenant = Tenant::start().await;
    tenant.project(&right().expired(3_600));
    assert_refused(&tenant, 700_024, FederationReason::FederatedTokenExpired).await;
}

#[tokio::test]
async fn an_issuer_that_entra_cannot_reach() {
    let tenant = Tenant::start().await;
    tenant.cluster.set_available(false);
    assert_refused(&tenant, 90_061, FederationReason::IssuerUnreachable).await;
    tenant.cluster.set_available(true);
    tenant.probe().await.unwrap();
}

#[tokio::test]
async fn an_unknown_application() {
    let tenant = Tenant::start().await;
    tenant.control.delete_application(CLIENT_ID).await.unwrap();
    assert_refused(&tenant, 700_016, FederationReason::AppNotFound).await;
}

#[tokio::test]
async fn a_disabled_application() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .update_application(CLIENT_ID, |application| application.enabled = false)
        .await
        .unwrap();
    assert_refused(&tenant, 7_000_112, FederationReason::AppDisabled).await;
}

#[tokio::test]
async fn a_public_client() {
    let tenant = Tenant::start().await;
    let public = tenant
        .control
        .update_application(CLIENT_ID, |application| application.public_client = true);
    public.await.unwrap();
    assert_refused(&tenant, 700_025, FederationReason::PublicClient).await;
}

#[tokio::test]
async fn an_application_without_any_credential() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    assert_refused(&tenant, 70_025, FederationReason::FicNotFound).await;
}

#[tokio::test]
async fn a_credential_that_is_not_known_everywhere_yet() {
    let tenant = Tenant::start().await;
    tenant
        .control
        .update_settings(|settings| settings.federation_propagation_seconds = 600)
        .await
        .unwrap();
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[])
        .await
        .unwrap();
    tenant
        .control
        .put_federated_credentials(CLIENT_ID, &[tenant.cluster.credential()])
        .await
        .unwrap();
    assert_refused(&tenant, 70_025, FederationReason::FicNotFound).await;
    tenant.probe().await.unwrap();
}

#[tokio::test]
async fn a_tenant_without_azure_devops() {
    let tenant = Tenant::start().await;
    let mut directory = tenant.control.directory().await.unwrap();
    directory.azure_devops_principal = false;
    tenant.control.put_directory(&directory).await.unwrap();
    assert_refused(&tenant, 500_011, FederationReason::ResourceNotFound).await;
}

#[tokio::test]
async fn a_probe_for_itself_meets_required_assignment_and_says_nothing_about_the_federation() {
    let tenant = Tenant::start().await;
    let error = tenant
        .client
        .client_credentials(&format!("{CLIENT_ID}/.default"))
        .await
        .unwrap_err();
    assert_eq!(error.refusal().unwrap().codes, [501_051]);
    assert_eq!(
        error.federation_finding(),
        FederationFinding {
            verdict: Verdict::Unknown,
            reason: FederationReason::AppNotAssigned
        }
    );
}

#[tokio::test]
async fn a_token_of_the_tenant_itself_is_never_sent() {
    let tenant = Tenant::start().await;
    tenant.project(&right().issuer(&tenant.entra.issuer()));
    assert_eq!(
        tenant.finding().await,
        is_false(FederationReason::ChainedFederation)
    );
    assert!(
        tenant
            .control
            .requests_of(RequestKind::ClientCredentials)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn the_clusters_key_rotation_goes_unnoticed() {
    let tenant = Tenant::start().await;
    tenant.probe().await.unwrap();
    tenant.cluster.rotate_keys(true).unwrap();
    tenant.project(&right());
    tenant.probe().await.unwrap();
}

#[tokio::test]
async fn silence_is_unknown_not_false() {
    let tenant = Tenant::start().await;
    tenant.probe().await.unwrap();
    drop(tenant.entra);
    let error = tenant
        .client
        .client_credentials(behalf_entra::AZURE_DEVOPS_SCOPE)
        .await
        .unwrap_err();
    assert!(matches!(error, EntraError::Unreachable(_)), "{error:?}");
    assert_eq!(
        error.federation_finding(),
        FederationFinding {
            verdict: Verdict::Unknown,
            reason: FederationReason::Unreachable
        }
    );
}
