//! The black-box suite: a real cluster, the Pods that the operator made, and foreign clients.
//!
//! It starts a cluster of its own, so it runs only if `BEHALF_TEST_CLUSTER=1` is set (`make test` sets it). Tests that use
//! different things run side by side (`behalf_tests::schedule`). The others run one after the other, because some break
//! what others need; each restores what it broke. With `BEHALF_KEEP_CLUSTER=1` the cluster keeps running afterwards.

#![expect(clippy::print_stdout, reason = "a test's output")]

mod administration;
mod answers;
mod api_server;
mod assertions;
mod bad_input;
mod bad_objects;
mod chart;
mod children;
mod cluster_wide;
mod conditions;
mod configuration;
mod conformance;
mod connections;
mod consent_page;
mod credentials;
mod documentation;
mod drain;
mod egress_proxy;
mod example_pods;
mod examples;
mod faults;
mod foreign_servers;
mod gateway;
mod high_availability;
mod inside;
mod inspector;
mod installation;
mod keyring_from_elsewhere;
mod kstatus;
mod leaks;
mod logs;
mod operator_drain;
mod own_release;
mod previous_charts;
mod printed_columns;
mod redis_keys;
mod redis_pods;
mod releases;
mod restarts;
mod revocation;
mod rights;
mod rollouts;
mod scaling;
mod scratch_objects;
mod scratch_server;
mod sdk_clients;
mod search;
mod server_container;
mod server_port;
mod settled;
mod sign_in;
mod survival;
mod throttling;
mod traces;
mod valkey;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use behalf_tests::limits::within_limit;
use behalf_tests::schedule::{self, Uses};
use libtest_mimic::{Arguments, Failed, Trial};

use crate::world::{TestFuture, World};

/// One test: its name is the property that it proves.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    name: &'static str,
    uses: Uses,
    run: for<'w> fn(&'w World) -> TestFuture<'w>,
}

/// Names tests after their functions. Tests without a part use [`Uses::Everything`].
#[macro_export]
macro_rules! tests {
    ($($uses:ident: [$($name:ident),+ $(,)?]),+ $(,)?) => {
        pub(crate) fn tests() -> Vec<$crate::Test> {
            vec![$($($crate::Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                uses: behalf_tests::schedule::Uses::$uses,
                run: |world| Box::pin($name(world)),
            }),+),+]
        }
    };
    ($($name:ident),+ $(,)?) => {
        $crate::tests![Everything: [$($name),+]];
    };
}

/// All tests. Where two use the same thing, the earlier one runs first.
fn all_tests() -> Vec<Test> {
    let mut tests = [
        bad_objects::tests(),
        scaling::tests(),
        rights::tests(),
        sign_in::tests(),
        inspector::tests(),
        sdk_clients::tests(),
        conformance::tests(),
        consent_page::tests(),
        credentials::tests(),
        assertions::tests(),
        bad_input::tests(),
        connections::tests(),
        survival::tests(),
        server_port::tests(),
        drain::tests(),
        high_availability::tests(),
        valkey::tests(),
        traces::tests(),
        keyring_from_elsewhere::tests(),
        conditions::tests(),
        scratch_objects::tests(),
        printed_columns::tests(),
        children::tests(),
        kstatus::tests(),
        examples::tests(),
        example_pods::tests(),
        foreign_servers::tests(),
        revocation::tests(),
        installation::tests(),
        faults::tests(),
        redis_keys::tests(),
        gateway::tests(),
        throttling::tests(),
        configuration::tests(),
        releases::tests(),
        previous_charts::tests(),
        operator_drain::tests(),
        rollouts::tests(),
        egress_proxy::tests(),
        settled::tests(),
        documentation::tests(),
        api_server::tests(),
        cluster_wide::tests(),
        leaks::tests(), // last: it searches what all the others left behind
    ]
    .concat();
    // Tests that use one part each stand next to each other, so that two of them can run side by side.
    tests.sort_by_key(|test| match test.uses {
        Uses::OwnNamespaces => 0,
        Uses::Everything => 1,
        Uses::Quickstart | Uses::Article | Uses::Scratch => 2,
        Uses::NoWrites => 3,
        Uses::Traffic => 4,
        Uses::WholeCluster => 5,
    });
    tests
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let mut tests = all_tests();

    let enabled = std::env::var("BEHALF_TEST_CLUSTER").is_ok_and(|value| value == "1");
    if !enabled || arguments.list {
        if !arguments.list {
            println!(
                "SKIPPED: the black-box suite needs a cluster of its own; set BEHALF_TEST_CLUSTER=1 or run `make test`"
            );
        }
        let trials = tests
            .into_iter()
            .map(|test| Trial::test(shorten(test.name), || Ok(())).with_ignored_flag(true));
        return libtest_mimic::run(&arguments, trials.collect()).exit_code();
    }
    // A test that is filtered out must not be started either.
    tests.retain(|test| is_wanted(&arguments, &shorten(test.name)));

    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => panic!("no runtime for the tests: {error}"),
    };
    let world = match runtime.block_on(World::create()) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            // A cluster that does not start counts as one failed test.
            let message = behalf_runtime::error_chain(error.as_ref());
            let trial = Trial::test("the environment comes up", move || Err(Failed::from(message)));
            return libtest_mimic::run(&arguments, vec![trial]).exit_code();
        }
    };
    let conclusion = libtest_mimic::run(&arguments, trials(tests, &runtime, &world));
    world.dispose();
    conclusion.exit_code()
}

