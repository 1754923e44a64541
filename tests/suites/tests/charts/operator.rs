//! Tests the operator's own chart: rights, values, variables and admission policies.

use behalf_local_cluster::files;
use serde_json::{Value, json};

use crate::render::{NAMESPACE, of_kind, render};

/// The environment of the operator's container.
pub(crate) fn environment(objects: &[Value]) -> Vec<(String, String)> {
    let deployments = of_kind(objects, "Deployment");
    let container = deployments
        .first()
        .and_then(|deployment| deployment.pointer("/spec/template/spec/containers/0/env"));
    let variables = container.and_then(Value::as_array).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    variables
        .iter()
        .map(|variable| (text(&variable["name"]), text(&variable["value"])))
        .collect()
}

#[test]
fn the_operator_records_traces_only_for_a_collector_and_trusts_the_given_authorities_for_it() {
    let variables = |set: &[&str]| -> Vec<_> {
        let all = environment(&render(set).unwrap());
        let of_traces = all.into_iter().filter(|(name, _)| name.contains("TRACING"));
        of_traces.collect()
    };
    let authority = [
        "tracing.certificateAuthorityRef.name=private-ca",
        "tracing.certificateAuthorityRef.key=bundle.pem",
    ];
    assert!(variables(&[]).is_empty());
    assert!(variables(&authority).is_empty(), "without a collector");

    let endpoint = "tracing.endpoint=https://otel.obs.svc:4318";
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let collector = of("BEHALF_TRACING_ENDPOINT", "https://otel.obs.svc:4318");
    let bundle = of(
        "BEHALF_TRACING_CERTIFICATE_AUTHORITY",
        "/etc/behalf/tracing/ca.crt",
    );
    let expected = [collector, bundle];
    assert_eq!(variables(&[endpoint]), expected[..1]);
    let set = [endpoint, authority[0], authority[1]];
    assert_eq!(variables(&set), expected);
    let objects = render(&set).unwrap();
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let mounts = pod.pointer("/containers/0/volumeMounts/0").unwrap();
    assert_eq!(mounts["mountPath"], "/etc/behalf/tracing");
    assert_eq!(
        pod.pointer("/volumes/0/configMap"),
        Some(
            &json!({"name": "private-ca", "optional": true, "items": [{"key": "bundle.pem", "path": "ca.crt"}]})
        )
    );

    for wrong in [
        "http://otel.obs.svc:4317",
        "http://otel.obs.svc:4318/",
        "otel.obs.svc:4318",
    ] {
        let error = render(&[&format!("tracing.endpoint={wrong}")]).unwrap_err();
        assert!(error.contains("tracing"), "{wrong}: {error}");
    }
}

#[test]
fn rights_are_bound_where_the_operator_watches_and_nowhere_else() {
    struct Row {
        set: &'static [&'static str],
        role_bindings: &'static [&'static str],
        /// Number of `ClusterRoleBindings`. The numbers of policies and of policy bindings are the same.
        cluster_wide: bool,
        variable: (&'static str, &'static str),
    }
    let rows = [
        Row {
            set: &[],
            role_bindings: &[NAMESPACE],
            cluster_wide: false,
            variable: ("BEHALF_WATCH_NAMESPACES", NAMESPACE),
        },
        Row {
            set: &["watchNamespaces={two,one}"],
            role_bindings: &["one", "two"],
            cluster_wide: false,
            variable: ("BEHALF_WATCH_NAMESPACES", "one,two"),
        },
        Row {
            set: &["clusterWide=true"],
            role_bindings: &[],
            cluster_wide: true,
            variable: ("BEHALF_CLUSTER_WIDE", "true"),
        },
    ];
    for row in rows {
        let objects = render(row.set).unwrap();
        let (leases, bindings): (Vec<_>, Vec<_>) = of_kind(&objects, "RoleBinding")
            .into_iter()
            .partition(|binding| binding["metadata"]["name"] == "behalf-operator-lease");
        let bound: Vec<&str> = bindings
            .iter()
            .filter_map(|binding| binding["metadata"]["namespace"].as_str())
            .collect();
        assert!(bound == row.role_bindings, "{:?}: bound in {bound:?}", row.set);
        let roles = of_kind(&objects, "ClusterRole");
        assert!(
            roles.len() == 1 && of_kind(&objects, "Role").len() == 1 && leases.len() == 1,
            "{:?}: not exactly one ClusterRole, and one Role for the Lease",
            row.set
        );
        let role = roles.first().map(|role| &role["metadata"]["name"]);
        for (kind, wanted) in [
            ("ClusterRoleBinding", 1),
            ("ValidatingAdmissionPolicy", 3),
            ("ValidatingAdmissionPolicyBinding", 3),
        ] {
            let count = of_kind(&objects, kind).len();
            let wanted = if row.cluster_wide { wanted } else { 0 };
            assert!(count == wanted, "{:?}: {count} {kind}", row.set);
        }
        for binding in bindings
            .into_iter()
            .chain(of_kind(&objects, "ClusterRoleBinding"))
        {
            assert!(
                Some(&binding["roleRef"]["name"]) == role && binding["roleRef"]["kind"] == "ClusterRole",
                "{:?}: {binding} names another role",
                row.set
            );
            // A RoleBinding named behalf-operator exists where an older release bound a Role: it cannot be changed.
            assert!(
                Some(&binding["metadata"]["name"]) == role,
                "{:?}: {binding} has another name than its role",
                row.set
            );
            assert!(
                binding["subjects"]
                    == json!([{"kind": "ServiceAccount", "name": "behalf-operator", "namespace": NAMESPACE}]),
                "{:?}: {binding} is for another subject",
                row.set
            );
        }
        let scopes: Vec<_> = environment(&objects)
            .into_iter()
            .filter(|(name, _)| name.contains("WATCH") || name.contains("CLUSTER"))
            .collect();
        let (name, value) = row.variable;
        assert!(
            scopes == [(name.to_owned(), value.to_owned())],
            "{:?}: the operator gets the scopes {scopes:?}",
            row.set
        );
    }
}

