//! Builds every child of a plan.

use std::marker::PhantomData;

use super::config_map::Configuration;
use super::keyring::FreshKeys;
use super::{
    BuildError, Built, Children, config_map, deployment, http_route, keyring, network_policy,
    pod_disruption_budget, service, service_account,
};
use crate::api::v1alpha1::NetworkPolicyMode;
use crate::controller::plan::{Plan, ServiceAccountPlan};

/// Builds every child. `fresh` contains the keys of a new keyring; without it no keyring is built.
pub fn build(plan: &Plan, fresh: Option<FreshKeys>) -> Result<Children<Built>, BuildError> {
    let configuration = Configuration::render(plan)?;
    Ok(Children {
        service_account: match plan.service_account {
            ServiceAccountPlan::Own => Some(service_account::build(plan)),
            ServiceAccountPlan::Given(_) => None,
        },
        keyring: fresh.map(|fresh| keyring::build(plan, fresh)).transpose()?,
        config_map: config_map::build(plan, &configuration),
        network_policy: match plan.network.policy {
            NetworkPolicyMode::Restricted => Some(network_policy::build(plan)),
            NetworkPolicyMode::Open => None,
        },
        pod_disruption_budget: pod_disruption_budget::build(plan),
        http_route: http_route::build(plan),
        service: service::build(plan),
        deployment: deployment::build(plan, &configuration)?,
        state: PhantomData,
    })
}
