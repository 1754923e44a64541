//! Which Pods the operator may run. Each row changes one thing of a Deployment that the operator wrote.

use behalf_demo::environment::Server;
use serde_json::{Value, json};

use super::{APPLY, CREATE, OURS, Row, object};
use crate::world::{TestResult, World};

const NODE: Option<&str> = Some("may not use namespaces, ports or devices of their node");
const PRIVILEGED: Option<&str> = Some("may not run as root or unconfined, be privileged or gain privileges");
const PROBE: Option<&str> = Some("may send requests to their own Pod only");
const VOLUME: Option<&str> = Some("may mount ConfigMaps, empty directories, Secrets and tokens only");
const SECRET: Option<&str> =
    Some("may read no Secret but the keyring and the revocations of their McpServer");
const TOKEN: Option<&str> = Some("only for audiences that start with api://");
const ACCOUNT: Option<&str> = Some("may use the ServiceAccount of their McpServer");
const NAME: Option<&str> = Some("must have the name of their McpServer");

/// The Deployment of an object named "shop", as the operator writes it.
pub(super) struct Written(Value);

impl Written {
    /// Reads the article's Deployment, which has the most volumes, and gives it to "shop".
    pub(super) fn read(world: &World, uid: &Value) -> TestResult<Self> {
        let article = world.get("deployment", Server::Article.name())?["spec"].to_string();
        let mut deployment = object("Deployment", "shop", Some("shop"), OURS, uid);
        deployment["spec"] = serde_json::from_str(&article.replace(Server::Article.name(), "shop"))?;
        Ok(Self(deployment))
    }

    /// A Deployment that the policy refuses.
    pub(super) fn on_its_node(&self) -> Value {
        self.with("/hostNetwork", json!(true))
    }

    /// A Deployment without Pods that another user changed.
    pub(super) fn edited_by_somebody(&self) -> Value {
        let mut edited = self.on_its_node();
        edited["metadata"]["name"] = json!("edited");
        edited["spec"]["replicas"] = json!(0);
        edited
    }

    /// Sets one value in the spec of the Pods. A path that ends with `/-` appends to a list.
    fn with(&self, path: &str, value: Value) -> Value {
        let mut deployment = self.0.clone();
        let pod = &mut deployment["spec"]["template"]["spec"];
        match path.strip_suffix("/-") {
            Some(list) => match place(pod, list) {
                Value::Array(list) => list.push(value),
                absent => *absent = json!([value]),
            },
            None => *place(pod, path) = value,
        }
        deployment
    }

    /// The Deployment as it is, and with one change each.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = of_the_node()
            .into_iter()
            .chain(of_the_kubelet())
            .chain(of_others())
            .map(|(what, path, value, refusal)| (what, CREATE, self.with(path, value), refusal))
            .collect();
        for (what, account, refusal) in [
            ("another account", "other", ACCOUNT),
            ("an account that is listed", "shared", None),
            ("an account that is listed elsewhere", "foreign", ACCOUNT),
        ] {
            let mut deployment = self.with("/serviceAccountName", json!(account));
            deployment["spec"]["template"]["spec"]["serviceAccount"] = json!(account);
            rows.push((what, CREATE, deployment, refusal));
        }
        let mut renamed = self.0.clone();
        renamed["metadata"]["name"] = json!("other");
        rows.push(("a Deployment of another name", CREATE, renamed, NAME));
        let mut worse = self.edited_by_somebody();
        worse["spec"]["template"]["spec"]["hostPID"] = json!(true);
        rows.push((
            "Pods that another user changed, unchanged",
            APPLY,
            self.edited_by_somebody(),
            None,
        ));
        rows.push(("Pods that another user changed, changed more", APPLY, worse, NODE));
        rows
    }
}

/// Returns the value at a path, which is created as `null` if it is missing.
fn place<'a>(value: &'a mut Value, path: &str) -> &'a mut Value {
    path.split('/')
        .skip(1)
        .fold(value, |value, step| match step.parse::<usize>() {
            Ok(index) => &mut value[index],
            Err(_) => &mut value[step],
        })
}

