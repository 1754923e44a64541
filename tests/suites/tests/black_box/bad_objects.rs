//! Malformed objects against the API server: every rule of the CRD, and every bound of its schema.

mod accepted;
mod forms;
mod malformed;
mod refused;

use std::collections::BTreeSet;

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_local_cluster::files;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use self::accepted::allowed;
use self::malformed::malformed;
use self::refused::the_api_server_refuses_what_the_operator_refuses;
use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    OwnNamespaces: [
        malformed_objects_are_refused_with_a_reason,
        the_api_server_refuses_what_the_operator_refuses,
        values_at_the_bound_of_each_rule_are_taken,
        every_bound_of_the_schema_is_kept,
        every_kind_of_session_store_is_taken,
        values_that_the_operator_accepts_are_taken_by_every_rule,
        objects_that_set_every_field_are_taken,
    ],
];

/// Creates objects with a dry run: the API server answers and keeps none.
struct Admission {
    api: Api<DynamicObject>,
    good: Value,
}

impl Admission {
    async fn of(world: &World) -> TestResult<Self> {
        let kind = GroupVersionKind::gvk("behalf.dev", "v1alpha1", "McpServer");
        let resource = ApiResource::from_gvk_with_plural(&kind, "mcpservers");
        let api: Api<DynamicObject> =
            Api::namespaced_with(world.running.client.clone(), NAMESPACE_SERVERS, &resource);
        let object = serde_json::to_value(api.get(Server::Quickstart.name()).await?)?;
        let good = json!({
            "apiVersion": "behalf.dev/v1alpha1", "kind": "McpServer",
            "metadata": {"name": "malformed"}, "spec": object["spec"],
        });
        let admission = Self { api, good };
        let refused = admission.refusal(&admission.good).await?;
        ensure!(
            refused.is_none(),
            "the object without a fault is refused: {refused:?}"
        );
        Ok(admission)
    }

