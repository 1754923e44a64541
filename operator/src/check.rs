//! `behalf-operator check`: checks that the operator of an installation works. `helm test` runs it with the operator's
//! own options and rights.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};

use crate::api::v1alpha1::McpServer;
use crate::cli::Run;
use crate::controller::watches::scope::{EmptyScope, Scope};
use crate::lease::LeaseOptions;

/// Why the installation does not work.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no namespace to watch.
    #[error(transparent)]
    Scope(#[from] EmptyScope),

    /// The configuration of the cluster was not found.
    #[error("failed to find the cluster: run in a Pod, or set KUBECONFIG")]
    Cluster(#[source] Box<kube::Error>),

    /// The objects cannot be read.
    #[error(
        "failed to list the McpServers of namespace {namespace}: install the chart behalf-crds if the CRD is missing, and \
         upgrade the release of the chart behalf, which binds the operator's rights"
    )]
    Servers {
        /// The namespace, or `all`.
        namespace: String,

        /// Answer of the API server, or error of the connection to it.
        #[source]
        source: Box<kube::Error>,
    },

    /// The Lease cannot be read.
    #[error(
        "failed to read the Lease {name}: upgrade the release of the chart behalf, which binds the operator's rights"
    )]
    Lease {
        /// Name of the operators' Lease, in the namespace of their Pods.
        name: String,

        /// Answer of the API server, or error of the connection to it.
        #[source]
        source: Box<kube::Error>,
    },

    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", REQUEST.as_secs())]
    ApiServerTimeout,

    /// Nobody reconciles.
    #[error(
        "no operator has renewed the Lease {name} for {} s: look at the Pods of the operator and at their log",
        LIMIT.as_secs()
    )]
    NobodyLeads {
        /// Name of the operators' Lease, in the namespace of their Pods.
        name: String,
    },
}

/// Maximum duration of a request.
const REQUEST: Duration = Duration::from_secs(10);

/// Maximum time until an operator must have renewed the Lease. One that replaces another needs up to 16 s, and the start of its
/// Pod comes before.
const LIMIT: Duration = Duration::from_mins(1);

/// Time between two looks at the Lease, which its holder renews as often.
const INTERVAL: Duration = Duration::from_secs(2);

/// Lists the objects of each namespace, then waits until an operator renews the Lease.
pub async fn check(options: Run) -> Result<(), CheckError> {
    let scope = options.scope()?;
    let client = Client::try_default()
        .await
        .map_err(|error| CheckError::Cluster(Box::new(error)))?;
    list_servers(&client, &scope).await?;
    if let Some(lease) = options.lease() {
        let leader = leader(&client, &lease).await?;
        tracing::info!(lease.holder = leader, "Operator {leader} leads");
    }
    tracing::info!(watch.namespaces = %scope, "Operator works");
    Ok(())
}

async fn list_servers(client: &Client, scope: &Scope) -> Result<(), CheckError> {
    for (namespace, servers) in scope.apis::<McpServer>(client) {
        let one = ListParams::default().limit(1);
        let listed = timeout(REQUEST, servers.list_metadata(&one)).await;
        listed
            .map_err(|_| CheckError::ApiServerTimeout)?
            .map_err(|source| CheckError::Servers {
                namespace: namespace.unwrap_or_else(|| "all".to_owned()),
                source: Box::new(source),
            })?;
    }
    Ok(())
}

/// Returns the name of the Pod that renews the Lease. A Lease that nobody renews still names its last holder.
async fn leader(client: &Client, lease: &LeaseOptions<'_>) -> Result<String, CheckError> {
    let leases: Api<Lease> = Api::namespaced(client.clone(), lease.namespace);
    let begin = Instant::now();
    let mut before: Option<Lease> = None;
    tracing::trace!("Waiting for a renewal of the Lease {}", lease.name);
    while begin.elapsed() < LIMIT {
        let found = timeout(REQUEST, leases.get_opt(lease.name)).await;
        let found = found
            .map_err(|_| CheckError::ApiServerTimeout)?
            .map_err(|source| CheckError::Lease {
                name: lease.name.to_owned(),
                source: Box::new(source),
            })?;
        if let (Some(before), Some(now)) = (&before, &found)
            && before.metadata.resource_version != now.metadata.resource_version
            && let Some(holder) = holder(now)
        {
            return Ok(holder.to_owned());
        }
        before = found;
        sleep(INTERVAL).await;
    }
    Err(CheckError::NobodyLeads {
        name: lease.name.to_owned(),
    })
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower_test::mock;

    use super::*;

    /// A client whose requests get these answers, one after the other; the last one is repeated.
    fn answers(answers: Vec<(u16, Value)>) -> Client {
        let (service, mut handle) = mock::pair::<Request<Body>, Response<Body>>();
        tokio::spawn(async move {
            let mut answers = answers.into_iter().peekable();
            while let Some((_, send)) = pin!(&mut handle).next_request().await {
                let next = answers.next().unwrap();
                if answers.peek().is_none() {
                    answers = vec![next.clone()].into_iter().peekable();
                }
                let body = Body::from(next.1.to_string().into_bytes());
                send.send_response(Response::builder().status(next.0).body(body).unwrap());
            }
        });
        Client::new(service, "default")
    }

    fn lease(version: u32, holder: &str) -> (u16, Value) {
        let lease = json!({
            "metadata": {"name": "behalf-operator", "resourceVersion": version.to_string()},
            "spec": {"holderIdentity": holder},
        });
        (200, lease)
    }

    async fn find(leases: Vec<(u16, Value)>) -> Result<String, CheckError> {
        let options = LeaseOptions {
            namespace: "behalf-system",
            name: "behalf-operator",
            identity: "behalf-operator-test",
        };
        leader(&answers(leases), &options).await
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_renews_the_lease_leads() {
        let leader = find(vec![lease(1, "one"), lease(1, "one"), lease(2, "one")]).await;
        assert_eq!(leader.unwrap(), "one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_only_names_its_last_holder_is_not_enough() {
        let refused = find(vec![lease(1, "one")]).await.unwrap_err();
        assert!(matches!(refused, CheckError::NobodyLeads { .. }), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_gives_the_lease_back_does_not_lead() {
        let refused = find(vec![lease(1, "one"), lease(2, "")]).await.unwrap_err();
        assert!(matches!(refused, CheckError::NobodyLeads { .. }), "{refused}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_namespace_without_rights_or_crd_is_named() {
        let status = json!({
            "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "cannot list",
        });
        let scope = Scope::Namespaces(vec!["mcp".to_owned()]);
        let refused = list_servers(&answers(vec![(403, status)]), &scope)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("namespace mcp"), "{refused}");
        assert!(
            crate::error_chain::chain(&refused).contains("cannot list"),
            "{refused}"
        );
    }
}
