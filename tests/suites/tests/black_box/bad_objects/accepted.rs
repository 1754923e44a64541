//! For each rule of the CRD the values at its bound that the API server must take.

use serde_json::{Value, json};

/// Values that a rule allows and that are as near as possible to those that it refuses.
pub(super) struct Allowed {
    /// The field that has the rule, in the API server's words; empty for the object itself.
    pub(super) field: &'static str,

    /// The beginning of the rule's message.
    pub(super) message: &'static str,

    /// The objects: each is the good one with these values at these JSON pointers.
    pub(super) objects: Vec<Vec<(&'static str, Value)>>,
}

const SERVER: &str = "/spec/server";
const EXCHANGE: &str = "/spec/tokenExchange";
const STORE: &str = "/spec/sessions/store";
const IMAGE: &str = "registry.example/mcp/server:1";
const GUID: &str = "33333333-3333-4333-8333-333333333333";

/// Objects that differ in the value of one field.
fn each(pointer: &'static str, values: impl IntoIterator<Item = Value>) -> Vec<Vec<(&'static str, Value)>> {
    values.into_iter().map(|value| vec![(pointer, value)]).collect()
}

/// An object whose server is an image, with further fields.
fn container(
    settings: &Value,
    more: impl IntoIterator<Item = (&'static str, Value)>,
) -> Vec<(&'static str, Value)> {
    let mut container = json!({"image": IMAGE});
    for (name, value) in settings.as_object().into_iter().flatten() {
        container[name] = value.clone();
    }
    let mut all = vec![
        (SERVER, json!({"container": container})),
        (EXCHANGE, json!({"injection": "None"})),
    ];
    all.extend(more);
    all
}

fn redis(settings: &Value) -> Value {
    let mut redis = json!({"endpoints": ["rediss://redis.mcp.svc:6379"], "auth": {"type": "None"}});
    for (name, value) in settings.as_object().into_iter().flatten() {
        redis[name] = value.clone();
    }
    json!({"type": "Redis", "redis": redis})
}

/// All rules, in the order of the fields.
pub(super) fn allowed() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let mut rows = vec![row(
        "",
        "metadata.name must have at most 48 characters",
        each(
            "/metadata/name",
            [json!("a".repeat(48)), json!("a"), json!("a-1")],
        ),
    )];
    rows.extend(of_addresses());
    rows.extend(of_endpoints());
    rows.extend(of_the_server());
    rows.extend(of_resources());
    rows.extend(of_containers());
    rows.extend(of_the_spec_around_containers());
    rows.extend(of_sessions());
    rows.extend(of_the_store());
    rows.extend(of_keys_and_clients());
    rows.extend(of_what_the_operator_also_refuses());
    rows.extend(of_trusted_proxies());
    rows.extend(super::forms::allowed());
    rows
}

fn of_addresses() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let origins = [
        "https://a",
        "https://a-1.example:65535",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:1",
    ];
    vec![
        row(
            "spec.publicUrl",
            "publicUrl must be an origin",
            each("/spec/publicUrl", origins.map(Value::from)),
        ),
        row(
            "spec.publicUrl",
            "publicUrl must leave out",
            each(
                "/spec/publicUrl",
                ["https://a:80", "http://localhost:443", "https://a:4430"].map(Value::from),
            ),
        ),
        row(
            "spec",
            "spec.route needs a publicUrl with a host name",
            [
                "https://1a.example",
                "https://mcp.contoso.example:8443",
                "http://localhost",
            ]
            .into_iter()
            .map(|url| {
                let route = json!({"gateway": {"parentRefs": [{"name": "public"}]}});
                vec![("/spec/publicUrl", json!(url)), ("/spec/route", route)]
            })
            .collect(),
        ),
        row(
            "spec.route.gateway.parentRefs",
            "spec.route.gateway.parentRefs must name each Gateway once",
            each(
                "/spec/route/gateway/parentRefs",
                [
                    json!([{"name": "a", "sectionName": "one"}, {"name": "a", "sectionName": "two"}]),
                    json!([{"name": "a"}, {"name": "a", "namespace": "gateways"}, {"name": "b"}]),
                ],
            )
            .into_iter()
            .map(|object| {
                [
                    object,
                    vec![("/spec/publicUrl", json!("https://mcp.contoso.example"))],
                ]
                .concat()
            })
            .collect(),
        ),
        row(
            "spec.entra.authority",
            "entra.authority must be https",
            each(
                "/spec/entra/authority",
                ["https://a", "https://login.example:65535"].map(Value::from),
            ),
        ),
        row(
            "spec.tracing.endpoint",
            "tracing.endpoint must be",
            each(
                "/spec/tracing/endpoint",
                [
                    "http://a:1",
                    "https://otel.obs.svc:65535",
                    "http://[fd00::1]:4318",
                ]
                .map(Value::from),
            ),
        ),
        row(
            "spec.tracing.endpoint",
            "tracing.endpoint must name an OTLP/HTTP receiver",
            each(
                "/spec/tracing/endpoint",
                ["http://a:4318", "http://a:43170"].map(Value::from),
            ),
        ),
    ]
}

