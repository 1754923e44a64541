//! The steps of a team with an `McpServer` in Git, and the health that its tool must report at each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use behalf_demo::environment::NAMESPACE_SERVERS;
use behalf_local_cluster::files;
use behalf_tests::commands;
use serde_json::{Value, json};

use crate::ensure;
use crate::world::{TestResult, World, until};

/// An application that does not exist in the tenant.
const OTHER_APPLICATION: &str = "be4a1f00-c11e-4000-8000-0000000000ff";

/// Time without a write after which an object counts as settled.
const SETTLED: Duration = Duration::from_secs(20);

/// The health of the object as the tool shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    InProgress,
    Healthy,
    Suspended,
    Unhealthy,
}

/// The state of the tool.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Whether it has applied the newest commit.
    pub(crate) current: bool,
    pub(crate) health: Health,
    pub(crate) message: String,

    /// Changes with everything that the tool applies.
    pub(crate) applied: String,

    /// The time at which it compared the folder with the cluster last.
    pub(crate) compared: String,
}

/// A tool that reconciles one folder into the servers' namespace.
pub(crate) trait Tool {
    /// The name of the object that it keeps, and of its own object.
    const NAME: &'static str;

    /// Its section of `docs/gitops.md`.
    const SECTION: &'static str;

    /// Whether it shows the reason of the object, or only its name.
    const SHOWS_REASONS: bool;

    /// Its health of a suspended object.
    const SUSPENDED: Health;

    /// Makes these objects the content of the folder.
    fn commit(&self, world: &World, objects: &[Value]) -> TestResult;

    fn look(&self, world: &World) -> TestResult<Seen>;
}

/// Duration for which nothing may drift.
pub(crate) fn drift() -> Duration {
    let seconds = std::env::var("BEHALF_TEST_DRIFT").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(60))
}

/// Maximum time between two comparisons on average. Both tools compare more often.
const COMPARED_EVERY: Duration = Duration::from_mins(1);

pub(crate) async fn play<T: Tool>(world: &World, tool: &T) -> TestResult {
    // An object that stays: Argo CD applies no commit that would delete everything.
    let stays = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": format!("{}-stays", T::NAME), "namespace": NAMESPACE_SERVERS},
    });
    let first = world.mcp_server(T::NAME)?;
    let publish = |object: &Value| tool.commit(world, &[stays.clone(), object.clone()]);

    step::<T>("install: unhealthy until the federated credential exists");
    publish(&first)?;
    let exists = || Ok(world.exists("mcpserver", T::NAME)?.then_some(()));
    until("the object is applied", exists).await?;
    unhealthy(world, tool, "Fic").await?;
    world.create_credential(T::NAME).await?;
    healthy(world, tool).await?;

    step::<T>("the commands of the documentation");
    follow_the_page::<T>(world)?;

    step::<T>("change: a rollout");
    let before = template(world, T::NAME)?;
    let mut changed = first.clone();
    changed["spec"]["sidecar"]["logLevel"] = json!("Debug");
    publish(&changed)?;
    healthy(world, tool).await?;
    ensure!(
        template(world, T::NAME)? != before,
        "{} is healthy before its rollout",
        T::NAME
    );

    step::<T>("the federated credential is deleted and created again");
    world.remove_credential(T::NAME).await?;
    unhealthy(world, tool, "Fic").await?;
    world.create_credential(T::NAME).await?;
    healthy(world, tool).await?;

    step::<T>("a bad commit is rolled back");
    let mut bad = changed.clone();
    bad["spec"]["entra"]["clientId"] = json!(OTHER_APPLICATION);
    publish(&bad)?;
    unhealthy(world, tool, "AppNotFound").await?;
    publish(&changed)?;
    healthy(world, tool).await?;

    step::<T>("suspend and resume");
    let mut suspended = changed.clone();
    suspended["spec"]["suspend"] = json!(true);
    publish(&suspended)?;
    wait(tool, world, "suspended", |seen| {
        seen.current && seen.health == T::SUSPENDED
    })
    .await?;
    let ready = world.wait(T::NAME, "Suspended", |now| {
        now.get("Ready").is_some_and(|ready| ready.reason == "Suspended")
    });
    ready.await?;
    publish(&changed)?;
    healthy(world, tool).await?;

    step::<T>("a change by hand is reverted");
    let patch = json!({"spec": {"sidecar": {"logLevel": "Trace"}}}).to_string();
    let namespaced = ["--namespace", NAMESPACE_SERVERS];
    world.kubectl(
        &[
            &namespaced[..],
            &["patch", "mcpserver", T::NAME, "--type=merge", "--patch", &patch],
        ]
        .concat(),
    )?;
    until("the change by hand is reverted", || {
        let object = world.get(NAMESPACE_SERVERS, "mcpserver", T::NAME)?;
        Ok((object["spec"]["sidecar"]["logLevel"] == "Debug").then_some(()))
    })
    .await?;
    healthy(world, tool).await?;

    nothing_drifts(world, tool).await?;

    step::<T>("prune");
    tool.commit(world, std::slice::from_ref(&stays))?;
    until("the object and its children are pruned", || {
        let mut left = false;
        for kind in ["mcpserver", "deployment", "service", "serviceaccount"] {
            left |= world.exists(kind, T::NAME)?;
        }
        Ok((!left).then_some(()))
    })
    .await?;
    wait(tool, world, "healthy without the object", |seen| {
        seen.current && seen.health == Health::Healthy
    })
    .await?;
    Ok(())
}

