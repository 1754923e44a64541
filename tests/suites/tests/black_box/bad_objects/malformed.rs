//! The malformed objects, and the reason of each refusal.

use serde_json::{Value, json};

/// An object that the API server must refuse.
pub(super) struct Malformed {
    pub(super) what: String,
    /// JSON pointer to the fault.
    pub(super) pointer: &'static str,
    pub(super) value: Value,
    /// Which field refuses it, in the API server's words; empty for the object itself.
    pub(super) field: &'static str,
    /// A part of the rule's message; empty where the type alone refuses it.
    pub(super) message: &'static str,
}

/// One object for each rule of the CRD, and some of a wrong type.
pub(super) fn malformed() -> Vec<Malformed> {
    [of_rules(), super::forms::malformed()]
        .into_iter()
        .flatten()
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn of_rules() -> Vec<Malformed> {
    const ORIGIN: &str = "publicUrl must be an origin in lower case without path or trailing slash: https://<host>[:port] with a port \
        of at most 65535, or http:// on localhost, 127.0.0.1 or [::1]";
    const DEFAULT_PORT: &str =
        "publicUrl must leave out the scheme's default port: clients compare issuers as text";
    const AUTHORITY: &str = "entra.authority must be https://<host>[:port] in lower case, without path or trailing slash, the port at \
        most 65535";
    const ENDPOINT: &str = "an endpoint must be https://<host>[:port] in lower case, without path or trailing slash, the port at most \
        65535";
    const NAME: &str =
        "metadata.name must have at most 48 characters, start with a letter and contain only a-z, 0-9 and -";
    const ANNOTATIONS: &str = "pod.annotations must not use keys of azure.workload.identity, behalf.dev, app.kubernetes.io or \
        container.apparmor.security.beta.kubernetes.io: remove them";
    const LABELS: &str = "pod.labels must not use keys of azure.workload.identity, behalf.dev, app.kubernetes.io or \
        container.apparmor.security.beta.kubernetes.io: remove them";
    const MORE_THAN_LIMIT: &str = "resources must not request more than their limit: lower the request, or raise the limit of the same name";
    const NETWORK: &str = "trustedProxies must contain networks without bits after the prefix, for example 10.0.0.0/8 or \
        fd00:10::/32; write one address with /32 or /128";
    const MAPPED: &str = "trustedProxies must name networks of IPv4 in the form of IPv4: write 10.0.0.0/8 for ::ffff:10.0.0.0/104";
    const ALL_ADDRESSES: &str = "trustedProxies must not contain all addresses: every client could then claim any address; name the \
        networks of your gateways, for example 10.244.0.0/16";
    const DENIED: &str = "clients.denied must contain https addresses of metadata documents without port and query, hosts in lower \
        case without scheme, port and path, ids of clients.static, labels registered:<16 digits>, or whole ids of registered \
        clients: anything else matches no client";
    const REDIRECT_URI: &str = "redirectUris in clients.static must be https://<host>/<path> with the host in lower case, or http on \
        127.0.0.1, [::1] or localhost, without user and fragment";
    const SEGMENT: &str = "server.container.path must have no segments . and ..: write the path that they lead to, for example /api/mcp";
    const DIRECTORY: &str = "server.container.writablePaths must not be /proc, /sys, /dev, /run, /var/run, /etc/behalf or below: \
        the kernel, the container runtime and the operator use them; name another directory of the image, for example /tmp";
    const ENV: &str =
        "server.env must not set names that start with AZURE_ or BEHALF_: they are set by the operator";
    const SOURCE: &str = "valueFrom in server.env must name exactly one of configMapKeyRef, fieldRef and resourceFieldRef, and excludes value";
    const TAKES_OVER: &str = "server.env must not set LD_*, GLIBC_*, MALLOC_*, *_PROXY or another name that the C \
        library obeys: it decides which code the server runs or where it sends tokens";
    const QUANTITY: &str =
        "resources must be quantities that are not negative, for example 250m of cpu or 128Mi of memory";
    const ACCESS: &str = "sessions.accessTokenLifetime must be between 1m and 24h";
    const ENDPOINTS: &str = "sessions.store.redis.endpoints must be redis://<host>:<port> or rediss://<host>:<port> in lower \
        case, without user, password or path, the port at most 65535";
    const AUTH: &str = "sessions.store.redis.auth.secret must be set with type Secret, and only then";
    const MAXIMUM: &str =
        "sessions.maximumLifetime must be between sessions.idleLifetime and 8784h (366 days)";
    const IMAGE: &str = "registry.example/mcp/server:1";
    let row = |what: &str, pointer, value, field, message| Malformed {
        what: what.to_owned(),
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
    let with_container = |what, more: &Value, message| {
        let id = "11111111-1111-4111-8111-111111111111";
        let mut spec = json!({
            "publicUrl": "https://mcp.contoso.example",
            "entra": {"tenantId": id, "clientId": id},
            "server": {"container": {"image": IMAGE}},
            "tokenExchange": {"injection": "None"},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        row(what, "/spec", spec, "spec", message)
    };
    let container =
        |what, exchange: &Value, message| with_container(what, &json!({"tokenExchange": exchange}), message);
    let resources = |what, pointer, requests: Value, limits: Value| {
        let field = match pointer {
            "/spec/server/resources" => "spec.server.resources",
            _ => "spec.sidecar.resources",
        };
        let value = json!({"requests": {"memory": requests}, "limits": {"memory": limits}});
        row(what, pointer, value, field, MORE_THAN_LIMIT)
    };
    let proxies = |what, network: &str, message| {
        let value = json!(["10.0.0.0/8", network]);
        row(
            what,
            "/spec/trustedProxies",
            value,
            "spec.trustedProxies",
            message,
        )
    };
    let denied = |what, entry: &str| {
        let value = json!({"denied": ["claude.ai", entry]});
        row(what, "/spec/clients", value, "spec.clients", DENIED)
    };
    let redirect = |what, uri: &str| {
        let client = json!({"clientId": "ci", "displayName": "CI", "redirectUris": [uri]});
        let field = "spec.clients.static.redirectUris";
        row(what, "/spec/clients/static", json!([client]), field, REDIRECT_URI)
    };
    let path = |what, path: &str| {
        let value = json!({"container": {"image": IMAGE, "path": path}});
        row(what, "/spec/server", value, "spec.server.container.path", SEGMENT)
    };
    let writable = |what, path: &str| {
        let value = json!({"container": {"image": IMAGE, "writablePaths": [path]}});
        row(
            what,
            "/spec/server",
            value,
            "spec.server.container.writablePaths",
            DIRECTORY,
        )
    };
    let redis = |endpoints: &Value| json!({"endpoints": endpoints, "auth": {"type": "None"}});
    let with_auth = |auth: Value| json!({"endpoints": ["redis://a:6379"], "auth": auth});
    let store = |what, settings: Value, field, message| {
        let field = match field {
            "" => "spec.sessions.store.redis",
            "endpoints" => "spec.sessions.store.redis.endpoints",
            "auth" => "spec.sessions.store.redis.auth",
            _ => "spec.sessions.store.redis.auth.secret.secretRef.name",
        };
        let value = json!({"type": "Redis", "redis": settings});
        row(what, "/spec/sessions/store", value, field, message)
    };
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
        url("a port that does not exist", "https://mcp.contoso.example:65536"),
        port("the default port of https", "https://mcp.contoso.example:443"),
        port("the default port of http", "http://localhost:80"),
        authority("plain http for Entra", "http://login.example"),
        authority("a path in the authority", "https://login.example/common"),
        authority(
            "a port of Entra that does not exist",
            "https://login.example:65536",
        ),
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
            "server must name exactly one kind of server: set server.azureDevOps or server.container",
        ),
        row(
            "no group of tools",
            "/spec/server/azureDevOps/toolsets",
            json!([]),
            "spec.server.azureDevOps.toolsets",
            "server.azureDevOps.toolsets must name Pipelines or Releases, or both: remove the field to offer all tools",
        ),
        row(
            "a group of tools that does not exist",
            "/spec/server/azureDevOps/toolsets",
            json!(["Boards"]),
            "spec.server.azureDevOps.toolsets",
            "",
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
        resources(
            "a request of the server above its limit",
            "/spec/server/resources",
            json!("2Gi"),
            json!("1Gi"),
        ),
        resources(
            "a request of the sidecar, as a number, above its limit",
            "/spec/sidecar/resources",
            json!(134_217_729),
            json!("128Mi"),
        ),
        resources(
            "a request above a limit that is a number",
            "/spec/server/resources",
            json!("129Mi"),
            json!(134_217_728),
        ),
        resources(
            "two numbers, the request above the limit",
            "/spec/server/resources",
            json!(134_217_729),
            json!(134_217_728),
        ),
        proxies("all addresses as proxies", "0.0.0.0/0", ALL_ADDRESSES),
        proxies("all addresses of IPv6 as proxies", "::/0", ALL_ADDRESSES),
        proxies(
            "a network of IPv4 proxies in the form of IPv6",
            "::ffff:10.0.0.0/104",
            MAPPED,
        ),
        proxies(
            "such a network in upper case and without dots",
            "::FFFF:A00:0/104",
            MAPPED,
        ),
        proxies(
            "a network of proxies with bits after the prefix",
            "10.1.0.1/16",
            NETWORK,
        ),
        proxies("a network of proxies that is none", "10.1.0.0/33", NETWORK),
        denied("a denied client by a part of its name", "claude"),
        denied("a denied client by its host with a port", "chatgpt.com:443"),
        denied(
            "a denied client by an address without a path",
            "https://claude.ai",
        ),
        denied("a denied client by a part of its label", "registered:9f86d081"),
        redirect(
            "a redirect URI that leaves the machine without TLS",
            "http://ci.example/cb",
        ),
        redirect("a redirect URI with a fragment", "https://ci.example/cb#a"),
        redirect("a redirect URI with a user", "https://ana@ci.example/cb"),
        redirect("a redirect URI with a scheme of its own", "javascript:alert(1)"),
        row(
            "tokens of Entra from nowhere",
            "/spec/clients/entraTokens",
            json!({"policy": "Enabled"}),
            "spec.clients.entraTokens",
            "clients.entraTokens.clientIds must name at least one application while the policy is Enabled: add the client id that \
             Entra writes into azp, or set the policy to Disabled",
        ),
        path("the path of a server with a segment that is a dot", "/./mcp"),
        path("the path of a server that climbs", "/api/.."),
        writable("a writable directory of the kernel", "/proc"),
        writable(
            "a writable directory below those of the operator",
            "/etc/behalf/server",
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
            "an annotation that replaces the profile of AppArmor",
            "/spec/pod/annotations",
            json!({"container.apparmor.security.beta.kubernetes.io/mcp-server": "unconfined"}),
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
            "a Redis without settings",
            "/spec/sessions/store",
            json!({"type": "Redis"}),
            "spec.sessions.store",
            "sessions.store.redis must be set with type Redis, and only then",
        ),
        row(
            "settings of a Redis for the store in memory",
            "/spec/sessions/store",
            json!({"type": "Memory", "redis": redis(&json!(["redis://redis.mcp.svc:6379"]))}),
            "spec.sessions.store",
            "sessions.store.redis must be set with type Redis, and only then",
        ),
        store(
            "a Redis without a port",
            redis(&json!(["redis://redis.mcp.svc"])),
            "endpoints",
            ENDPOINTS,
        ),
        store(
            "a password in the address of a Redis",
            redis(&json!(["redis://:secret@redis.mcp.svc:6379"])),
            "endpoints",
            ENDPOINTS,
        ),
        store(
            "a database in the address of a Redis",
            redis(&json!(["redis://redis.mcp.svc:6379/1"])),
            "endpoints",
            ENDPOINTS,
        ),
        store(
            "a cluster with and without TLS",
            json!({"topology": "Cluster", "endpoints": ["redis://a:6379", "rediss://b:6379"], "auth": {"type": "None"}}),
            "endpoints",
            "sessions.store.redis.endpoints must use TLS (rediss://) for all nodes or for none",
        ),
        store(
            "two addresses of one server",
            redis(&json!(["redis://a:6379", "redis://b:6379"])),
            "",
            "sessions.store.redis.endpoints must name exactly one address with topology Standalone",
        ),
        store(
            "a Redis without auth",
            json!({"endpoints": ["redis://a:6379"]}),
            "auth",
            "",
        ),
        store(
            "a password from nowhere",
            with_auth(json!({"type": "Secret"})),
            "auth",
            AUTH,
        ),
        store(
            "a Secret that nothing uses",
            with_auth(json!({"type": "None", "secret": {"secretRef": {"name": "redis-behalf-store"}}})),
            "auth",
            AUTH,
        ),
        store(
            "an application that nothing uses",
            with_auth(json!({"type": "None", "entra": {}})),
            "auth",
            "sessions.store.redis.auth.entra must be set with type Entra only",
        ),
        store(
            "a token of Entra without TLS",
            with_auth(json!({"type": "Entra"})),
            "",
            "sessions.store.redis.endpoints must use TLS (rediss://) with auth.type Entra: the token would cross the network readable",
        ),
        store(
            "a Secret that nobody wrote for Behalf",
            with_auth(json!({"type": "Secret", "secret": {"secretRef": {"name": "database"}}})),
            "auth.secret.secretRef.name",
            "the name of the Secret in sessions.store.redis.auth must end in behalf-store",
        ),
        row(
            "keys from nowhere",
            "/spec/keys",
            json!({"type": "Secret"}),
            "spec.keys",
            "keys.secret must be set with type Secret, and only then",
        ),
        row(
            "keys that nothing uses",
            "/spec/keys",
            json!({"type": "Secret", "managed": {}, "secret": {"secretRef": {"name": "a-behalf-keys"}}}),
            "spec.keys",
            "keys.managed must be set with type Managed only",
        ),
        row(
            "keys that nobody wrote for Behalf",
            "/spec/keys",
            json!({"type": "Secret", "secret": {"secretRef": {"name": "database"}}}),
            "spec.keys.secret.secretRef.name",
            "the name of the Secret in keys.secret must end in behalf-keys",
        ),
        row(
            "a revocation without a time",
            "/spec/sessions/revocations/before",
            json!("yesterday"),
            "spec.sessions.revocations.before",
            "",
        ),
        row(
            "two revocations of one user",
            "/spec/sessions/revocations/users",
            json!([
                {"id": "aaaaaaaa-0000-4000-8000-000000000001", "before": "2026-11-26T09:00:00Z"},
                {"id": "aaaaaaaa-0000-4000-8000-000000000001", "before": "2026-11-27T09:00:00Z"},
            ]),
            "spec.sessions.revocations.users",
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
            "a rotation each hour",
            "/spec/keys/managed",
            json!({"rotationInterval": "1h"}),
            "spec.keys.managed",
            "keys.managed.rotationInterval must be between 168h (7 days) and 8784h (366 days)",
        ),
        row(
            "a route for an address",
            "/spec",
            json!({
                "publicUrl": "https://192.0.2.7",
                "entra": {"tenantId": "11111111-1111-4111-8111-111111111111", "clientId": "22222222-2222-4222-8222-222222222222"},
                "server": {"azureDevOps": {"organization": "contoso"}},
                "route": {"gateway": {"parentRefs": [{"name": "public"}]}},
            }),
            "spec",
            "spec.route needs a publicUrl with a host name: an HTTPRoute has no hostname that is an IP address; change publicUrl \
             or remove spec.route",
        ),
        row(
            "a route to a Gateway and to one of its listeners",
            "/spec/route",
            json!({"gateway": {"parentRefs": [{"name": "public"}, {"name": "public", "sectionName": "https"}]}}),
            "spec.route.gateway.parentRefs",
            "spec.route.gateway.parentRefs must name each Gateway once, or several of its listeners, each once",
        ),
        row(
            "a server on the sidecar's port",
            "/spec/server",
            json!({"container": {"image": IMAGE, "port": 8080}}),
            "spec.server.container.port",
            "server.container.port must not be 8080 or 9090: the sidecar listens there",
        ),
        row(
            "a writable directory that is larger than a node should give",
            "/spec/server",
            json!({"container": {"image": IMAGE, "writableSize": "5Gi"}}),
            "spec.server.container.writableSize",
            "server.container.writableSize must be a whole number of Mi or Gi between 1Mi and 4Gi, for example 256Mi",
        ),
        row(
            "a server that is the sidecar's user",
            "/spec/server",
            json!({"container": {"image": IMAGE, "runAsUser": 65532}}),
            "spec.server.container.runAsUser",
            "server.container.runAsUser must not be 65532: this is the sidecar's user, whose files it could read",
        ),
        container(
            "a server from another image that exchanges tokens itself",
            &json!({"at": "Server", "injection": "None"}),
            "tokenExchange.at must be Sidecar with server.container: such a container has no credential; remove the field",
        ),
        container(
            "a server from another image without a scope",
            &json!({}),
            "tokenExchange.scope is required with server.container: set it to the scope of the API that the server \
             calls, for example api://<id>/.default, or set tokenExchange.injection to None if the server needs no token",
        ),
        container(
            "a scope although no token is sent",
            &json!({"injection": "None", "scope": "api://api/.default"}),
            "tokenExchange.injection None needs server.container and excludes tokenExchange.scope: no token is obtained",
        ),
        with_container(
            "a server from another image behind the Service of others",
            &json!({"pod": {"labels": {"app": "payments"}}}),
            "pod.labels and pod.annotations must be empty with server.container: they can put the server behind the Service \
             of others, or give it more than the operator does; remove them",
        ),
        with_container(
            "a server from another image on another network",
            &json!({"pod": {"annotations": {"k8s.v1.cni.cncf.io/networks": "backend"}}}),
            "pod.labels and pod.annotations must be empty with server.container: they can put the server behind the Service \
             of others, or give it more than the operator does; remove them",
        ),
        with_container(
            "a server from another image beside a Redis without credentials",
            &json!({"sessions": {"store": {"type": "Redis", "redis": redis(&json!(["redis://redis.mcp.svc:6379"]))}}}),
            "sessions.store.redis.auth.type must be Entra or Secret with server.container: the server has the network of the \
             sidecar, and could change sessions in a Redis without credentials",
        ),
        row(
            "a token for the application by the address of its own scope",
            "/spec",
            json!({
                "publicUrl": "https://mcp.contoso.example",
                "entra": {
                    "tenantId": "11111111-1111-4111-8111-111111111111",
                    "clientId": "22222222-2222-4222-8222-222222222222",
                    "scope": "api://contoso-mcp/access_as_user",
                },
                "server": {"azureDevOps": {"organization": "contoso"}},
                "tokenExchange": {"scope": "api://orders/.default API://Contoso-MCP/.default"},
            }),
            "spec",
            "tokenExchange.scope must not name the application of entra.scope: the server would get a token for this server itself; \
             name the API that the server calls",
        ),
        container(
            "a token for the application itself",
            &json!({"scope": "11111111-1111-4111-8111-111111111111/.default"}),
            "tokenExchange.scope must not name the application of entra.clientId: the server would get a token for this \
             server itself; name the API that the server calls",
        ),
        row(
            "the application itself among those whose tokens are accepted",
            "/spec",
            json!({
                "publicUrl": "https://mcp.contoso.example",
                "entra": {
                    "tenantId": "11111111-1111-4111-8111-111111111111",
                    "clientId": "aaaaaaaa-1111-4111-8111-111111111111",
                },
                "server": {"azureDevOps": {"organization": "contoso"}},
                "clients": {"entraTokens": {
                    "policy": "Enabled",
                    "clientIds": ["AAAAAAAA-1111-4111-8111-111111111111"],
                }},
            }),
            "spec",
            "clients.entraTokens.clientIds must not contain entra.clientId: the tokens of this server's own sessions would \
             be accepted, which servers can have; remove it",
        ),
        row(
            "a path in the collector's address",
            "/spec/tracing",
            json!({"endpoint": "http://otel.obs.svc:4318/v1/traces"}),
            "spec.tracing.endpoint",
            "tracing.endpoint must be http://<host>:<port> or https://<host>:<port> in lower case, without user, path or \
             trailing slash, the port at most 65535",
        ),
        row(
            "a collector of OTLP/gRPC",
            "/spec/tracing",
            json!({"endpoint": "http://otel.obs.svc:4317"}),
            "spec.tracing.endpoint",
            "tracing.endpoint must name an OTLP/HTTP receiver, usually port 4318: 4317 is the port of OTLP/gRPC",
        ),
        row(
            "an unknown place of exchange",
            "/spec/tokenExchange",
            json!({"at": "Somewhere"}),
            "spec.tokenExchange.at",
            "",
        ),
    ]
}
