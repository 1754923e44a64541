//! The question for the organization's tenant, against the simulator of Azure DevOps.

use behalf_auth_sidecar::lifecycle::Sidecar;
use behalf_auth_sidecar::observe::{TenantProbe, tenant};
use behalf_contract::{ExchangePlace, Injection, Outcome, SidecarConfig, TenantReport};
use behalf_simulators::azure_devops::{
    AzureDevOpsOptions, AzureDevOpsSimulator, OTHER_TENANT_ID, OrganizationTenant,
};
use jiff::Timestamp;
use rstest::rstest;
use url::Url;

use crate::start_and_stop::until;
use crate::world::World;

/// Azure DevOps, and the configuration of a sidecar for an organization there.
async fn organization(world: &World, name: &str) -> (AzureDevOpsSimulator, SidecarConfig) {
    let options = AzureDevOpsOptions::new(world.entra.authority());
    let azure = AzureDevOpsSimulator::start(options).await.unwrap();
    let mut config = world.config(ExchangePlace::Sidecar, Injection::Header);
    config.tenant_address = Some(azure.identity_url().join(name).unwrap());
    (azure, config)
}

async fn observe(config: &SidecarConfig) -> TenantReport {
    let probe = TenantProbe::of(config).unwrap().unwrap();
    tenant::report(&probe.run().await, Timestamp::UNIX_EPOCH)
}

#[rstest]
#[case(OrganizationTenant::Own, Outcome::Verified, "SameTenant")]
#[case(OrganizationTenant::Other, Outcome::Failed, "OtherTenant")]
#[case(OrganizationTenant::None, Outcome::Failed, "NoTenant")]
#[tokio::test]
async fn azure_devops_names_the_tenant_without_a_user(
    #[case] organization_tenant: OrganizationTenant,
    #[case] outcome: Outcome,
    #[case] reason: &str,
) {
    let world = World::start().await;
    let (azure, config) = organization(&world, "contoso").await;
    let mut settings = azure.control().settings().await.unwrap();
    settings.organization_tenant = organization_tenant;
    azure.control().change_settings(&settings).await.unwrap();
    let report = observe(&config).await;
    assert_eq!((report.outcome, report.reason.as_str()), (outcome, reason));
    assert_eq!(
        report.message.contains(OTHER_TENANT_ID),
        organization_tenant == OrganizationTenant::Other
    );
    assert!(
        azure.control().tokens().await.unwrap().is_empty(),
        "no token is sent"
    );
}

#[tokio::test]
async fn an_unknown_organization_and_an_outage_say_nothing_about_the_tenant() {
    let world = World::start().await;
    let (_azure, mut config) = organization(&world, "fabrikam").await;
    let report = observe(&config).await;
    assert_eq!(
        (report.outcome, report.reason.as_str()),
        (Outcome::Unknown, "TenantNotNamed")
    );
    // Nothing listens on this port.
    config.tenant_address = Some(Url::parse("http://127.0.0.1:1/contoso").unwrap());
    let report = observe(&config).await;
    assert_eq!(
        (report.outcome, report.reason.as_str()),
        (Outcome::Unknown, "Unreachable")
    );
}

#[tokio::test]
async fn a_server_of_another_kind_has_no_tenant_to_ask_for() {
    let world = World::start().await;
    let config = world.config(ExchangePlace::Sidecar, Injection::Header);
    assert!(TenantProbe::of(&config).unwrap().is_none());
}

#[tokio::test]
async fn the_status_reports_the_tenant() {
    let world = World::start().await;
    let (_azure, config) = organization(&world, "contoso").await;
    let mut loaded = world.loaded();
    loaded.config = config;
    let sidecar = Sidecar::start(loaded, world.environment()).await.unwrap();
    let seen = until(sidecar.internal(), |status| status.tenant.is_some()).await;
    assert_eq!(seen.tenant.unwrap().reason, "SameTenant");
    sidecar.stop().await;
}
