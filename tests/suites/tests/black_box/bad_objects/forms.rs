//! The rules for the form of one text, such as a GUID, a name or a duration: values that the API server must refuse, and values
//! that it must take.

use serde_json::{Value, json};

use super::accepted::Allowed;
use super::malformed::Malformed;

/// A rule for the form of a text.
struct Form {
    /// The field that has the rule, in the API server's words.
    field: &'static str,

    /// The rule's whole message.
    message: &'static str,

    /// JSON pointer to the place of the values.
    pointer: &'static str,

    refused: Vec<Value>,
    taken: Vec<Value>,
}

pub(super) fn malformed() -> Vec<Malformed> {
    let rows = |form: Form| {
        let row = move |value| Malformed {
            what: format!("{value} at {}", form.pointer),
            pointer: form.pointer,
            value,
            field: form.field,
            message: form.message,
        };
        form.refused.into_iter().map(row)
    };
    forms().into_iter().flat_map(rows).collect()
}

pub(super) fn allowed() -> Vec<Allowed> {
    let row = |form: Form| Allowed {
        field: form.field,
        message: form.message,
        objects: form
            .taken
            .into_iter()
            .map(|value| vec![(form.pointer, value)])
            .collect(),
    };
    forms().into_iter().map(row).collect()
}

const GUID: &str = "ABCDEFab-1111-4111-8111-111111111111";
const NOT_A_GUID: [&str; 3] = ["common", "", "{BCDEFab-1111-4111-8111-11111111111}"];
const NAME: &str =
    "must be the name of an object: a-z, 0-9, - and ., starting and ending with a letter or digit";
const NAMES: [&str; 3] = ["a", "1", "a-1.b"];
const NOT_A_NAME: [&str; 6] = ["A", "a_b", "a/b", "..", "a.", "-a"];
const CA_KEY: &str =
    "must be a key in the data of the object: letters, digits, -, _ and ., for example ca.crt";
const USERNAME_KEY: &str =
    "must be a key in the data of the object: letters, digits, -, _ and ., for example username";
const PASSWORD_KEY: &str =
    "must be a key in the data of the object: letters, digits, -, _ and ., for example password";
const KEYRING_KEY: &str =
    "must be a key in the data of the object: letters, digits, -, _ and ., for example keyring.json";
const KEYS: [&str; 2] = ["ca.crt", "A-_9"];
const NOT_A_KEY: [&str; 2] = ["a/b", "a b"];
const SCOPE: &str =
    "must be scopes of ASCII characters with one space between two of them, for example api://<id>/.default";
const SCOPES: [&str; 2] = ["a", "api://a/.default https://b/.default"];
const NOT_A_SCOPE: [&str; 4] = [" a", "a ", "a  b", "a\u{e9}"];
const DURATION: &str = "must be a duration in hours, minutes and seconds, for example 90s, 15m or 1h30m";
const NOT_A_DURATION: [&str; 5] = ["soon", "", "1d", "1.5h", "-1h"];
const HOSTS: [&str; 2] = ["a", "a-1.example"];
const NOT_A_HOST: [&str; 4] = ["https://a", "a:443", "a/b", "A.example"];

/// The values of a field that is a text.
fn texts<const N: usize>(texts: [&str; N]) -> Vec<Value> {
    texts.map(Value::from).to_vec()
}

/// The values of a field that is a list of texts.
fn lists<const N: usize>(texts: [&str; N]) -> Vec<Value> {
    texts.map(|text| json!([text])).to_vec()
}

/// The values around a text.
fn around<const N: usize>(texts: [&str; N], around: impl Fn(&str) -> Value) -> Vec<Value> {
    texts.map(around).to_vec()
}

fn forms() -> Vec<Form> {
    let all = [
        of_entra(),
        of_origins(),
        of_durations(),
        of_the_store(),
        of_keys_and_routes(),
        of_clients(),
        of_the_server(),
        of_containers(),
    ];
    all.into_iter().flatten().collect()
}

fn form(
    field: &'static str,
    message: &'static str,
    pointer: &'static str,
    refused: Vec<Value>,
    taken: Vec<Value>,
) -> Form {
    Form {
        field,
        message,
        pointer,
        refused,
        taken,
    }
}