fn of_endpoints() -> Vec<Allowed> {
    let mut rows = Vec::new();
    for (field, pointer) in [
        (
            "spec.server.azureDevOps.endpoints.core",
            "/spec/server/azureDevOps/endpoints/core",
        ),
        (
            "spec.server.azureDevOps.endpoints.identity",
            "/spec/server/azureDevOps/endpoints/identity",
        ),
        (
            "spec.server.azureDevOps.endpoints.release",
            "/spec/server/azureDevOps/endpoints/release",
        ),
    ] {
        let addresses = ["https://a", "https://dev.example:65535"].map(Value::from);
        rows.push(Allowed {
            field,
            message: "an endpoint must be https",
            objects: each(pointer, addresses),
        });
    }
    rows
}

fn of_the_server() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let variables = |names: &[&str]| -> Value {
        names
            .iter()
            .map(|name| json!({"name": name, "value": "x"}))
            .collect()
    };
    let sources = [
        json!({"configMapKeyRef": {"name": "a", "key": "b"}}),
        json!({"fieldRef": {"fieldPath": "metadata.name"}}),
        json!({"resourceFieldRef": {"resource": "limits.memory"}}),
    ]
    .map(|source| json!([{"name": "KEY", "valueFrom": source}]));
    vec![
        row(
            "spec.server",
            "server must name exactly one kind of server",
            vec![
                vec![(SERVER, json!({"azureDevOps": {"organization": "contoso"}}))],
                container(&json!({}), []),
            ],
        ),
        row(
            "spec.server.env",
            "server.env must not set names that start with",
            each(
                "/spec/server/env",
                [variables(&[
                    "AZURE",
                    "BEHALF",
                    "MY_AZURE_REGION",
                    "azure_region",
                    "XBEHALF_LOG",
                ])],
            ),
        ),
        row(
            "spec.server.env",
            "server.env must not set LD_*",
            each(
                "/spec/server/env",
                [variables(&[
                    "LD",
                    "ld_preload",
                    "MY_LD_PRELOAD",
                    "PROXY",
                    "PROXY_HOST",
                    "GCONV_PATHS",
                    "MY_GCONV_PATH",
                ])],
            ),
        ),
        row(
            "spec.server.env",
            "valueFrom in server.env must name exactly one",
            each("/spec/server/env", sources),
        ),
        row(
            "spec.pod.annotations",
            "pod.annotations must not use keys",
            each(
                "/spec/pod/annotations",
                [json!({"behalf.dev": "x", "notbehalf.dev/a": "x", "app.kubernetes.io.example/b": "x"})],
            ),
        ),
        row(
            "spec.pod.labels",
            "pod.labels must not use keys",
            each(
                "/spec/pod/labels",
                [json!({"azure.workload.identity": "x", "kubernetes.io/a": "x", "team": "shop"})],
            ),
        ),
    ]
}

fn of_resources() -> Vec<Allowed> {
    let quantities = [
        json!({"cpu": 0, "memory": "0"}),
        json!({"cpu": 1, "memory": "1.5Gi", "ephemeral-storage": "1e9", "example.com/device": "2"}),
    ];
    let mut rows = Vec::new();
    for (field, pointer) in [
        ("spec.server.resources.limits", "/spec/server/resources/limits"),
        (
            "spec.server.resources.requests",
            "/spec/server/resources/requests",
        ),
        ("spec.sidecar.resources.limits", "/spec/sidecar/resources/limits"),
        (
            "spec.sidecar.resources.requests",
            "/spec/sidecar/resources/requests",
        ),
    ] {
        rows.push(Allowed {
            field,
            message: "resources must be quantities",
            objects: each(pointer, quantities.clone()),
        });
    }
    rows
}