#[test]
fn values_that_contradict_each_other_are_refused_with_a_reason() {
    let rows: [(&[&str], &str); 34] = [
        (
            &["clusterWide=true", "watchNamespaces={mcp}"],
            "clusterWide and watchNamespaces exclude each other",
        ),
        (&["watchNamespaces={Mcp}"], "/watchNamespaces/0"),
        (&["watchNamespaces={a,a}"], "/watchNamespaces"),
        (&["watchNamespace=mcp"], "'watchNamespace' not allowed"),
        (&["clusterWide=sometimes"], "/clusterWide"),
        (&["logLevel=Loud"], "/logLevel"),
        (
            &["allowed.entraHosts={https://login.example}"],
            "/allowed/entraHosts/0",
        ),
        (
            &["proxy.https=http://ana:hunter2@proxy.corp.example:3128"],
            "/proxy/https",
        ),
        (&["proxy.noProxy={*.corp.example}"], "/proxy/noProxy/0"),
        (&["allowed.documentHosts={10.0.0.1}"], "/allowed/documentHosts/0"),
        (&["allowed.documentHosts={intranet}"], "/allowed/documentHosts/0"),
        (&["allowed.documentHosts={a.mcp.svc}"], "/allowed/documentHosts/0"),
        (
            &["certificateAuthority.configMap=../ca"],
            "/certificateAuthority/configMap",
        ),
        (&["certificateAuthority.key=.."], "/certificateAuthority/key"),
        (&["certificateAuthority=null"], "'certificateAuthority'"),
        (&["images.pullSecrets={mirror}"], "/images/pullSecrets/0"),
        (&["images.pullSecrets[0].name=a_b"], "/images/pullSecrets/0/name"),
        // Helm makes a number of it, and a label is a text.
        (&["childLabels.cost-center=4711"], "/childLabels/cost-center"),
        (&["childLabels.team=the platform"], "/childLabels/team"),
        // The operator would refuse to start.
        (
            &[r"childLabels.behalf\.dev/mcp-server=a"],
            "invalid propertyName 'behalf.dev/mcp-server'",
        ),
        (
            &[r"childLabels.x\.azure\.workload\.identity/use=a"],
            "invalid propertyName 'x.azure.workload.identity/use'",
        ),
        (
            &[r"childLabels.app\.kubernetes\.io/name=a"],
            "invalid propertyName 'app.kubernetes.io/name'",
        ),
        (
            &[r"childLabels.service\.kubernetes\.io/headless=a"],
            "invalid propertyName 'service.kubernetes.io/headless'",
        ),
        (&[r"childLabels.a\.\.b/x=a"], "invalid propertyName 'a..b/x'"),
        // Values of an older release, which have no value for a new setting.
        (&["networkPolicy=null"], "'networkPolicy'"),
        (&["monitoring=null"], "'monitoring'"),
        (&["imageRegistry=null"], "'imageRegistry'"),
        (&["childLabels=null"], "'childLabels'"),
        (&["proxy=null"], "'proxy'"),
        (
            &["imageRegistry=https://mirror.contoso.example"],
            "/imageRegistry",
        ),
        (
            &["networkPolicy.apiServerPorts={}"],
            "/networkPolicy/apiServerPorts",
        ),
        (
            &["monitoring.apiGroup=monitoring.example"],
            "/monitoring/apiGroup",
        ),
        (
            &["monitoring.podMonitors.interval=often"],
            "/monitoring/podMonitors/interval",
        ),
        (&["monitoring.alerts.enabled=true"], "'alerts' not allowed"),
    ];
    for (set, reason) in rows {
        let Err(message) = render(set) else {
            panic!("{set:?} was taken")
        };
        assert!(
            message.contains(reason),
            "{set:?} was refused for another reason: {message}"
        );
    }
}