fn of_entra() -> Vec<Form> {
    let authority = |text: &str| json!({"name": text});
    let key = |text: &str| json!({"name": "a", "key": text});
    vec![
        form(
            "spec.entra.tenantId",
            "entra.tenantId must be a GUID, the tenantId that az account show prints: no domain name, common or organizations",
            "/spec/entra/tenantId",
            texts(NOT_A_GUID),
            texts([GUID]),
        ),
        form(
            "spec.entra.clientId",
            "entra.clientId must be a GUID, the appId that az ad app show prints",
            "/spec/entra/clientId",
            texts(NOT_A_GUID),
            texts([GUID]),
        ),
        form(
            "spec.entra.scope",
            SCOPE,
            "/spec/entra/scope",
            texts(NOT_A_SCOPE),
            texts(SCOPES),
        ),
        form(
            "spec.tokenExchange.scope",
            SCOPE,
            "/spec/tokenExchange/scope",
            texts(NOT_A_SCOPE),
            texts(SCOPES),
        ),
        form(
            "spec.entra.federation.audience",
            "entra.federation.audience must start with api:// and contain no spaces, as api://AzureADTokenExchange does",
            "/spec/entra/federation/audience",
            texts(["https://kubernetes.default.svc", "api://", "api://a b"]),
            texts(["api://a"]),
        ),
        form(
            "spec.entra.federation.serviceAccountName",
            NAME,
            "/spec/entra/federation/serviceAccountName",
            texts(NOT_A_NAME),
            texts(NAMES),
        ),
        form(
            "spec.entra.certificateAuthorityRef.name",
            NAME,
            "/spec/entra/certificateAuthorityRef",
            around(NOT_A_NAME, authority),
            around(NAMES, authority),
        ),
        form(
            "spec.entra.certificateAuthorityRef.key",
            CA_KEY,
            "/spec/entra/certificateAuthorityRef",
            around(NOT_A_KEY, key),
            around(KEYS, key),
        ),
    ]
}

/// The default ports of origins. Their form has rows of its own.
fn of_origins() -> Vec<Form> {
    const ENDPOINT: &str = "an endpoint must leave out :443, the default port of https";
    let default_port = |field, message, pointer| {
        let taken = texts(["https://a.example:4430", "https://a.example:44", "https://a443"]);
        form(field, message, pointer, texts(["https://a.example:443"]), taken)
    };
    vec![
        default_port(
            "spec.entra.authority",
            "entra.authority must leave out :443, the default port of https",
            "/spec/entra/authority",
        ),
        default_port(
            "spec.server.azureDevOps.endpoints.core",
            ENDPOINT,
            "/spec/server/azureDevOps/endpoints/core",
        ),
        default_port(
            "spec.server.azureDevOps.endpoints.identity",
            ENDPOINT,
            "/spec/server/azureDevOps/endpoints/identity",
        ),
        default_port(
            "spec.server.azureDevOps.endpoints.release",
            ENDPOINT,
            "/spec/server/azureDevOps/endpoints/release",
        ),
    ]
}

fn of_durations() -> Vec<Form> {
    let duration = |field, pointer, taken| form(field, DURATION, pointer, texts(NOT_A_DURATION), taken);
    vec![
        duration(
            "spec.sessions.accessTokenLifetime",
            "/spec/sessions/accessTokenLifetime",
            texts(["90s", "15m", "1h30m", "0h1m30s"]),
        ),
        duration(
            "spec.sessions.idleLifetime",
            "/spec/sessions/idleLifetime",
            texts(["336h", "1h"]),
        ),
        duration(
            "spec.sessions.maximumLifetime",
            "/spec/sessions/maximumLifetime",
            texts(["2160h"]),
        ),
        duration(
            "spec.sessions.refreshGrace",
            "/spec/sessions/refreshGrace",
            texts(["0s", "2m"]),
        ),
        duration(
            "spec.keys.managed.rotationInterval",
            "/spec/keys/managed/rotationInterval",
            texts(["720h", "720h0m0s"]),
        ),
    ]
}