    /// Why this object is refused, if it is.
    async fn refusal(&self, object: &Value) -> TestResult<Option<String>> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let parameters = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        match self.api.create(&parameters, &object).await {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
                Ok(Some(status.message.clone()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Sets a value at a JSON pointer and creates missing parents. `-` is a list's only entry.
pub(crate) fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut place = object;
    for name in pointer.split('/').skip(1) {
        if name == "-" {
            *place = json!([null]);
            place = &mut place[0];
        } else {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[name];
        }
    }
    *place = value;
}

/// The schema of the version that is stored, as the repository has it.
fn schema() -> TestResult<Value> {
    let file = std::fs::read_to_string(files::checkout().join("crds/behalf.dev_mcpservers.yaml"))?;
    let definition: Value = serde_yaml::from_str(&file)?;
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema");
    Ok(schema.ok_or("the CRD has no schema")?.clone())
}

/// Calls `found` with each schema and its pointer; entries of lists are `-`.
fn walk<'s>(schema: &'s Value, pointer: &str, found: &mut impl FnMut(&str, &'s Value)) {
    found(pointer, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{pointer}/{name}"), found);
    }
    // In a pointer `-` stands for an entry of a list, and `entry` for an entry of a map.
    for (entries, name) in [("items", "-"), ("additionalProperties", "entry")] {
        if schema[entries].is_object() {
            walk(&schema[entries], &format!("{pointer}/{name}"), found);
        }
    }
}

/// A pointer in the API server's words, without the numbers of entries.
fn field(pointer: &str) -> String {
    let names = pointer.split('/').skip(1).filter(|name| *name != "-");
    names.collect::<Vec<_>>().join(".")
}

/// The rules of the CRD: the field of each, and its message.
fn rules() -> TestResult<BTreeSet<(String, String)>> {
    let schema = schema()?;
    let mut rules = BTreeSet::new();
    walk(&schema, "", &mut |pointer, schema| {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            let message = rule["message"].as_str().unwrap_or_default();
            rules.insert((field(pointer), message.to_owned()));
        }
    });
    ensure!(!rules.is_empty(), "the CRD has no rules");
    Ok(rules)
}

async fn malformed_objects_are_refused_with_a_reason(world: &World) -> TestResult {
    let rows = malformed();
    let rules = rules()?;
    let proven: BTreeSet<_> = rows
        .iter()
        .filter(|row| !row.message.is_empty())
        .map(|row| (row.field.to_owned(), row.message.to_owned()))
        .collect();
    ensure!(
        rules == proven,
        "rules without a row: {:?}; rows without a rule: {:?}",
        rules.difference(&proven),
        proven.difference(&rules)
    );

    let admission = Admission::of(world).await?;
    let mut wrong = Vec::new();
    for row in rows {
        let mut object = admission.good.clone();
        put(&mut object, row.pointer, row.value);
        match admission.refusal(&object).await? {
            None => wrong.push(format!("{} was taken", row.what)),
            // The index of an entry is no part of a field here.
            Some(refusal)
                if !refusal.replace("[0]", "").contains(row.field) || !refusal.contains(row.message) =>
            {
                wrong.push(format!("{}: refused for another reason: {refusal}", row.what));
            }
            Some(_) => {}
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A rule that refuses too much would pass the table of malformed objects.
async fn values_at_the_bound_of_each_rule_are_taken(world: &World) -> TestResult {
    let rows = allowed();
    let is_about = |rule: &(String, String), row: &accepted::Allowed| {
        rule.0 == row.field && rule.1.starts_with(row.message)
    };
    for rule in rules()? {
        let count = rows.iter().filter(|row| is_about(&rule, row)).count();
        ensure!(count == 1, "{count} rows for the rule of {}: {}", rule.0, rule.1);
    }
    let known = rules()?;
    let admission = Admission::of(world).await?;
    let mut wrong = Vec::new();
    for row in &rows {
        ensure!(
            known.iter().any(|rule| is_about(rule, row)),
            "no rule: {} {}",
            row.field,
            row.message
        );
        ensure!(
            !row.objects.is_empty(),
            "no object: {} {}",
            row.field,
            row.message
        );
        for changes in &row.objects {
            let mut object = admission.good.clone();
            for (pointer, value) in changes {
                put(&mut object, pointer, value.clone());
            }
            if let Some(refusal) = admission.refusal(&object).await? {
                wrong.push(format!("{changes:?}: {refusal}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The counterpart of the rules for stores in the table of malformed objects.
async fn every_kind_of_session_store_is_taken(world: &World) -> TestResult {
    let admission = Admission::of(world).await?;
    let secret = |reference: Value| json!({"type": "Secret", "secret": {"secretRef": reference}});
    let redis = |endpoints: Value, auth: Value| json!({"type": "Redis", "redis": {"endpoints": endpoints, "auth": auth}});
    let none = json!({"type": "None"});
    let stores = [
        ("nothing", json!({})),
        ("memory", json!({"type": "Memory"})),
        (
            "a Service",
            redis(json!(["redis://redis.mcp.svc:6379"]), none.clone()),
        ),
        (
            "TLS",
            redis(json!(["rediss://redis.example:10000"]), none.clone()),
        ),
        (
            "an address of IPv6",
            redis(json!(["redis://[fd00::1]:6379"]), none.clone()),
        ),
        (
            "a password",
            redis(
                json!(["redis://redis:6379"]),
                secret(json!({"name": "behalf-store"})),
            ),
        ),
        (
            "a user and a password",
            redis(
                json!(["redis://redis:6379"]),
                secret(json!({"name": "redis-behalf-store", "usernameKey": "user", "passwordKey": "p"})),
            ),
        ),
        (
            "a token",
            redis(json!(["rediss://redis:10000"]), json!({"type": "Entra"})),
        ),
        (
            "a token of another application",
            redis(
                json!(["rediss://redis:10000"]),
                json!({"type": "Entra", "entra": {"clientId": "22222222-2222-4222-8222-222222222222"}}),
            ),
        ),
        (
            "a cluster with its own certificate authority",
            json!({"type": "Redis", "redis": {
                "topology": "Cluster", "endpoints": ["rediss://a:6379", "rediss://b:6379"], "auth": none,
                "certificateAuthorityRef": {"name": "redis-ca"},
            }}),
        ),
    ];
    let mut wrong = Vec::new();
    for (what, store) in stores {
        let mut object = admission.good.clone();
        let is_shared = store["type"] == "Redis";
        put(&mut object, "/spec/sessions/store", store);
        if is_shared {
            put(&mut object, "/spec/replicas", json!(3));
        }
        if let Some(refusal) = admission.refusal(&object).await? {
            wrong.push(format!("{what}: {refusal}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The counterpart of further rules in the table of malformed objects: at the edge of what they refuse.
async fn values_that_the_operator_accepts_are_taken_by_every_rule(world: &World) -> TestResult {
    let admission = Admission::of(world).await?;
    let registered = format!("bhi1.c9.{}", "aB3-_".repeat(40));
    let denied = json!({
        "denied": [
            "https://claude.ai/oauth/claude-code-client-metadata", "chatgpt.com", "a.b.contoso.example", "localhost", "127.0.0.1",
            "[::1]", "ci", registered, "registered:9f86d081884c7d65",
        ],
        "static": [{"clientId": "ci", "displayName": "CI", "redirectUris": [
            "https://ci.example", "https://ci.example:8443/cb?a=1", "http://127.0.0.1/cb", "http://[::1]:9000/cb", "http://localhost",
            "cursor://anysphere.cursor-mcp/oauth/callback", "warp://mcp/oauth2callback",
        ]}],
        "entraTokens": {"policy": "Enabled", "clientIds": ["AAAAAAAA-1111-4111-8111-111111111111"]},
    });
    let rows = [
        ("/spec/clients", denied),
        ("/spec/clients/entraTokens", json!({"policy": "Disabled"})),
        (
            "/spec/trustedProxies",
            json!(["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "2001:db8::1/128"]),
        ),
        (
            "/spec/server/resources",
            json!({"requests": {"memory": "1Gi", "cpu": 1}, "limits": {"memory": 1_073_741_824, "cpu": "1000m"}}),
        ),
        (
            "/spec/sidecar/resources",
            json!({"requests": {"cpu": 2, "memory": "64Mi"}, "limits": {"memory": "0.5Gi", "cpu": 2, "ephemeral-storage": "1G"}}),
        ),
        (
            "/spec/server/azureDevOps/toolsets",
            json!(["Pipelines", "Releases"]),
        ),
        (
            "/spec/pod/annotations",
            json!({"container.apparmor.security.beta.kubernetes.io.example/a": "b", "prometheus.io/scrape": "false"}),
        ),
        (
            "/spec",
            json!({
                "publicUrl": "https://mcp.contoso.example",
                "entra": {
                    "tenantId": "11111111-1111-4111-8111-111111111111", "clientId": "22222222-2222-4222-8222-222222222222",
                },
                "server": {"container": {
                    "image": "registry.example/mcp/server:1", "path": "/.well-known/a..b/mcp.",
                    "writablePaths": ["/tmp", "/runtime", "/home/app/.cache", "/etc/behalf-own", "/var/runner"],
                }},
                "tokenExchange": {"injection": "None"},
            }),
        ),
    ];
    let mut wrong = Vec::new();
    for (pointer, value) in rows {
        let mut object = admission.good.clone();
        put(&mut object, pointer, value);
        if let Some(refusal) = admission.refusal(&object).await? {
            wrong.push(format!("{pointer}: {refusal}"));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// The inputs of the golden files that set every field.
async fn objects_that_set_every_field_are_taken(world: &World) -> TestResult {
    let admission = Admission::of(world).await?;
    for name in ["azure-devops", "container"] {
        let path = format!("operator/src/controller/children/tests/everything/{name}.yaml");
        let text = std::fs::read_to_string(files::checkout().join(&path))?;
        let refusal = admission.refusal(&serde_yaml::from_str(&text)?).await?;
        ensure!(refusal.is_none(), "{path}: {refusal:?}");
    }
    Ok(())
}

/// For each bound of a schema a value beyond it.
fn beyond(schema: &Value) -> Vec<(&'static str, Value)> {
    // The CRD contains whole numbers in both forms, 1 and 1.0.
    #[expect(clippy::cast_possible_truncation, reason = "bounds of some thousands")]
    let number = |name: &str| schema[name].as_f64().map(|bound| bound as i64);
    let length = |name: &str| number(name).and_then(|bound| usize::try_from(bound).ok());
    let mut all = Vec::new();
    let mut add = |bound, value: Option<Value>| all.extend(value.map(|value| (bound, value)));
    add("minimum", number("minimum").map(|least| json!(least - 1)));
    add("maximum", number("maximum").map(|most| json!(most + 1)));
    add(
        "maxLength",
        length("maxLength").map(|most| json!("a".repeat(most + 1))),
    );
    add(
        "minLength",
        length("minLength").map(|least| json!("a".repeat(least.saturating_sub(1)))),
    );
    // No enum contains this word.
    add("enum", schema["enum"].as_array().map(|_| json!("Nonsense")));
    add(
        "maxItems",
        length("maxItems").map(|most| json!(vec![Value::Null; most + 1])),
    );
    add(
        "minItems",
        length("minItems").map(|least| json!(vec![Value::Null; least.saturating_sub(1)])),
    );
    let entries = |most| {
        (0..=most)
            // The API server drops entries that are null.
            .map(|number| (format!("entry-{number}"), json!("1")))
            .collect()
    };
    add(
        "maxProperties",
        length("maxProperties").map(|most| Value::Object(entries(most))),
    );
    all
}

async fn every_bound_of_the_schema_is_kept(world: &World) -> TestResult {
    let schema = schema()?;
    let mut bounds = Vec::new();
    walk(&schema["properties"]["spec"], "/spec", &mut |pointer, schema| {
        let beyond = beyond(schema).into_iter();
        bounds.extend(beyond.map(|(bound, value)| (pointer.to_owned(), bound, value)));
    });
    for bound in [
        "minimum",
        "maximum",
        "maxLength",
        "minLength",
        "enum",
        "maxItems",
        "minItems",
        "maxProperties",
    ] {
        ensure!(
            bounds.iter().any(|(_, known, _)| *known == bound),
            "no field of the CRD has a {bound}"
        );
    }

    let admission = Admission::of(world).await?;
    let mut wrong = Vec::new();
    for (pointer, bound, value) in bounds {
        let mut object = admission.good.clone();
        put(&mut object, &pointer, value);
        let refusal = admission.refusal(&object).await?;
        // The API server writes the index of an entry as `[0]` or as `.0`.
        let refusal = refusal.map(|text| text.replace("[0]", "").replace(".0", ""));
        match refusal {
            None => wrong.push(format!("{bound} of {pointer} is not kept")),
            Some(refusal) if !refusal.contains(&field(&pointer)) => {
                wrong.push(format!(
                    "{bound} of {pointer}: refused for another reason: {refusal}"
                ));
            }
            Some(_) => {}
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}
