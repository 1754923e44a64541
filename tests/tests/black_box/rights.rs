//! What the operator may do: exactly what it needs, where it watches.

mod needed;
mod release;

use std::collections::BTreeSet;
use std::time::Duration;

use behalf_tests::environment::NAMESPACE_OPERATOR;
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World, chain};
use release::Release;

crate::tests![
    the_operator_has_exactly_the_rights_that_it_uses_in_each_mode,
    a_cluster_wide_operator_writes_only_what_an_mcpserver_controls,
    every_right_is_needed,
];

/// Everything that the operator may do beyond what every `ServiceAccount` may.
const RIGHTS: [(&str, &[&str]); 10] = [
    ("mcpservers.behalf.dev", &["list", "watch"]),
    ("mcpservers.behalf.dev/status", &["patch"]),
    ("pods", &["list", "watch"]),
    (
        "serviceaccounts",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    (
        "configmaps",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    ("services", &["create", "get", "list", "patch", "watch"]),
    ("secrets", &["create", "get"]),
    ("deployments.apps", &["create", "get", "list", "patch", "watch"]),
    (
        "networkpolicies.networking.k8s.io",
        &["create", "delete", "get", "list", "patch", "watch"],
    ),
    ("events.events.k8s.io", &["create", "patch"]),
];

type Rights = BTreeSet<(String, BTreeSet<String>)>;

fn expected() -> Rights {
    RIGHTS
        .into_iter()
        .map(|(resource, verbs)| {
            (
                resource.to_owned(),
                verbs.iter().map(|&verb| verb.to_owned()).collect(),
            )
        })
        .collect()
}

/// What `kubectl auth can-i --list` shows to a `ServiceAccount`.
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
    // Resources, paths, names and verbs; all but the first in brackets.
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

/// What the operator of a release may do in a namespace and another `ServiceAccount` may not.
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
        // As it is installed.
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
        for namespace in allowed {
            let found = rights(world, namespace, release)?;
            let wanted = expected();
            if found != wanted {
                wrong.push(format!(
                    "{release} in {namespace}: too much {:?}, too little {:?}",
                    found.difference(&wanted),
                    wanted.difference(&found)
                ));
            }
        }
        for namespace in refused {
            let found = rights(world, namespace, release)?;
            if !found.is_empty() {
                wrong.push(format!("{release} in {namespace}: {found:?}"));
            }
        }
    }
    drop((own, one, two, named, wide));
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// An object of a kind that the operator writes.
fn object(kind: &str, metadata: &Value) -> Value {
    let (api_version, spec) = match kind {
        "Deployment" => (
            "apps/v1",
            json!({"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            }}),
        ),
        "NetworkPolicy" => ("networking.k8s.io/v1", json!({"podSelector": {}})),
        "Service" => ("v1", json!({"ports": [{"port": 80}]})),
        _ => ("v1", Value::Null),
    };
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    if !spec.is_null() {
        object["spec"] = spec;
    }
    object
}

/// `owner` is an API version and a kind; the owner's name is "shop".
fn metadata(name: &str, label: Option<&str>, owner: Option<(&str, &str)>, uid: &Value) -> Value {
    let mut metadata = json!({"name": name});
    if let Some(label) = label {
        metadata["labels"] = json!({
            "app.kubernetes.io/managed-by": "behalf-operator", "behalf.dev/mcp-server": label,
        });
    }
    if let Some((api_version, kind)) = owner {
        metadata["ownerReferences"] = json!([{
            "apiVersion": api_version, "kind": kind, "name": "shop", "controller": true, "uid": uid,
        }]);
    }
    metadata
}

async fn a_cluster_wide_operator_writes_only_what_an_mcpserver_controls(world: &World) -> TestResult {
    const OURS: Option<(&str, &str)> = Some(("behalf.dev/v1alpha1", "McpServer"));
    const UNLIKE: &str = "may only write objects that carry its label and are controlled by that McpServer";
    const FOREIGN: &str = "may only change or delete objects that are controlled by an McpServer";
    let release = Release::apply(world, "rights-policy", &["clusterWide=true"], |_| true).await?;
    let cluster = &world.running.cluster;
    let operator = "system:serviceaccount:rights-policy:behalf-operator";
    let as_operator = |arguments: &[&str], input: &Value| -> Result<(), String> {
        let common = [
            "--namespace",
            "rights-policy",
            "--as",
            operator,
            "--dry-run=server",
        ];
        cluster
            .kubectl_with(&[arguments, &common].concat(), &input.to_string())
            .map(|_| ())
            .map_err(|error| chain(&error))
    };
    const CREATE: &[&str] = &["create", "--validate=false", "--filename", "-"];
    const APPLY: &[&str] = &[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--validate=false",
        "--filename",
        "-",
    ];
    const DELETE: &[&str] = &["delete", "--wait=false", "--filename", "-"];

    // The owner must exist, or the garbage collector deletes what it owns. No operator serves this namespace.
    let owner = json!({
        "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer", "metadata": {"name": "shop"},
        "spec": {
            "publicUrl": "https://rights-policy.example", "suspend": true,
            "entra": {
                "tenantId": "11111111-1111-4111-8111-111111111111",
                "clientId": "22222222-2222-4222-8222-222222222222",
            },
            "server": {"azureDevOps": {"organization": "contoso"}},
        },
    });
    let create = [
        "--namespace",
        "rights-policy",
        "create",
        "--output",
        "json",
        "--filename",
        "-",
    ];
    let owner: Value = serde_json::from_str(&cluster.kubectl_with(&create, &owner.to_string())?)?;
    let metadata = |name: &str, label: Option<&str>, owner_kind: Option<(&str, &str)>| {
        metadata(name, label, owner_kind, &owner["metadata"]["uid"])
    };
    // Somebody else is not concerned: these are made by an administrator.
    let foreign = object("ConfigMap", &metadata("foreign", None, None));
    let own = object("ConfigMap", &metadata("own", Some("shop"), OURS));
    let unlabelled = object("ConfigMap", &metadata("unlabelled", None, OURS));
    for object in [&foreign, &own, &unlabelled] {
        cluster.kubectl_with(&create, &object.to_string())?;
    }
    // The API server reads a new policy after a moment.
    let limit = tokio::time::Instant::now() + Duration::from_secs(30);
    while as_operator(CREATE, &object("ConfigMap", &metadata("bare", None, None))).is_ok() {
        ensure!(
            tokio::time::Instant::now() < limit,
            "the policy is not in force after 30 s"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    let named = |metadata: Value| object("ConfigMap", &metadata);
    let mut rows = vec![
        (
            "an object with label and owner",
            CREATE,
            named(metadata("a", Some("shop"), OURS)),
            None,
        ),
        (
            "no owner",
            CREATE,
            named(metadata("a", Some("shop"), None)),
            Some(UNLIKE),
        ),
        ("no label", CREATE, named(metadata("a", None, OURS)), Some(UNLIKE)),
        (
            "the label of another McpServer",
            CREATE,
            named(metadata("a", Some("other"), OURS)),
            Some(UNLIKE),
        ),
        (
            "an owner of another kind",
            CREATE,
            named(metadata("a", Some("shop"), Some(("apps/v1", "Deployment")))),
            Some(UNLIKE),
        ),
        (
            "a namesake of our kind in another group",
            CREATE,
            named(metadata(
                "a",
                Some("shop"),
                Some(("evil.example/v1", "McpServer")),
            )),
            Some(UNLIKE),
        ),
        (
            "a change of its own object",
            APPLY,
            named(metadata("own", Some("shop"), OURS)),
            None,
        ),
        (
            "labels for its own object that lost them",
            APPLY,
            named(metadata("unlabelled", Some("shop"), OURS)),
            None,
        ),
        (
            "a take-over of a foreign object",
            APPLY,
            named(metadata("foreign", Some("shop"), OURS)),
            Some(FOREIGN),
        ),
        ("the deletion of its own object", DELETE, own.clone(), None),
        (
            "the deletion of a foreign object",
            DELETE,
            foreign.clone(),
            Some(FOREIGN),
        ),
    ];
    for kind in [
        "ServiceAccount",
        "Secret",
        "Service",
        "Deployment",
        "NetworkPolicy",
    ] {
        rows.push((
            "a bare object",
            CREATE,
            object(kind, &metadata("a", None, None)),
            Some(UNLIKE),
        ));
        rows.push((
            "a complete object",
            CREATE,
            object(kind, &metadata("a", Some("shop"), OURS)),
            None,
        ));
    }
    let mut wrong = Vec::new();
    for (what, arguments, object, refusal) in rows {
        let kind = &object["kind"];
        match (as_operator(arguments, &object), refusal) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{what} ({kind}) was allowed")),
            (Err(error), Some(refusal)) if error.contains(refusal) => {}
            (Err(error), _) => wrong.push(format!("{what} ({kind}): {error}")),
        }
    }
    drop(release);
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn every_right_is_needed(world: &World) -> TestResult {
    needed::every_right_is_needed(world).await
}