fn of_the_store() -> Vec<Form> {
    const STORE: &str = "/spec/sessions/store";
    let redis = |endpoint: &str, more: Value| {
        let mut redis = json!({"endpoints": [endpoint], "auth": {"type": "None"}});
        for (name, value) in more.as_object().into_iter().flatten() {
            redis[name] = value.clone();
        }
        json!({"type": "Redis", "redis": redis})
    };
    let secret = |reference: Value| {
        let auth = json!({"type": "Secret", "secret": {"secretRef": reference}});
        redis("redis://a:1", json!({"auth": auth}))
    };
    let name = |text: &str| secret(json!({"name": format!("{text}behalf-store")}));
    let username = |text: &str| secret(json!({"name": "behalf-store", "usernameKey": text}));
    let password = |text: &str| secret(json!({"name": "behalf-store", "passwordKey": text}));
    let authority = |text: &str| redis("rediss://a:1", json!({"certificateAuthorityRef": {"name": text}}));
    let key = |text: &str| {
        redis(
            "rediss://a:1",
            json!({"certificateAuthorityRef": {"name": "a", "key": text}}),
        )
    };
    let application = |id: &str| {
        redis(
            "rediss://a:1",
            json!({"auth": {"type": "Entra", "entra": {"clientId": id}}}),
        )
    };
    vec![
        form(
            "spec.sessions.store.redis.auth.entra.clientId",
            "sessions.store.redis.auth.entra.clientId must be a GUID, the appId or clientId that az prints for the application or \
             the managed identity",
            STORE,
            around(NOT_A_GUID, application),
            around([GUID], application),
        ),
        form(
            "spec.sessions.store.redis.auth.secret.secretRef.name",
            NAME,
            STORE,
            around(["../", "A-", "."], name),
            around(["", "a-", "a."], name),
        ),
        form(
            "spec.sessions.store.redis.auth.secret.secretRef.usernameKey",
            USERNAME_KEY,
            STORE,
            around(NOT_A_KEY, username),
            around(KEYS, username),
        ),
        form(
            "spec.sessions.store.redis.auth.secret.secretRef.passwordKey",
            PASSWORD_KEY,
            STORE,
            around(NOT_A_KEY, password),
            around(KEYS, password),
        ),
        form(
            "spec.sessions.store.redis.certificateAuthorityRef.name",
            NAME,
            STORE,
            around(NOT_A_NAME, authority),
            around(NAMES, authority),
        ),
        form(
            "spec.sessions.store.redis.certificateAuthorityRef.key",
            CA_KEY,
            STORE,
            around(NOT_A_KEY, key),
            around(KEYS, key),
        ),
        form(
            "spec.sessions.revocations.users.id",
            "must be the object id of the user, a GUID in lower case: az ad user show --id <user> --query id prints it",
            "/spec/sessions/revocations/users",
            around(
                [GUID, "ana@contoso.example"],
                |id| json!([{"id": id, "before": "2026-11-26T09:00:00Z"}]),
            ),
            around(
                ["aaaaaaaa-0000-4000-8000-000000000001"],
                |id| json!([{"id": id, "before": "2026-11-26T09:00:00Z"}]),
            ),
        ),
    ]
}

fn of_keys_and_routes() -> Vec<Form> {
    const PARENTS: &str = "/spec/route/gateway/parentRefs";
    let secret = |reference: Value| json!({"type": "Secret", "secret": {"secretRef": reference}});
    let name = |text: &str| secret(json!({"name": format!("{text}behalf-keys")}));
    let key = |text: &str| secret(json!({"name": "behalf-keys", "key": text}));
    let gateway = |text: &str| json!([{"name": text}]);
    let namespace = |text: &str| json!([{"name": "a", "namespace": text}]);
    let section = |text: &str| json!([{"name": "a", "sectionName": text}]);
    vec![
        form(
            "spec.keys.secret.secretRef.name",
            NAME,
            "/spec/keys",
            around(["../", "A-", "."], name),
            around(["", "a-", "a."], name),
        ),
        form(
            "spec.keys.secret.secretRef.key",
            KEYRING_KEY,
            "/spec/keys",
            around(NOT_A_KEY, key),
            around(KEYS, key),
        ),
        form(
            "spec.route.gateway.parentRefs.name",
            NAME,
            PARENTS,
            around(NOT_A_NAME, gateway),
            around(NAMES, gateway),
        ),
        form(
            "spec.route.gateway.parentRefs.namespace",
            "must be the name of a namespace: a-z, 0-9 and -, starting and ending with a letter or digit",
            PARENTS,
            around(["A", "a.b", "-a"], namespace),
            around(["a", "a-1"], namespace),
        ),
        form(
            "spec.route.gateway.parentRefs.sectionName",
            NAME,
            PARENTS,
            around(NOT_A_NAME, section),
            around(NAMES, section),
        ),
    ]
}

