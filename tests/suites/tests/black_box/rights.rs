//! Tests that the operator has exactly the rights that it needs, only in the namespaces that it watches.

mod limits;
mod needed;
mod object;
mod operator_process;
mod policy;
mod release;
mod routes;
mod take_over;

use std::collections::BTreeSet;

use behalf_demo::environment::NAMESPACE_OPERATOR;

use crate::ensure;
use crate::world::{TestResult, World};
use release::Release;
pub(crate) use routes::gateway_status;

crate::tests![
    OwnNamespaces: [
        the_operator_has_exactly_the_rights_that_it_uses_in_each_mode,
        a_cluster_wide_operator_writes_only_what_an_mcpserver_controls,
        every_right_is_needed,
        another_operator_serves_a_change_within_20_s_when_the_first_hangs_and_at_once_when_it_stops,
        a_quota_and_a_policy_of_the_cluster_are_told_in_its_words_and_cured_by_their_removal,
        a_route_waits_for_the_gateway_api_and_follows_what_the_gateway_says,
    ],
];

/// The rights in the namespace of the release, for the Lease.
const RIGHTS_TO_THE_LEASE: [(&str, &[&str]); 2] = [
    ("leases.coordination.k8s.io", &["create"]),
    ("leases.coordination.k8s.io", &["get", "update"]),
];

/// All rights of the operator beyond those of every `ServiceAccount`, in a namespace that it watches.
const RIGHTS: [(&str, &[&str]); 13] = [
    ("mcpservers.behalf.dev", &["list", "watch"]),
    ("mcpservers.behalf.dev/status", &["patch"]),
    ("pods", &["list", "watch"]),
    ("replicasets.apps", &["list", "watch"]),
    (
        "serviceaccounts",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    (
        "configmaps",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    ("services", &["create", "get", "list", "patch", "watch"]),
    ("secrets", &["create", "get", "update"]),
    ("deployments.apps", &["create", "get", "list", "patch", "watch"]),
    (
        "networkpolicies.networking.k8s.io",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    (
        "poddisruptionbudgets.policy",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    (
        "httproutes.gateway.networking.k8s.io",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    ("events.events.k8s.io", &["create", "patch"]),
];

type Rights = BTreeSet<(String, BTreeSet<String>)>;

fn expected(release: &str, namespace: &str, is_watched: bool) -> Rights {
    let watched = RIGHTS.iter().filter(|_| is_watched);
    let own = RIGHTS_TO_THE_LEASE.iter().filter(|_| release == namespace);
    watched
        .chain(own)
        .map(|(resource, verbs)| {
            (
                (*resource).to_owned(),
                verbs.iter().map(|&verb| verb.to_owned()).collect(),
            )
        })
        .collect()
}

/// Returns the rights of a `ServiceAccount` that `kubectl auth can-i --list` shows.
fn listed(world: &World, namespace: &str, account: (&str, &str)) -> TestResult<Rights> {
    let user = format!("system:serviceaccount:{}:{}", account.0, account.1);
    let arguments = [
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "--namespace",
        namespace,
        "--as",
        &user,
    ];
    let text = world.running.cluster.kubectl(&arguments)?;
    // The columns are resources, paths, names and verbs. All but the first are in brackets.
    Ok(text
        .lines()
        .map(|line| {
            let resource = line.split('[').next().unwrap_or_default().trim();
            let columns: Vec<&str> = line.split('[').skip(1).collect();
            let what = if resource.is_empty() {
                columns.first()
            } else {
                None
            };
            let verbs = columns.last().copied().unwrap_or_default();
            (
                what.map_or(resource, |path| path.trim_end_matches(['[', ']', ' ']))
                    .to_owned(),
                verbs
                    .trim_end_matches(['\n', ' ', ']'])
                    .split_whitespace()
                    .map(str::to_owned)
                    .collect(),
            )
        })
        .collect())
}

/// Returns the rights that a release's operator has in a namespace and another `ServiceAccount` has not.
fn rights(world: &World, namespace: &str, release: &str) -> TestResult<Rights> {
    let of_all = listed(world, namespace, (release, "nobody"))?;
    ensure!(!of_all.is_empty(), "kubectl lists nothing");
    let of_operator = listed(world, namespace, (release, "behalf-operator"))?;
    Ok(of_operator.difference(&of_all).cloned().collect())
}

async fn the_operator_has_exactly_the_rights_that_it_uses_in_each_mode(world: &World) -> TestResult {
    let own = Release::apply(world, "rights-own", &[], |_| true).await?;
    let one = Release::namespace_alone(world, "rights-one").await?;
    let two = Release::namespace_alone(world, "rights-two").await?;
    let named = Release::apply(
        world,
        "rights-named",
        &["watchNamespaces={rights-one,rights-two}"],
        |_| true,
    )
    .await?;
    let wide = Release::apply(world, "rights-wide", &["clusterWide=true"], |_| true).await?;
    let rows = [
        // The rights of the default installation.
        (
            NAMESPACE_OPERATOR,
            vec!["mcp"],
            vec![NAMESPACE_OPERATOR, "default", "kube-system"],
        ),
        (
            "rights-own",
            vec!["rights-own"],
            vec!["rights-one", "default", "kube-system"],
        ),
        (
            "rights-named",
            vec!["rights-one", "rights-two"],
            vec!["rights-named", "default"],
        ),
        (
            "rights-wide",
            vec!["rights-wide", "mcp", "default", "kube-system"],
            vec![],
        ),
    ];
    let mut wrong = Vec::new();
    for (release, allowed, refused) in rows {
        let refused = refused.into_iter().map(|namespace| (namespace, false));
        for (namespace, is_watched) in allowed
            .into_iter()
            .map(|namespace| (namespace, true))
            .chain(refused)
        {
            let found = rights(world, namespace, release)?;
            let wanted = expected(release, namespace, is_watched);
            if found != wanted {
                wrong.push(format!(
                    "{release} in {namespace}: too much {:?}, too little {:?}",
                    found.difference(&wanted),
                    wanted.difference(&found)
                ));
            }
        }
    }
    drop((own, one, two, named, wide));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn a_cluster_wide_operator_writes_only_what_an_mcpserver_controls(world: &World) -> TestResult {
    policy::limits_what_the_operator_writes(world).await
}

async fn every_right_is_needed(world: &World) -> TestResult {
    needed::every_right_is_needed(world).await
}

async fn another_operator_serves_a_change_within_20_s_when_the_first_hangs_and_at_once_when_it_stops(
    world: &World,
) -> TestResult {
    take_over::another_operator_takes_over(world).await
}

async fn a_quota_and_a_policy_of_the_cluster_are_told_in_its_words_and_cured_by_their_removal(
    world: &World,
) -> TestResult {
    limits::limits_of_the_cluster_reach_the_object(world).await
}

async fn a_route_waits_for_the_gateway_api_and_follows_what_the_gateway_says(world: &World) -> TestResult {
    routes::an_object_follows_its_gateway(world).await
}
