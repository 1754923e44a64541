//! The logs of all Pods and the keys of all keyrings, kept from the suite's start: the tests delete Pods and
//! objects, and what was in them must be searched all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, NAMESPACE_SIMULATORS};
use behalf_tests::container_run::is_over;
use futures::io::AllowStdIo;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, LogParams};
use kube::{Api, Client};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::ensure;
use crate::search::Place;
use crate::world::TestResult;

/// Every namespace in which something of ours runs.
pub(crate) const NAMESPACES: [&str; 3] = [NAMESPACE_SERVERS, NAMESPACE_OPERATOR, NAMESPACE_SIMULATORS];

/// The Pod that logs a value that the search must find.
pub(crate) const PLANTED: &str = "planted";

/// Time between two searches for new containers.
const PAUSE: Duration = Duration::from_secs(1);

/// The images of programs that nobody here wrote.
const FOREIGN: [&str; 5] = ["redis", "valkey", "nginx", "everything-server", "fastmcp-server"];

/// Whether a container with this image logs at trace level. The simulators do not, because their libraries would log the
/// secrets that they issue, and foreign programs have no such level.
pub(crate) fn is_traced(namespace: &str, pod: &str, image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    let is_foreign = FOREIGN.iter().any(|foreign| name.starts_with(foreign));
    namespace != NAMESPACE_SIMULATORS && pod != PLANTED && !is_foreign
}

/// The keys in a keyring Secret, as it spells them.
pub(crate) fn keys(secret: &Secret) -> Vec<String> {
    let files = secret.data.iter().flat_map(BTreeMap::values);
    let mut keys = Vec::new();
    for file in files {
        let keyring: Value = serde_json::from_slice(&file.0).unwrap_or_default();
        for set in ["sessions", "clients"] {
            let all = keyring[set]["keys"].as_array().into_iter().flatten();
            keys.extend(all.filter_map(|key| Some(key["material"].as_str()?.to_owned())));
        }
    }
    keys
}

/// A container from its start to its end; started again, it is another run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    namespace: &'static str,
    pod: String,
    uid: String,
    container: String,
    restarts: i32,
}

/// The position up to which the log of a run was read.
#[derive(Debug, Clone, Copy)]
enum Progress {
    Open,
    Closed { until: Option<Instant>, whole: bool },
}

#[derive(Default)]
struct Seen {
    runs: BTreeMap<Run, Progress>,
    /// Pod and container: those that must have logged at trace level, because their Pod was ready once.
    traced: BTreeSet<(String, String)>,
    keys: BTreeSet<String>,
}

/// Follows every container of every Pod into a file.
#[derive(Clone)]
struct Recorder {
    folder: Arc<TempDir>,
    seen: Arc<Mutex<Seen>>,
}

/// Records as long as it lives.
pub(crate) struct Recording {
    recorder: Recorder,
    task: JoinHandle<()>,
}

impl Recording {
    pub(crate) fn start(client: Client) -> TestResult<Self> {
        let recorder = Recorder {
            folder: Arc::new(tempfile::tempdir()?),
            seen: Arc::default(),
        };
        let task = tokio::spawn(recorder.clone().watch(client));
        Ok(Self { recorder, task })
    }

    /// The keys of every keyring that there was.
    pub(crate) fn keys(&self) -> BTreeSet<String> {
        self.recorder.seen().keys.clone()
    }

    /// All logs so far. Fails when a log was never read, or one that must hold a line at trace level holds none.
    pub(crate) fn logs(&self) -> TestResult<Vec<Place>> {
        ensure!(
            !self.task.is_finished(),
            "no logs are recorded: the search would prove nothing"
        );
        let (runs, mut silent) = {
            let seen = self.recorder.seen();
            (seen.runs.clone(), seen.traced.clone())
        };
        let mut logs = Vec::new();
        for (run, progress) in runs {
            let name = format!(
                "recorded log of {}/{}/{} (start {})",
                run.namespace,
                run.pod,
                run.container,
                run.restarts + 1
            );
            let never = matches!(progress, Progress::Closed { until: None, .. });
            ensure!(!never, "the {name} could not be read");
            // A log that was just opened has no file yet.
            let bytes = std::fs::read(self.recorder.file(&run)).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if text.contains("TRACE") {
                silent.remove(&(run.uid, run.container));
            }
            logs.push(Place { name, text });
        }
        ensure!(
            silent.is_empty(),
            "these containers logged no line at trace level, so that the search would prove nothing: {silent:?}"
        );
        Ok(logs)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, run: &Run) -> std::path::PathBuf {
        self.folder
            .path()
            .join(format!("{}-{}-{}.log", run.uid, run.container, run.restarts))
    }