fn of_containers() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let with = |fields: &[Value]| -> Vec<Vec<(&'static str, Value)>> {
        fields.iter().map(|settings| container(settings, [])).collect()
    };
    vec![
        row(
            "spec.server.container.port",
            "server.container.port must not be 8080 or 9090",
            with(&[
                json!({"port": 8079}),
                json!({"port": 8081}),
                json!({"port": 9089}),
                json!({"port": 9091}),
            ]),
        ),
        row(
            "spec.server.container.runAsUser",
            "server.container.runAsUser must not be 65532",
            with(&[
                json!({"runAsUser": 1}),
                json!({"runAsUser": 65531}),
                json!({"runAsUser": 65533}),
            ]),
        ),
        row(
            "spec.server.container.writableSize",
            "server.container.writableSize must be a whole number",
            with(&[
                json!({"writableSize": "1Mi"}),
                json!({"writableSize": "4Gi"}),
                json!({"writableSize": "4096Mi"}),
            ]),
        ),
    ]
}

fn of_the_spec_around_containers() -> Vec<Allowed> {
    let row = |message, objects| Allowed {
        field: "spec",
        message,
        objects,
    };
    let scope = json!(format!("api://{GUID}/.default"));
    vec![
        row(
            "tokenExchange.at must be Sidecar with server.container",
            vec![
                container(
                    &json!({}),
                    [(EXCHANGE, json!({"at": "Sidecar", "injection": "None"}))],
                ),
                vec![(EXCHANGE, json!({"at": "Server"}))],
            ],
        ),
        row(
            "tokenExchange.scope is required with server.container",
            vec![
                container(&json!({}), [(EXCHANGE, json!({"scope": scope}))]),
                container(&json!({}), [(EXCHANGE, json!({"injection": "None"}))]),
                vec![(EXCHANGE, json!({}))],
            ],
        ),
        row(
            "tokenExchange.injection None needs server.container",
            vec![
                container(&json!({}), [(EXCHANGE, json!({"injection": "None"}))]),
                vec![(EXCHANGE, json!({"injection": "Header"}))],
            ],
        ),
        row(
            "tokenExchange.scope must not name the application of entra.clientId",
            vec![vec![(EXCHANGE, json!({"scope": scope}))]],
        ),
        row(
            "tokenExchange.scope must not name the application of entra.scope",
            ["api://a/b/.default", "api://a-b/.default", "api:", "/"]
                .map(|scope| {
                    vec![
                        (EXCHANGE, json!({"scope": scope})),
                        ("/spec/entra/scope", json!("api://a/read")),
                    ]
                })
                .to_vec(),
        ),
        row(
            "pod.labels and pod.annotations must be empty",
            vec![
                container(
                    &json!({}),
                    [(
                        "/spec/pod",
                        json!({"labels": {}, "annotations": {}, "nodeSelector": {"a": "b"}}),
                    )],
                ),
                vec![(
                    "/spec/pod",
                    json!({"labels": {"a": "b"}, "annotations": {"a": "b"}}),
                )],
            ],
        ),
        row(
            "sessions.store.redis.auth.type must be Entra or Secret",
            [
                json!({"type": "Entra"}),
                json!({"type": "Secret", "secret": {"secretRef": {"name": "a-behalf-store"}}}),
            ]
            .into_iter()
            .map(|auth| container(&json!({}), [(STORE, redis(&json!({"auth": auth})))]))
            .collect(),
        ),
    ]
}