#[test]
fn the_policy_of_the_installation_reaches_the_operator() {
    let values = std::fs::read_to_string(files::checkout().join("charts/behalf/values.yaml")).unwrap();
    let values: Value = serde_yaml::from_str(&values).unwrap();
    let allowed = values["allowed"].as_object().unwrap();
    // The list of ServiceAccounts is for the admission policy.
    let lists: Vec<&String> = allowed.keys().filter(|list| list.ends_with("Hosts")).collect();
    assert!(lists.len() == 4, "lists of hosts: {lists:?}");
    let set: Vec<String> = lists
        .iter()
        .map(|list| {
            let host = list.to_lowercase();
            format!("allowed.{list}={{one-{host}.example,two-{host}.example}}")
        })
        .collect();
    let others = [
        "childLabels.cost-center=shop",
        "proxy.https=http://proxy.corp.example:3128",
        "proxy.noProxy={.corp.example,10.0.0.0/8}",
        "certificateAuthority.configMap=corp-ca",
        "certificateAuthority.key=bundle.pem",
        "images.pullSecrets[0].name=mirror",
        "images.pullSecrets[1].name=second-mirror",
    ];
    let set: Vec<&str> = set.iter().map(String::as_str).chain(others).collect();
    for mode in ["clusterWide=true", "watchNamespaces={mcp}"] {
        let all = [&set[..], &[mode]].concat();
        let environment = environment(&render(&all).unwrap());
        for list in &lists {
            let list = list.to_lowercase();
            let value = format!("one-{list}.example,two-{list}.example");
            assert!(
                environment.iter().any(|(_, found)| *found == value),
                "allowed.{list} does not reach the operator"
            );
        }
        for value in [
            "http://proxy.corp.example:3128",
            ".corp.example,10.0.0.0/8",
            "corp-ca",
            "bundle.pem",
            "mirror,second-mirror",
            r#"{"cost-center":"shop"}"#,
        ] {
            assert!(
                environment.iter().any(|(_, found)| found == value),
                "{value} does not reach the operator"
            );
        }
    }
}

#[test]
fn no_rule_has_a_wildcard_or_lists_secrets() {
    for set in [&[][..], &["clusterWide=true"]] {
        let objects = render(set).unwrap();
        let cluster_roles = of_kind(&objects, "ClusterRole");
        let rules = cluster_roles.first().and_then(|role| role["rules"].as_array());
        for rule in rules.unwrap() {
            assert!(!rule.to_string().contains('*'), "a wildcard: {rule}");
            let of_secrets = rule["resources"]
                .as_array()
                .is_some_and(|resources| resources.contains(&json!("secrets")));
            assert!(
                !of_secrets
                    || (rule["resources"] == json!(["secrets"])
                        && rule["verbs"] == json!(["get", "create", "update"])),
                "more than get and create of Secrets: {rule}"
            );
        }
    }
}

#[test]
fn the_policy_of_a_cluster_wide_operator_covers_every_kind_that_it_may_write() {
    let objects = render(&["clusterWide=true"]).unwrap();
    let pairs = |rules: &Value| -> Vec<(String, String)> {
        let texts = |value: &Value| -> Vec<String> {
            let entries = value.as_array().into_iter().flatten();
            entries.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let rules = rules.as_array().into_iter().flatten();
        rules
            .flat_map(|rule| {
                let groups = texts(&rule["apiGroups"]);
                let resources = texts(&rule["resources"]);
                groups
                    .into_iter()
                    .flat_map(move |group| resources.clone().into_iter().map(move |one| (group.clone(), one)))
            })
            .collect()
    };
    let writes = |rule: &&Value| {
        let verbs = rule["verbs"].as_array().into_iter().flatten();
        verbs
            .filter_map(Value::as_str)
            .any(|verb| !["get", "list", "watch"].contains(&verb))
    };
    let roles = of_kind(&objects, "ClusterRole");
    let granted = roles
        .iter()
        .flat_map(|role| role["rules"].as_array().into_iter().flatten());
    let written: Value = granted.filter(writes).cloned().collect();
    let policies = of_kind(&objects, "ValidatingAdmissionPolicy");
    let covered: Vec<_> = policies
        .iter()
        .flat_map(|policy| pairs(&policy["spec"]["matchConstraints"]["resourceRules"]))
        .collect();
    // Neither belongs to a child: the status is of the object itself, and an event is about it.
    let open: Vec<_> = pairs(&written)
        .into_iter()
        .filter(|(_, resource)| resource != "mcpservers/status" && resource != "events")
        .filter(|pair| !covered.contains(pair))
        .collect();
    assert!(pairs(&written).len() > 7, "the role writes only {written}");
    assert!(
        open.is_empty(),
        "no policy limits what the operator writes to {open:?}"
    );
}
