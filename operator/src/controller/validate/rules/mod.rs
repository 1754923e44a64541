//! One function for each rule, by subject. The CRD's schema contains most of them too, so that `kubectl apply` refuses
//! the object; here they also apply to objects that an older schema admitted.

mod address;
pub(super) mod certificate_authority;
mod clients;
mod container;
mod entra;
mod installation_policy;
mod keyring;
mod keys;
mod object;
mod pod;
mod resources;
mod route;
mod server;
mod service_account;
mod sessions;
mod store;
mod tracing;

pub(crate) use self::tracing::parse_endpoint as parse_tracing_endpoint;
pub(super) use self::tracing::tracing;
pub(super) use address::{https_origin, public_url, public_url_owner, trusted_proxies};
pub(super) use certificate_authority::certificate_authority;
pub(super) use clients::{denied_clients, document_hosts, entra_tokens, redirect_hosts, static_clients};
pub(super) use container::{around_container, container, token_exchange};
pub(super) use entra::{audience, default_audience, guid};
pub(super) use installation_policy::{azure_dev_ops_host, client_id, entra_host, public_url_host};
pub(super) use keyring::keyring;
pub(super) use keys::keys;
pub(super) use object::{name, object_name, replicas};
pub(super) use pod::pod;
pub(super) use resources::{DefaultResources, resources};
pub(super) use route::route;
pub(super) use server::{environment, organization, projects};
pub(super) use service_account::shared;
pub(super) use sessions::{lifetimes, revocations, seconds};
pub(super) use store::store;

use super::refusal::Refusal;

fn refuse(refusals: &mut Vec<Refusal>, field: &'static str, problem: impl Into<String>) {
    refusals.push(Refusal::Field {
        field,
        problem: problem.into(),
    });
}