fn of_sessions() -> Vec<Allowed> {
    let row = |message, values: &[(&'static str, &str)]| Allowed {
        field: "spec.sessions",
        message,
        objects: values
            .iter()
            .map(|(pointer, value)| vec![(*pointer, json!(value))])
            .collect(),
    };
    let (access, idle) = (
        "/spec/sessions/accessTokenLifetime",
        "/spec/sessions/idleLifetime",
    );
    let (maximum, grace) = ("/spec/sessions/maximumLifetime", "/spec/sessions/refreshGrace");
    vec![
        row(
            "sessions.accessTokenLifetime must be between",
            &[(access, "1m"), (access, "60s"), (access, "24h")],
        ),
        // Its default is an hour.
        row(
            "sessions.idleLifetime must not be shorter",
            &[(idle, "1h"), (idle, "59m60s")],
        ),
        // The default of idleLifetime is 336 hours.
        row(
            "sessions.maximumLifetime must be between",
            &[(maximum, "336h"), (maximum, "8784h")],
        ),
        row(
            "sessions.refreshGrace must not be longer",
            &[(grace, "10m"), (grace, "0s"), (grace, "600s")],
        ),
    ]
}

fn of_the_store() -> Vec<Allowed> {
    let row = |field, message, values: Vec<Value>| Allowed {
        field,
        message,
        objects: each(STORE, values),
    };
    let plain = json!(["redis://a:6379"]);
    let secret = |name: &str| json!({"type": "Secret", "secret": {"secretRef": {"name": name}}});
    let one = redis(&json!({}));
    let mut replicas = vec![vec![
        (STORE, json!({"type": "Memory"})),
        ("/spec/replicas", json!(1)),
    ]];
    replicas.push(vec![(STORE, one.clone()), ("/spec/replicas", json!(100))]);
    vec![
        Allowed {
            field: "spec",
            message: "replicas must be 1 with sessions.store.type Memory",
            objects: replicas,
        },
        row(
            "spec.sessions.store",
            "sessions.store.redis must be set with type Redis",
            vec![json!({"type": "Memory"}), one.clone()],
        ),
        row(
            "spec.sessions.store.redis",
            "sessions.store.redis.endpoints must name exactly one address",
            vec![
                one.clone(),
                redis(&json!({"topology": "Cluster", "endpoints": ["rediss://a:1", "rediss://b:1"]})),
                redis(&json!({"topology": "Cluster", "endpoints": ["rediss://a:1"]})),
            ],
        ),
        row(
            "spec.sessions.store.redis",
            "sessions.store.redis.endpoints must use TLS (rediss://) with auth.type Entra",
            vec![
                redis(&json!({"auth": {"type": "Entra"}})),
                redis(&json!({"endpoints": plain})),
            ],
        ),
        row(
            "spec.sessions.store.redis.auth",
            "sessions.store.redis.auth.secret must be set with type Secret",
            vec![redis(&json!({"auth": secret("behalf-store")})), one.clone()],
        ),
        row(
            "spec.sessions.store.redis.auth",
            "sessions.store.redis.auth.entra must be set with type Entra",
            vec![
                redis(&json!({"auth": {"type": "Entra", "entra": {"clientId": GUID}}})),
                one,
            ],
        ),
        row(
            "spec.sessions.store.redis.auth.secret.secretRef.name",
            "the name of the Secret in sessions.store.redis.auth must end in behalf-store",
            vec![
                redis(&json!({"auth": secret("behalf-store")})),
                redis(&json!({"auth": secret("a-behalf-store")})),
            ],
        ),
        row(
            "spec.sessions.store.redis.endpoints",
            "sessions.store.redis.endpoints must be redis://",
            [
                "redis://a:1",
                "rediss://a-1.example:65535",
                "redis://[fd00::1]:6379",
            ]
            .map(|endpoint| redis(&json!({"endpoints": [endpoint]})))
            .to_vec(),
        ),
        row(
            "spec.sessions.store.redis.endpoints",
            "sessions.store.redis.endpoints must use TLS (rediss://) for all nodes",
            vec![
                redis(&json!({"topology": "Cluster", "endpoints": ["redis://a:1", "redis://b:1"]})),
                redis(&json!({"topology": "Cluster", "endpoints": ["rediss://a:1", "rediss://b:1"]})),
            ],
        ),
    ]
}

fn of_keys_and_clients() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let secret = |name: &str| json!({"type": "Secret", "secret": {"secretRef": {"name": name}}});
    vec![
        row(
            "spec.keys",
            "keys.secret must be set with type Secret",
            each("/spec/keys", [secret("behalf-keys"), json!({"type": "Managed"})]),
        ),
        row(
            "spec.keys",
            "keys.managed must be set with type Managed",
            each(
                "/spec/keys",
                [json!({"type": "Managed", "managed": {}}), json!({"managed": {}})],
            ),
        ),
        row(
            "spec.keys.managed",
            "keys.managed.rotationInterval must be between",
            each(
                "/spec/keys/managed/rotationInterval",
                [json!("168h"), json!("8784h")],
            ),
        ),
        row(
            "spec.keys.secret.secretRef.name",
            "the name of the Secret in keys.secret must end in behalf-keys",
            each("/spec/keys", [secret("behalf-keys"), secret("a.behalf-keys")]),
        ),
        row(
            "spec",
            "clients.entraTokens.clientIds must not contain entra.clientId",
            each(
                "/spec/clients/entraTokens",
                [
                    json!({"policy": "Enabled", "clientIds": [GUID]}),
                    json!({"policy": "Disabled"}),
                ],
            ),
        ),
    ]
}

