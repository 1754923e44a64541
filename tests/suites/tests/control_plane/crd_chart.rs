//! The chart `behalf-crds` on a real API server: it refuses to replace the CRD of a newer release, and warns of changes that sign
//! users out.

use std::path::Path;
use std::time::{Duration, Instant};

use behalf_local_cluster::control_plane::ControlPlane;
use behalf_local_cluster::{Call, Progress, files};
use behalf_runtime::error_chain;
use behalf_tests::chart_programs::program;
use serde_json::{Value, json};
use tempfile::TempDir;

const HELMS: [&str; 2] = ["helm3", "helm4"];

/// Removes the version of the CRD, as the refusal says.
const FORGET: [&str; 4] = ["annotate", "crd", "mcpservers.behalf.dev", "behalf.dev/version-"];

/// A control plane on which Helm installs the chart.
struct Installed {
    plane: ControlPlane,
    folder: TempDir,
}

impl Installed {
    fn new() -> Self {
        let plane = ControlPlane::start(&[], &Progress::to(|_| {})).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let installed = Self { plane, folder };
        installed.install("helm3", &chart()).unwrap();
        let wait = ["wait", "--for=condition=Established", "crd/mcpservers.behalf.dev"];
        until("the CRD is established", || installed.kubectl(&wait).is_ok());
        installed
    }

    fn helm(&self, version: &str, arguments: &[&str]) -> Result<(), String> {
        let call = Call::new(program(version).unwrap());
        let call = call.args(arguments).arg("--kubeconfig").arg(self.plane.admin());
        call.text().map(drop).map_err(|error| error_chain(&error))
    }

