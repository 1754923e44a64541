//! An `McpServer` kept in Git by the real controllers of Flux and Argo CD, and one that an autoscaler scales by the numbers of
//! metrics-server. The controllers run as processes of this machine against a cluster of the test's own: `make test-gitops`.
//!
//! All run at the same time, each with an object of its own, and wait most of it. `BEHALF_TEST_DRIFT` is the number of seconds
//! for which nothing may drift, a minute by default. With `BEHALF_KEEP_CLUSTER=1` the cluster keeps running.

#![expect(clippy::print_stdout, reason = "a test's output")]

mod argocd;
mod autoscaler;
mod flux;
mod metrics_server;
mod process;
mod story;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use behalf_tests::limits::within_limit;
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::runtime::Runtime;

use crate::world::{TestResult, World};

/// The folder with the controllers, which `.ci/gitops controllers` prints.
const CONTROLLERS: &str = "BEHALF_GITOPS_CONTROLLERS";

/// Maximum duration of one test, beside the time without drift. It ends a test that hangs.
const LIMIT: Duration = Duration::from_mins(20);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test waits most of its time.
    arguments.test_threads = Some(3);
    let Some(controllers) = std::env::var_os(CONTROLLERS).map(PathBuf::from) else {
        if !arguments.list {
            println!(
                "SKIPPED: GitOps controllers: run `make test-gitops`, which builds them and sets {CONTROLLERS}"
            );
        }
        let trials =
            ["flux", "argocd", "autoscaler"].map(|name| Trial::test(name, || Ok(())).with_ignored_flag(true));
        return libtest_mimic::run(&arguments, trials.into()).exit_code();
    };
    let runtime = match Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => panic!("no runtime for the tests: {error}"),
    };
    let world = match runtime.block_on(World::create(controllers)) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            let message = behalf_runtime::error_chain(error.as_ref());
            let trial = Trial::test("the environment comes up", move || Err(Failed::from(message)));
            return libtest_mimic::run(&arguments, vec![trial]).exit_code();
        }
    };
    let trials = vec![
        trial("flux", &runtime, &world, async |world| {
            let tool = flux::Flux::start(world).await?;
            story::play(world, &tool).await
        }),
        trial("argocd", &runtime, &world, async |world| {
            let tool = argocd::ArgoCd::start(world).await?;
            story::play(world, &tool).await
        }),
        trial("autoscaler", &runtime, &world, autoscaler::scale),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials);
    world.dispose();
    conclusion.exit_code()
}

fn trial(
    name: &'static str,
    runtime: &Arc<Runtime>,
    world: &Arc<World>,
    run: impl AsyncFn(&World) -> TestResult + Send + 'static,
) -> Trial {
    let (runtime, world) = (Arc::clone(runtime), Arc::clone(world));
    let test = move || {
        let result = runtime.block_on(run(&world));
        result.map_err(|error| behalf_runtime::error_chain(error.as_ref()))
    };
    Trial::test(name, || {
        within_limit(LIMIT + story::drift(), test).map_err(Failed::from)
    })
}
