//! Malformed objects against the API server: every rule of the CRD, and every bound of its schema.

use std::collections::BTreeSet;

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_local_cluster::files;
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World};

crate::tests![
    OwnNamespaces: [
        malformed_objects_are_refused_with_a_reason,
        every_bound_of_the_schema_is_kept,
    ],
];

/// An object that the API server must refuse.
struct Malformed {
    what: &'static str,
    /// Where the fault is, as a JSON pointer.
    pointer: &'static str,
    value: Value,
    /// Which field refuses it, in the API server's words; empty for the object itself.
    field: &'static str,
    /// A part of the rule's message; empty where the type alone refuses it.
    message: &'static str,
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn malformed() -> Vec<Malformed> {
    const ORIGIN: &str = "publicUrl must be an origin in lower case without path or trailing slash: \
        https://<host>[:port], or http:// on localhost, 127.0.0.1 or [::1]";
    const DEFAULT_PORT: &str =
        "publicUrl must leave out the scheme's default port: clients compare issuers as text";
    const AUTHORITY: &str =
        "entra.authority must be https://<host>[:port] in lower case, without path or trailing slash";
    const ENDPOINT: &str =
        "an endpoint must be https://<host>[:port] in lower case, without path or trailing slash";
    const NAME: &str =
        "metadata.name must have at most 48 characters, start with a letter and hold only a-z, 0-9 and -";
    const ANNOTATIONS: &str =
        "pod.annotations must not use keys of azure.workload.identity, behalf.dev or app.kubernetes.io";
    const LABELS: &str =
        "pod.labels must not use keys of azure.workload.identity, behalf.dev or app.kubernetes.io";
    const ENV: &str =
        "server.env must not set names that start with AZURE_ or BEHALF_: they are set by the operator";
    const SOURCE: &str = "valueFrom in server.env must name exactly one of configMapKeyRef, fieldRef and resourceFieldRef, and excludes value";
    const TAKES_OVER: &str = "server.env must not set LD_*, GLIBC_*, MALLOC_*, *_PROXY or another name that the C \
        library obeys: it decides which code the server runs or where it sends tokens";
    const QUANTITY: &str =
        "resources must be quantities that are not negative, for example 250m of cpu or 128Mi of memory";
    const ACCESS: &str = "sessions.accessTokenLifetime must be between 1m and 24h";
    const MAXIMUM: &str =
        "sessions.maximumLifetime must be between sessions.idleLifetime and 8784h (366 days)";
    let row = |what, pointer, value, field, message| Malformed {
        what,
        pointer,
        value,
        field,
        message,
    };
    let url = |what, value: &str| row(what, "/spec/publicUrl", json!(value), "spec.publicUrl", ORIGIN);
    let port = |what, value: &str| {
        row(
            what,
            "/spec/publicUrl",
            json!(value),
            "spec.publicUrl",
            DEFAULT_PORT,
        )
    };
    let authority = |what, value: &str| {
        row(
            what,
            "/spec/entra/authority",
            json!(value),
            "spec.entra.authority",
            AUTHORITY,
        )
    };
    let sessions =
        |what, pointer, value: &str, message| row(what, pointer, json!(value), "spec.sessions", message);
    vec![
        row(
            "a name with a dot",
            "/metadata/name",
            json!("mal.formed"),
            "",
            NAME,
        ),
        row(
            "a name that starts with a digit",
            "/metadata/name",
            json!("1malformed"),
            "",
            NAME,
        ),
        row(
            "a name of 49 letters",
            "/metadata/name",
            json!("a".repeat(49)),
            "",
            NAME,
        ),
        url("a path in publicUrl", "https://mcp.contoso.example/path"),
        url("a slash at the end of publicUrl", "https://mcp.contoso.example/"),
        url("a query in publicUrl", "https://mcp.contoso.example?a=b"),
        url("a user in publicUrl", "https://ana@mcp.contoso.example"),
        url("plain http beyond loopback", "http://mcp.contoso.example"),
        url("upper case in publicUrl", "https://MCP.contoso.example"),
        url("port 0 in publicUrl", "https://mcp.contoso.example:0"),
        port("the default port of https", "https://mcp.contoso.example:443"),
        port("the default port of http", "http://localhost:80"),
        authority("plain http for Entra", "http://login.example"),
        authority("a path in the authority", "https://login.example/common"),
        row(
            "a path in the endpoint core",
            "/spec/server/azureDevOps/endpoints/core",
            json!("https://dev.example/contoso"),
            "spec.server.azureDevOps.endpoints.core",
            ENDPOINT,
        ),
        row(
            "a slash at the end of the endpoint release",
            "/spec/server/azureDevOps/endpoints/release",
            json!("https://dev.example/"),
            "spec.server.azureDevOps.endpoints.release",
            ENDPOINT,
        ),
        row(
            "plain http for the endpoint identity",
            "/spec/server/azureDevOps/endpoints/identity",
            json!("http://dev.example"),
            "spec.server.azureDevOps.endpoints.identity",
            ENDPOINT,
        ),
        row(
            "two replicas with sessions in memory",
            "/spec/replicas",
            json!(2),
            "spec",
            "replicas must be 1 with sessions.store.type Memory: sessions live in one Pod's memory",
        ),
        row(
            "no server",
            "/spec/server",
            json!({}),
            "spec.server",
            "server must name exactly one kind of server: set server.azureDevOps",
        ),
        row(
            "a variable out of a Secret",
            "/spec/server/env",
            json!([{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "key"}}}]),
            "spec.server.env",
            SOURCE,
        ),
        row(
            "a variable with two sources",
            "/spec/server/env",
            json!([{"name": "KEY", "valueFrom": {
                "configMapKeyRef": {"name": "a", "key": "a"}, "fieldRef": {"fieldPath": "metadata.name"},
            }}]),
            "spec.server.env",
            SOURCE,
        ),
        row(
            "a variable of the loader's",
            "/spec/server/env",
            json!([{"name": "LD_PRELOAD", "value": "x"}]),
            "spec.server.env",
            TAKES_OVER,
        ),
        row(
            "a proxy in lower case",
            "/spec/server/env",
            json!([{"name": "https_proxy", "value": "x"}]),
            "spec.server.env",
            TAKES_OVER,
        ),
        row(
            "a variable of the C library's",
            "/spec/server/env",
            json!([{"name": "GCONV_PATH", "value": "x"}]),
            "spec.server.env",
            TAKES_OVER,
        ),
        row(
            "a request of the server that is no quantity",
            "/spec/server/resources/requests",
            json!({"memory": "much"}),
            "spec.server.resources.requests",
            QUANTITY,
        ),
        row(
            "a negative limit of the server",
            "/spec/server/resources/limits",
            json!({"cpu": "-1"}),
            "spec.server.resources.limits",
            QUANTITY,
        ),
        row(
            "a negative number as a request of the sidecar",
            "/spec/sidecar/resources/requests",
            json!({"cpu": -1}),
            "spec.sidecar.resources.requests",
            QUANTITY,
        ),
        row(
            "a limit of the sidecar in a unit that does not exist",
            "/spec/sidecar/resources/limits",
            json!({"memory": "64MB"}),
            "spec.sidecar.resources.limits",
            QUANTITY,
        ),
        row(
            "a reserved variable of Azure's",
            "/spec/server/env",
            json!([{"name": "AZURE_CLIENT_SECRET", "value": "x"}]),
            "spec.server.env",
            ENV,
        ),
        row(
            "a reserved variable of ours",
            "/spec/server/env",
            json!([{"name": "BEHALF_LOG", "value": "x"}]),
            "spec.server.env",
            ENV,
        ),
        row(
            "a reserved annotation",
            "/spec/pod/annotations",
            json!({"behalf.dev/template": "x"}),
            "spec.pod.annotations",
            ANNOTATIONS,
        ),
        row(
            "a reserved label",
            "/spec/pod/labels",
            json!({"azure.workload.identity/use": "true"}),
            "spec.pod.labels",
            LABELS,
        ),
        sessions(
            "access tokens too short",
            "/spec/sessions/accessTokenLifetime",
            "59s",
            ACCESS,
        ),
        sessions(
            "access tokens too long",
            "/spec/sessions/accessTokenLifetime",
            "25h",
            ACCESS,
        ),
        sessions(
            "sessions that end before their access tokens",
            "/spec/sessions/idleLifetime",
            "1m",
            "sessions.idleLifetime must not be shorter than sessions.accessTokenLifetime",
        ),
        sessions(
            "a maximum below idle",
            "/spec/sessions/maximumLifetime",
            "2h",
            MAXIMUM,
        ),
        sessions(
            "a maximum of over a year",
            "/spec/sessions/maximumLifetime",
            "8785h",
            MAXIMUM,
        ),
        sessions(
            "a long grace",
            "/spec/sessions/refreshGrace",
            "11m",
            "sessions.refreshGrace must not be longer than 10m",
        ),
        row(
            "a tenant that is no GUID",
            "/spec/entra/tenantId",
            json!("common"),
            "spec.entra.tenantId",
            "",
        ),
        row(
            "a client that is no GUID",
            "/spec/entra/clientId",
            json!(""),
            "spec.entra.clientId",
            "",
        ),
        row(
            "a number for an organization",
            "/spec/server/azureDevOps/organization",
            json!(7),
            "spec.server.azureDevOps.organization",
            "",
        ),
        row(
            "text for replicas",
            "/spec/replicas",
            json!("one"),
            "spec.replicas",
            "",
        ),
        row("a list for a spec", "/spec", json!([]), "spec", ""),
        row(
            "an unknown place of exchange",
            "/spec/tokenExchange",
            json!({"at": "Somewhere"}),
            "spec.tokenExchange.at",
            "",
        ),
    ]
}

/// What the API server says to new objects, without keeping any.
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

/// Puts a value at a JSON pointer; what is missing on the way is made. `-` stands for a list's only entry.
fn put(object: &mut Value, pointer: &str, value: Value) {
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
    // What stands for an entry: a list has but one, a map's is named "entry".
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

async fn malformed_objects_are_refused_with_a_reason(world: &World) -> TestResult {
    let rows = malformed();
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
            Some(refusal) if !refusal.contains(row.field) || !refusal.contains(row.message) => {
                wrong.push(format!("{}: refused for another reason: {refusal}", row.what));
            }
            Some(_) => {}
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// For each bound of a schema a value beyond it.
fn beyond(schema: &Value) -> Vec<(&'static str, Value)> {
    // The CRD writes whole numbers as 1 and as 1.0.
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
    // No pattern takes a line break, no list of words this word.
    add("pattern", schema["pattern"].as_str().map(|_| json!("\n")));
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
            // No null: the API server drops such entries.
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
        "pattern",
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
        // Entries are counted as `[0]` or `.0`.
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