    /// Looks for new containers and keys. When the API server does not answer, the next look finds the same.
    async fn watch(self, client: Client) {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), NAMESPACE_SERVERS);
        loop {
            for namespace in NAMESPACES {
                let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
                for pod in pods.list(&ListParams::default()).await.into_iter().flatten() {
                    self.look_at(&pods, namespace, &pod);
                }
            }
            for secret in secrets.list(&ListParams::default()).await.into_iter().flatten() {
                self.seen().keys.extend(keys(&secret));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn look_at(&self, pods: &Api<Pod>, namespace: &'static str, pod: &Pod) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let Some(status) = &pod.status else { return };
        let own = [&status.init_container_statuses, &status.container_statuses];
        let own = || own.into_iter().flatten().flatten();
        let conditions = status.conditions.iter().flatten();
        let is_ready = conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if is_ready {
            let traced = own().filter(|container| is_traced(namespace, &name, &container.image));
            let traced = traced.map(|container| (uid.clone(), container.name.clone()));
            self.seen().traced.extend(traced);
        }
        for container in own().chain(status.ephemeral_container_statuses.iter().flatten()) {
            let Some(is_over) = is_over(container) else {
                continue;
            };
            let run = Run {
                namespace,
                pod: name.clone(),
                uid: uid.clone(),
                container: container.name.clone(),
                restarts: container.restart_count,
            };
            let known = self.seen().runs.get(&run).copied();
            let since = match known {
                Some(Progress::Open) => continue,
                Some(Progress::Closed { whole: true, .. }) if is_over => continue,
                Some(Progress::Closed { until, .. }) => until,
                None => None,
            };
            if known.is_none() && run.restarts > 0 {
                self.read_previous(pods, &run);
            }
            self.seen().runs.insert(run.clone(), Progress::Open);
            let (recorder, pods) = (self.clone(), pods.clone());
            drop(tokio::spawn(
                async move { recorder.follow(&pods, run, since).await },
            ));
        }
    }

    /// Reads what the container logged before it was started again, unless it was followed to its end.
    fn read_previous(&self, pods: &Api<Pod>, run: &Run) {
        let before = Run {
            restarts: run.restarts - 1,
            ..run.clone()
        };
        let known = self.seen().runs.get(&before).copied();
        if matches!(known, Some(Progress::Closed { whole: true, .. })) {
            return;
        }
        let (recorder, pods) = (self.clone(), pods.clone());
        drop(tokio::spawn(async move {
            let parameters = LogParams {
                container: Some(before.container.clone()),
                previous: true,
                ..LogParams::default()
            };
            // If the log cannot be read here either, the state of the run shows it.
            if matches!(recorder.copy(&pods, &before, &parameters).await, Ok(true)) {
                let until = Some(Instant::now());
                let read = Progress::Closed { until, whole: true };
                recorder.seen().runs.insert(before, read);
            }
        }));
    }

    /// Copies a log until its end. It may end before the container does: then it is opened again from there.
    async fn follow(self, pods: &Api<Pod>, run: Run, since: Option<Instant>) {
        let parameters = LogParams {
            container: Some(run.container.clone()),
            follow: true,
            since_seconds: since.map(|since| {
                let seconds = since.elapsed().as_secs() + 5; // a line twice is better than none
                i64::try_from(seconds).unwrap_or(i64::MAX)
            }),
            ..LogParams::default()
        };
        let copied = self.copy(pods, &run, &parameters).await;
        let progress = match copied {
            Ok(whole) => Progress::Closed {
                until: Some(Instant::now()),
                whole,
            },
            Err(_) => Progress::Closed {
                until: since,
                whole: false,
            },
        };
        self.seen().runs.insert(run, progress);
    }

    /// Appends a log to the run's file; true when it came to its end.
    async fn copy(&self, pods: &Api<Pod>, run: &Run, parameters: &LogParams) -> TestResult<bool> {
        let log = pods.log_stream(&run.pod, parameters).await?;
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.file(run))?;
        let ended = futures::io::copy_buf(log, &mut AllowStdIo::new(file)).await;
        Ok(ended.is_ok())
    }
}