/// Runs the commands of the tool's section, with the names of this test.
fn follow_the_page<T: Tool>(world: &World) -> TestResult {
    let sections = commands::sections("docs/gitops.md")?;
    let section = sections.iter().find(|section| section.title == T::SECTION);
    let script = &section
        .ok_or_else(|| format!("docs/gitops.md has no commands for {}", T::SECTION))?
        .script;
    let named = ["azure-devops", "mcp-servers"]
        .iter()
        .fold(script.clone(), |script, name| script.replace(name, T::NAME));
    ensure!(named != *script, "the commands name no object: {script}");
    let printed = world.shell(&files::checkout(), &named)?;
    let shown = printed.lines().find(|line| line.starts_with(T::NAME));
    ensure!(
        shown.is_some_and(|line| line.contains("True") || line.contains("Healthy")),
        "{} is not shown as healthy: {printed}",
        T::NAME
    );
    ensure!(
        printed.contains("Status:") && printed.contains("annotated"),
        "commands of {} did not print: {printed}",
        T::SECTION
    );
    Ok(())
}

fn step<T: Tool>(what: &str) {
    println!("  {}: {what}", T::NAME);
}

async fn wait<T: Tool>(
    tool: &T,
    world: &World,
    what: &str,
    wanted: impl Fn(&Seen) -> bool,
) -> TestResult<Seen> {
    let mut last = None;
    let found = until(&format!("{} is {what}", T::NAME), || {
        let seen = tool.look(world)?;
        let found = wanted(&seen).then(|| seen.clone());
        last = Some(seen);
        Ok(found)
    })
    .await;
    found.map_err(|error| format!("{error}; at last it was {last:?}").into())
}

/// Waits until the tool shows the object as healthy, and compares this with the object.
async fn healthy<T: Tool>(world: &World, tool: &T) -> TestResult {
    wait(tool, world, "healthy", |seen| {
        seen.current && seen.health == Health::Healthy
    })
    .await?;
    let now = world.conditions(T::NAME).await?;
    ensure!(
        now.is("Ready", "True"),
        "the tool says that {} is healthy, and the object says {}",
        T::NAME,
        now.summary()
    );
    Ok(())
}

/// Waits until the tool shows the object as unhealthy, with the reason that the object has.
async fn unhealthy<T: Tool>(world: &World, tool: &T, reason: &str) -> TestResult {
    let failed = |now: &behalf_demo::environment::Conditions| {
        now.is("Ready", "False")
            && now
                .get("Ready")
                .is_some_and(|ready| ready.reason.starts_with(reason))
    };
    let object = world.wait(T::NAME, reason, failed).await?;
    let named = if T::SHOWS_REASONS {
        object
            .get("Ready")
            .map(|ready| ready.reason.clone())
            .unwrap_or_default()
    } else {
        T::NAME.to_owned()
    };
    let seen = wait(tool, world, &format!("unhealthy with {named}"), |seen| {
        seen.current && seen.health == Health::Unhealthy && seen.message.contains(&named)
    })
    .await?;
    println!("    {}: {}", T::NAME, seen.message);
    Ok(())
}

/// Nobody writes the object, and the tool applies nothing, while nothing changes.
async fn nothing_drifts<T: Tool>(world: &World, tool: &T) -> TestResult {
    let duration = drift();
    step::<T>(&format!("nothing drifts for {} s", duration.as_secs()));
    let version = || -> TestResult<Value> {
        let object = world.get(NAMESPACE_SERVERS, "mcpserver", T::NAME)?;
        Ok(object["metadata"]["resourceVersion"].clone())
    };
    // The last results of new Pods arrive after the object is ready.
    let mut since = (version()?, Instant::now());
    until("the object is settled", || {
        let now = version()?;
        if now != since.0 {
            since = (now, Instant::now());
        }
        Ok((since.1.elapsed() > SETTLED).then_some(()))
    })
    .await?;
    let applied = tool.look(world)?.applied;
    let mut compared = BTreeSet::new();
    let started = Instant::now();
    while started.elapsed() < duration {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let seen = tool.look(world)?;
        ensure!(
            seen.health != Health::Unhealthy,
            "{} became unhealthy: {seen:?}",
            T::NAME
        );
        ensure!(
            seen.applied == applied,
            "{} applied something: {applied}, then {}",
            T::NAME,
            seen.applied
        );
        let now = version()?;
        ensure!(
            now == since.0,
            "somebody wrote {}: version {}, then {now}",
            T::NAME,
            since.0
        );
        compared.insert(seen.compared);
    }
    let wanted = duration.as_secs() / COMPARED_EVERY.as_secs();
    println!(
        "    {}: {} comparisons in {} s, version {} throughout",
        T::NAME,
        compared.len(),
        started.elapsed().as_secs(),
        since.0
    );
    ensure!(
        u64::try_from(compared.len())? > wanted,
        "{} compared only at {compared:?}, so that it could not see a drift",
        T::NAME
    );
    Ok(())
}

/// The Pod template of the Deployment.
fn template(world: &World, name: &str) -> TestResult<Value> {
    let deployment = world.get(NAMESPACE_SERVERS, "deployment", name)?;
    Ok(deployment["spec"]["template"].clone())
}
