//! The black-box suite: a real cluster, the Pods that the operator made, clients that nobody here wrote.
//!
//! It brings up a cluster of its own, so it runs only when `BEHALF_TEST_CLUSTER=1` says so (`make test`
//! does). The tests run one after the other in the order below: some break what others need, and each puts
//! back what it broke. `BEHALF_KEEP_CLUSTER=1` leaves the cluster running for a look.

#![expect(clippy::print_stdout, reason = "a test's output")]

mod answers;
mod assertions;
mod bad_input;
mod bad_objects;
mod chart;
mod conditions;
mod configuration;
mod conformance;
mod connections;
mod consent_page;
mod credentials;
mod faults;
mod guard;
mod inside;
mod inspector;
mod leaks;
mod logs;
mod rights;
mod sdk_clients;
mod search;
mod sign_in;
mod survival;
mod throttling;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::world::{TestFuture, World};

/// One test: its name is the property that it proves.
#[derive(Clone, Copy)]
pub(crate) struct Test {
    name: &'static str,
    run: for<'w> fn(&'w World) -> TestFuture<'w>,
}

/// Names a test after its function.
#[macro_export]
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) fn tests() -> Vec<$crate::Test> {
            vec![$($crate::Test { name: concat!(module_path!(), "::", stringify!($name)), run: |world| Box::pin($name(world)) }),+]
        }
    };
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1);
    let tests = [
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
        bad_objects::tests(),
        chart::tests(),
        rights::tests(),
        conditions::tests(),
        faults::tests(),
        throttling::tests(),
        configuration::tests(),
        leaks::tests(), // last: it searches what all the others left behind
    ]
    .concat_tests();

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

    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => panic!("no runtime for the tests: {error}"),
    };
    let world = match runtime.block_on(World::create()) {
        Ok(world) => Arc::new(world),
        Err(error) => {
            // A suite without its cluster is one failed test, not a crash without a count.
            let message = world::chain(error.as_ref());
            let trial = Trial::test("the environment comes up", move || Err(Failed::from(message)));
            return libtest_mimic::run(&arguments, vec![trial]).exit_code();
        }
    };
    let trials = tests.into_iter().map(|test| {
        let (world, runtime) = (Arc::clone(&world), Arc::clone(&runtime));
        Trial::test(shorten(test.name), move || within_limit(runtime, world, test))
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    world.dispose();
    conclusion.exit_code()
}

/// Maximum duration of one test.
const LIMIT: Duration = Duration::from_mins(5);

/// Runs a test in its own thread. A limit inside the runtime would not fire while a test waits for a program.
fn within_limit(runtime: Arc<tokio::runtime::Runtime>, world: Arc<World>, test: Test) -> Result<(), Failed> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let result = runtime.block_on((test.run)(&world));
        // The receiver is dropped if the test took too long.
        drop(sender.send(result.map_err(|error| world::chain(error.as_ref()))));
    });
    match receiver.recv_timeout(LIMIT) {
        Ok(result) => result.map_err(Failed::from),
        Err(RecvTimeoutError::Disconnected) => Err("the test panicked".into()),
        Err(RecvTimeoutError::Timeout) => Err(format!(
            "took over {} s; it goes on beside the tests that follow",
            LIMIT.as_secs()
        )
        .into()),
    }
}

fn shorten(name: &str) -> String {
    name.trim_start_matches("black_box::").to_owned()
}

trait Concat {
    fn concat_tests(self) -> Vec<Test>;
}

impl<const N: usize> Concat for [Vec<Test>; N] {
    fn concat_tests(self) -> Vec<Test> {
        self.into_iter().flatten().collect()
    }
}