fn of_clients() -> Vec<Form> {
    const STATIC: &str = "/spec/clients/static";
    let client = |id: &str, uri: &str| json!([{"clientId": id, "displayName": "CI", "redirectUris": [uri]}]);
    let with_id = |id: &str| client(id, "http://localhost");
    let with_uri = |uri: &str| client("ci", uri);
    vec![
        form(
            "spec.clients.additionalRedirectHosts",
            "clients.additionalRedirectHosts must contain hosts in lower case without scheme, port and path, for example \
             agents.contoso.example",
            "/spec/clients/additionalRedirectHosts",
            lists(NOT_A_HOST),
            lists(HOSTS),
        ),
        form(
            "spec.clients.metadataDocuments.allowedHosts",
            "clients.metadataDocuments.allowedHosts must contain hosts in lower case without scheme, port and path, for example \
             agents.contoso.example",
            "/spec/clients/metadataDocuments/allowedHosts",
            lists(NOT_A_HOST),
            lists(HOSTS),
        ),
        form(
            "spec.clients.entraTokens.clientIds",
            "clients.entraTokens.clientIds must contain GUIDs, the appId of each application that az ad app show prints",
            "/spec/clients/entraTokens/clientIds",
            lists(NOT_A_GUID),
            lists([GUID]),
        ),
        form(
            "spec.clients.static.clientId",
            "must be an id of letters, digits, ., _ and -, for example ci",
            STATIC,
            around(["a b", "a/b"], with_id),
            around(["ci", "A.b_c-9"], with_id),
        ),
        form(
            "spec.clients.static.redirectUris",
            "redirectUris in clients.static must leave out the default port of their scheme, :443 of https and :80 of http, and have no \
             port above 65535",
            STATIC,
            around(
                [
                    "https://a:443",
                    "https://a.example:443/cb",
                    "http://localhost:80/cb",
                    "https://a:65536/cb",
                    "http://localhost:99999",
                ],
                with_uri,
            ),
            around(
                [
                    "https://a:80",
                    "https://a:65535/cb",
                    "http://localhost:443",
                    "https://a/b:443/c",
                    "https://a443",
                    "http://127.0.0.1:0/cb",
                ],
                with_uri,
            ),
        ),
    ]
}

fn of_the_server() -> Vec<Form> {
    let variable = |name: &str| json!([{"name": name, "value": "x"}]);
    vec![
        form(
            "spec.server.env.name",
            "must be the name of an environment variable: letters, digits, _, - and ., not starting with a digit",
            "/spec/server/env",
            around(["1A", "A B", "A=B"], variable),
            around(["A", "_a-b.1"], variable),
        ),
        form(
            "spec.server.azureDevOps.organization",
            "server.azureDevOps.organization must be the organization's name without an address, contoso for \
             https://dev.azure.com/contoso: letters, digits and hyphens",
            "/spec/server/azureDevOps/organization",
            texts(["https://dev.azure.com/contoso", "a/b", "-a", "a-", "a b"]),
            texts(["a", "Contoso-1"]),
        ),
        form(
            "spec.server.azureDevOps.projects",
            "server.azureDevOps.projects must contain names or ids of projects: names have no control characters, none of \
             \\ / : * ? \" < > | #, no . or _ at the start and no . at the end",
            "/spec/server/azureDevOps/projects",
            lists([
                "a/b", "a\\b", "a:b", "a*", "a?", "\"a", "<a", "a>", "a|b", "a#", "a\tb", "..", ".a",
                "_apis", "a.",
            ]),
            lists(["a", "a.b _c", "Müller & Söhne (2)", GUID]),
        ),
    ]
}

fn of_containers() -> Vec<Form> {
    let server = |settings: Value| {
        let mut container = json!({"image": "registry.example/mcp/server:1"});
        for (name, value) in settings.as_object().into_iter().flatten() {
            container[name] = value.clone();
        }
        json!({
            "publicUrl": "https://mcp.contoso.example",
            "entra": {"tenantId": GUID, "clientId": GUID},
            "server": {"container": container},
            "tokenExchange": {"injection": "None"},
        })
    };
    let image = |text: &str| server(json!({"image": text}));
    let path = |text: &str| server(json!({"path": text}));
    let directory = |text: &str| server(json!({"writablePaths": [text]}));
    let digest = format!("registry.example/a@sha256:{}", "0".repeat(64));
    vec![
        form(
            "spec.server.container.image",
            "server.container.image must name its registry and repository in lower case, for example \
             registry.contoso.example/mcp/server:1.2.3",
            "/spec",
            around(
                [
                    "orders",
                    "a/b",
                    "registry.example/a..b:1",
                    "registry.example/../a:1",
                    "Registry.example/a:1",
                    "a.example:65536/b:1",
                ],
                image,
            ),
            around(
                [
                    "a:80/b",
                    "localhost/a/b_.-c:1",
                    "localhost:5000/a/b_c.d:1",
                    &digest,
                ],
                image,
            ),
        ),
        form(
            "spec.server.container.path",
            "server.container.path must be an absolute path of letters, digits and ._~/-, for example /api/mcp",
            "/spec",
            around(["mcp", "@a", "/mcp?a=1", "/a%20b"], path),
            around(["/", "/a~b_c-d.e/"], path),
        ),
        form(
            "spec.server.container.writablePaths",
            "server.container.writablePaths must be absolute directories of letters, digits and ._-, without segments . and .. and \
             without a slash at the end, for example /tmp",
            "/spec",
            around(["tmp", "/tmp/", "/tmp/../etc", "/a b"], directory),
            around(["/a", "/home/app/.cache"], directory),
        ),
    ]
}