    /// Installs or upgrades the release.
    fn install(&self, helm: &str, chart: &str) -> Result<(), String> {
        self.helm(helm, &["upgrade", "--install", "behalf-crds", chart])
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<(), String> {
        let called = self.plane.kubectl(arguments);
        called.map(drop).map_err(|error| error_chain(&error))
    }

    fn apply(&self, object: &Value) {
        let file = self.file("object.json", &object.to_string());
        self.kubectl(&["create", "--filename", &file]).unwrap();
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A copy of the chart, as another release has it.
    fn chart_of(&self, version: &str) -> String {
        let copy = self.folder.path().join(version);
        let copied = Call::new("cp").args(["--recursive", &chart()]).arg(&copy).run();
        copied.unwrap();
        for file in ["Chart.yaml", "templates/behalf.dev_mcpservers.yaml"] {
            as_of(&copy.join(file), version);
        }
        copy.display().to_string()
    }
}

/// Waits until `seen` returns true.
fn until(what: &str, seen: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !seen() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn chart() -> String {
    files::checkout().join("charts/behalf-crds").display().to_string()
}

/// Writes the version of another release into a file.
fn as_of(path: &Path, version: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let other = text.replace(
        &format!("ersion: {}\n", env!("CARGO_PKG_VERSION")),
        &format!("ersion: {version}\n"),
    );
    assert_ne!(other, text, "{} names no version", path.display());
    std::fs::write(path, other).unwrap();
}

fn is_refused(what: &str, replaced: Result<(), String>) {
    is_refused_of("9.9.9", what, replaced);
}

/// Fails unless the CRD of this release was not replaced, and the refusal says what to do.
fn is_refused_of(release: &str, what: &str, replaced: Result<(), String>) {
    let Err(error) = replaced else {
        panic!("{what} replaced the CRD of {release}")
    };
    let next = format!("install the chart behalf-crds of {release} or newer");
    assert!(
        error.contains(&next) && error.contains(&FORGET.join(" ")),
        "{what} got other words: {error}"
    );
}

#[test]
fn nothing_replaces_the_crd_of_a_newer_release_until_its_version_is_removed() {
    let installed = Installed::new();
    // The API server enforces a new policy after a moment.
    let lowered = "behalf.dev/version=0.0.1-rc.1";
    let lower = [
        "annotate",
        "--overwrite",
        "--dry-run=server",
        "crd",
        "mcpservers.behalf.dev",
        lowered,
    ];
    until("the policy is in force", || installed.kubectl(&lower).is_err());

    let newer = installed.chart_of("9.9.9");
    let of_source = files::checkout().join("crds/behalf.dev_mcpservers.yaml");
    let of_source = of_source.display().to_string();
    let apply = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "--filename",
        &of_source,
    ];
    for helm in HELMS {
        installed.install(helm, &newer).unwrap();
        // A rollback does not render the chart.
        is_refused(
            &format!("{helm} rollback"),
            installed.helm(helm, &["rollback", "behalf-crds"]),
        );
        is_refused(&format!("{helm} upgrade"), installed.install(helm, &chart()));
        is_refused("kubectl apply", installed.kubectl(&apply));
        // The policy stays.
        installed.helm(helm, &["uninstall", "behalf-crds"]).unwrap();
        is_refused(&format!("{helm} install"), installed.install(helm, &chart()));
        installed.helm(helm, &["uninstall", "behalf-crds"]).unwrap();
        installed.kubectl(&FORGET).unwrap();
        installed.install(helm, &chart()).unwrap();
    }
    // A part of two digits is larger than one of one digit.
    installed.install("helm4", &newer).unwrap();
    installed
        .install("helm4", &installed.chart_of("10.0.0-rc.1"))
        .unwrap();
    is_refused_of("10.0.0-rc.1", "helm4 upgrade", installed.install("helm4", &newer));
}

/// A merge patch of the spec of an object, and the words of the warning.
type Row = (&'static str, Value, Option<&'static str>);

fn redis(endpoint: &str) -> Value {
    json!({"sessions": {"store": {"type": "Redis", "redis": {"endpoints": [endpoint], "auth": {"type": "None"}}}}})
}

fn own_keys() -> Value {
    json!({"keys": {"type": "Secret", "secret": {"secretRef": {"name": "a-behalf-keys", "key": "keyring.json"}}}})
}

const ENDPOINT: &str = "rediss://one.example:6380";

/// Objects with each kind of store and of keyring. No operator serves them.
fn create_objects(installed: &Installed) {
    let example = files::checkout().join("examples/quickstart.yaml");
    let example: Value = serde_yaml::from_str(&std::fs::read_to_string(example).unwrap()).unwrap();
    let mut keys_and_redis = redis(ENDPOINT);
    keys_and_redis["keys"] = own_keys()["keys"].take();
    for (name, changes) in [
        ("memory", json!({})),
        ("redis", redis(ENDPOINT)),
        ("own-keys-memory", own_keys()),
        ("own-keys-redis", keys_and_redis),
    ] {
        let mut spec = example["spec"].clone();
        spec["publicUrl"] = json!(format!("https://{name}.warnings.example"));
        for (field, value) in changes.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        installed.apply(&json!({
            "apiVersion": example["apiVersion"], "kind": "McpServer", "metadata": {"name": name}, "spec": spec,
        }));
    }
}

fn changes() -> Vec<Row> {
    let application = json!({"entra": {"clientId": "33333333-3333-4333-8333-333333333333"}});
    vec![
        (
            "redis",
            json!({"publicUrl": "https://other.example"}),
            Some("another publicUrl"),
        ),
        ("redis", application, Some("entra.clientId")),
        (
            "redis",
            json!({"sessions": {"store": {"type": "Memory", "redis": null}}}),
            Some("another sessions.store.type"),
        ),
        (
            "redis",
            redis("rediss://two.example:6380"),
            Some("other sessions.store.redis.endpoints"),
        ),
        ("redis", own_keys(), Some("another keyring")),
        ("redis", json!({"replicas": 3}), None),
        ("redis", json!({"suspend": true}), None),
        ("redis", json!({"pod": {"priorityClassName": "high"}}), None),
        ("memory", redis(ENDPOINT), Some("another sessions.store.type")),
        ("memory", json!({"suspend": true}), Some("replaces the Pod")),
        (
            "memory",
            json!({"pod": {"priorityClassName": "high"}}),
            Some("replaces the Pod"),
        ),
        (
            "memory",
            json!({"clients": {"denied": ["a.example"]}}),
            Some("replaces the Pod"),
        ),
        (
            "memory",
            json!({"sessions": {"revocations": {"before": "2026-01-01T00:00:00Z"}}}),
            None,
        ),
        ("memory", json!({"network": {"policy": "Open"}}), None),
        ("memory", json!({"replicas": 1}), None),
    ]
}

#[test]
fn a_change_that_signs_users_out_is_warned_of_before_it_happens() {
    let installed = Installed::new();
    create_objects(&installed);
    // The API server enforces a new policy after a moment.
    let change = [
        "patch",
        "mcpserver",
        "memory",
        "--type=merge",
        "--patch",
        r#"{"spec": {"suspend": true}}"#,
    ];
    let change = [&change[..], &["--dry-run=server", "--warnings-as-errors"]].concat();
    until("the policy is in force", || installed.kubectl(&change).is_err());
    let mut wrong = Vec::new();
    let mut warns = |arguments: &[&str], warning: Option<&str>| {
        // The API server warns of a dry run, too.
        let dry = ["--dry-run=server", "--warnings-as-errors"];
        let what = arguments.join(" ");
        match (installed.kubectl(&[arguments, &dry].concat()), warning) {
            (Ok(()), None) => {}
            (Err(error), Some(warning)) if error.contains(warning) => {}
            (Ok(()), Some(_)) => wrong.push(format!("{what} has no warning")),
            (Err(error), _) => wrong.push(format!("{what}: {error}")),
        }
    };
    for (name, patch, warning) in changes() {
        let patch = json!({"spec": patch}).to_string();
        let patch = ["patch", "mcpserver", name, "--type", "merge", "--patch", &patch];
        warns(&patch, warning);
    }
    for (name, warning) in [
        ("memory", Some("deletes its keyring with it")),
        ("redis", Some("deletes its keyring with it")),
        ("own-keys-memory", Some("because sessions.store.type is Memory")),
        ("own-keys-redis", None),
    ] {
        warns(&["delete", "mcpserver", name], warning);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