/// Rules for what the operator alone refused in earlier releases.
fn of_what_the_operator_also_refuses() -> Vec<Allowed> {
    let row = |field, message, objects| Allowed {
        field,
        message,
        objects,
    };
    let registered = format!("bhi1.c9.{}", "a".repeat(96));
    let resources = [
        json!({"requests": {"memory": "1Gi", "cpu": 1}, "limits": {"memory": 1_073_741_824, "cpu": "1000m"}}),
        json!({"requests": {"cpu": 2, "memory": "64Mi"}, "limits": {"cpu": 2, "memory": "0.0625Gi"}}),
    ];
    let redirects = json!([{"clientId": "ci", "displayName": "CI", "redirectUris": [
        "https://ci.example", "https://ci.example:8443/cb?a=1", "http://127.0.0.1/cb", "http://[::1]:9000", "http://localhost",
    ]}]);
    vec![
        row(
            "spec.clients",
            "clients.denied must contain",
            vec![vec![
                (
                    "/spec/clients/static",
                    json!([{"clientId": "ci", "displayName": "CI", "redirectUris": ["https://a"]}]),
                ),
                (
                    "/spec/clients/denied",
                    json!([
                        "https://a.example/b",
                        "a.b",
                        "localhost",
                        "[::1]",
                        "registered:9f86d081884c7d65",
                        registered,
                        "ci"
                    ]),
                ),
            ]],
        ),
        row(
            "spec.clients.entraTokens",
            "clients.entraTokens.clientIds must name at least one application",
            each(
                "/spec/clients/entraTokens",
                [
                    json!({"policy": "Enabled", "clientIds": [GUID]}),
                    json!({"policy": "Disabled"}),
                    json!({}),
                ],
            ),
        ),
        row(
            "spec.clients.static.redirectUris",
            "redirectUris in clients.static must be https",
            each("/spec/clients/static", [redirects]),
        ),
        row(
            "spec.server.azureDevOps.toolsets",
            "server.azureDevOps.toolsets must name",
            each(
                "/spec/server/azureDevOps/toolsets",
                [json!(["Releases"]), json!(["Pipelines", "Releases"])],
            ),
        ),
        row(
            "spec.server.container.path",
            "server.container.path must have no segments",
            ["/.well-known/mcp", "/a..b", "/...", "/a."]
                .map(|path| container(&json!({"path": path}), []))
                .to_vec(),
        ),
        row(
            "spec.server.container.writablePaths",
            "server.container.writablePaths must not be",
            vec![container(
                &json!({"writablePaths": ["/process", "/var/runtime", "/etc/behalf-too", "/tmp"]}),
                [],
            )],
        ),
        row(
            "spec.server.resources",
            "resources must not request more than their limit",
            each("/spec/server/resources", resources.clone()),
        ),
        row(
            "spec.sidecar.resources",
            "resources must not request more than their limit",
            each("/spec/sidecar/resources", resources),
        ),
    ]
}

fn of_trusted_proxies() -> Vec<Allowed> {
    let row = |message, networks: Value| Allowed {
        field: "spec.trustedProxies",
        message,
        objects: each("/spec/trustedProxies", [networks]),
    };
    vec![
        row(
            "trustedProxies must not contain all addresses",
            json!(["0.0.0.0/1"]),
        ),
        row(
            "trustedProxies must name networks of IPv4",
            json!(["64:ff9b::a00:0/104"]),
        ),
        row(
            "trustedProxies must contain networks",
            json!(["10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "2001:db8::1/128"]),
        ),
    ]
}