/// One change of the spec of the Pods: a description, the path, the value, and the expected refusal, if any.
type Change = (&'static str, &'static str, Value, Option<&'static str>);

/// Requests that the kubelet sends from the network of the node.
fn of_the_kubelet() -> Vec<Change> {
    vec![
        (
            "a probe of another host",
            "/containers/0/readinessProbe",
            json!({"httpGet": {"port": 80, "host": "169.254.169.254"}}),
            PROBE,
        ),
        (
            "a TCP probe of another host in the sidecar",
            "/initContainers/0/livenessProbe",
            json!({"tcpSocket": {"port": 80, "host": "169.254.169.254"}}),
            PROBE,
        ),
        (
            "a request to another host at the start",
            "/containers/0/lifecycle/postStart",
            json!({"httpGet": {"port": 80, "host": "169.254.169.254"}}),
            PROBE,
        ),
        (
            "a request to its own Pod at the start",
            "/containers/0/lifecycle/postStart",
            json!({"httpGet": {"port": 3001, "path": "/readyz"}}),
            None,
        ),
    ]
}

/// Changes that give a Pod something of its node, or privileges.
fn of_the_node() -> Vec<Change> {
    vec![
        ("its own Pods", "/terminationGracePeriodSeconds", json!(60), None),
        ("the node's network", "/hostNetwork", json!(true), NODE),
        ("the node's processes", "/hostPID", json!(true), NODE),
        ("the node's memory", "/hostIPC", json!(true), NODE),
        (
            "a port of the node",
            "/containers/0/ports/0/hostPort",
            json!(3001),
            NODE,
        ),
        (
            "a device of the node",
            "/resourceClaims",
            json!([{"name": "gpu", "resourceClaimName": "gpu"}]),
            NODE,
        ),
        (
            "no seccomp profile",
            "/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            PRIVILEGED,
        ),
        (
            "no seccomp profile in a container",
            "/containers/0/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            PRIVILEGED,
        ),
        (
            "no AppArmor profile",
            "/containers/0/securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
            PRIVILEGED,
        ),
        (
            "a privileged container",
            "/containers/0/securityContext",
            json!({"privileged": true, "runAsNonRoot": true}),
            PRIVILEGED,
        ),
        (
            "escalation in the sidecar",
            "/initContainers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
            PRIVILEGED,
        ),
        (
            "no security context",
            "/containers/0/securityContext",
            Value::Null,
            PRIVILEGED,
        ),
        (
            "root",
            "/containers/0/securityContext/runAsNonRoot",
            json!(false),
            PRIVILEGED,
        ),
        (
            "a capability",
            "/containers/0/securityContext/capabilities/add/-",
            json!("NET_RAW"),
            PRIVILEGED,
        ),
        (
            "a path of the node",
            "/volumes/-",
            volume("hostPath", &json!({"path": "/"})),
            VOLUME,
        ),
        (
            "a claim",
            "/volumes/-",
            volume("persistentVolumeClaim", &json!({"claimName": "data"})),
            VOLUME,
        ),
    ]
}

/// Changes that give a Pod a Secret or a token.
fn of_others() -> Vec<Change> {
    let projected = |source: Value| volume("projected", &json!({"sources": [source]}));
    vec![
        (
            "another Secret",
            "/volumes/-",
            volume("secret", &json!({"secretName": "other"})),
            SECRET,
        ),
        (
            "another's keyring",
            "/volumes/-",
            volume("secret", &json!({"secretName": "other-keyring"})),
            SECRET,
        ),
        (
            "credentials of a session store",
            "/volumes/-",
            volume("secret", &json!({"secretName": "redis-behalf-store"})),
            None,
        ),
        (
            "a keyring of another tool",
            "/volumes/-",
            volume("secret", &json!({"secretName": "vault-behalf-keys"})),
            None,
        ),
        (
            "a Secret whose name only begins like credentials of a session store",
            "/volumes/-",
            volume("secret", &json!({"secretName": "behalf-store-tls"})),
            SECRET,
        ),
        (
            "a Secret in a variable",
            "/containers/0/env/-",
            json!({"name": "MORE", "valueFrom": {"secretKeyRef": {"name": "other", "key": "key"}}}),
            SECRET,
        ),
        (
            "a Secret in all variables",
            "/initContainers/0/envFrom/-",
            json!({"secretRef": {"name": "other"}}),
            SECRET,
        ),
        (
            "a ConfigMap in a variable",
            "/containers/0/env/-",
            json!({"name": "MORE", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "key"}}}),
            None,
        ),
        (
            "a projected Secret",
            "/volumes/-",
            projected(json!({"secret": {"name": "other"}})),
            TOKEN,
        ),
        (
            "a token for the API server",
            "/volumes/-",
            projected(json!({"serviceAccountToken": {"path": "token"}})),
            TOKEN,
        ),
        (
            "a token for another audience",
            "/volumes/-",
            projected(json!({"serviceAccountToken": {"path": "token", "audience": "vault"}})),
            TOKEN,
        ),
        (
            "a mounted token",
            "/automountServiceAccountToken",
            json!(true),
            TOKEN,
        ),
        (
            "a token mounted by default",
            "/automountServiceAccountToken",
            Value::Null,
            TOKEN,
        ),
    ]
}

fn volume(source: &str, value: &Value) -> Value {
    json!({"name": "more", source: value})
}