/// Whether the command line asks for this test. libtest-mimic keeps its own check for itself.
fn is_wanted(arguments: &Arguments, name: &str) -> bool {
    let matches = |text: &String| {
        if arguments.exact {
            name == text
        } else {
            name.contains(text)
        }
    };
    arguments.filter.iter().all(matches) && !arguments.skip.iter().any(matches)
}

/// Starts the tests. Each trial waits for the result of its test, so that results are printed in the list's order.
fn trials(tests: Vec<Test>, runtime: &Arc<tokio::runtime::Runtime>, world: &Arc<World>) -> Vec<Trial> {
    let (jobs, trials): (Vec<_>, Vec<_>) = tests
        .into_iter()
        .map(|test| {
            let (sender, receiver) = channel();
            let wait = move || {
                receiver
                    .recv()
                    .unwrap_or_else(|_| Err("the test was not run".into()))
            };
            ((test.uses, (test, sender)), Trial::test(shorten(test.name), wait))
        })
        .unzip();
    let (runtime, world) = (Arc::clone(runtime), Arc::clone(world));
    std::thread::spawn(move || {
        let began = Instant::now();
        schedule::run(jobs, AT_ONCE, |(test, sender)| {
            let started = Instant::now();
            let result = run(Arc::clone(&runtime), Arc::clone(&world), test);
            let (took, total) = (started.elapsed().as_secs(), began.elapsed().as_secs());
            let (name, at) = (shorten(test.name), format!("in {took} s, at {total} s"));
            match &result {
                Ok(()) => println!("    passed {at}: {name}"),
                // The end of the output repeats it, but a log that is cut may have lost its end.
                Err(failed) => println!(
                    "    FAILED {at}: {name}: {}",
                    failed.message().unwrap_or_default()
                ),
            }
            // The receiver is dropped if the trial no longer waits for this result.
            drop(sender.send(result));
        });
    });
    trials
}

/// Maximum number of tests that run at once: one with namespaces of its own beside one for each part.
const AT_ONCE: usize = 4;

/// Maximum duration of one test, beside the duration that is asked of the fault run. It ends a test that hangs.
const LIMIT: Duration = Duration::from_mins(20);

/// Runs a test, and gives it up at its limit.
fn run(runtime: Arc<tokio::runtime::Runtime>, world: Arc<World>, test: Test) -> Result<(), Failed> {
    let work = move || {
        let result = runtime.block_on((test.run)(&world));
        result.map_err(|error| behalf_runtime::error_chain(error.as_ref()))
    };
    within_limit(LIMIT + gateway::duration(), work).map_err(Failed::from)
}

fn shorten(name: &str) -> String {
    name.trim_start_matches("black_box::").to_owned()
}
