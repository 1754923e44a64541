//! Runs tests side by side where they use different things, and in their order where they do not.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The resources that a test uses. They decide which tests run at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uses {
    /// Namespaces of its own. It reads only those parts of the servers that no test changes.
    OwnNamespaces,

    /// Both servers, the operator or the simulators' settings.
    Everything,

    /// The server quickstart and its Pod, while the operator and the simulators stay as they are.
    Quickstart,

    /// The server article and its Pod, while the operator and the simulators stay as they are.
    Article,

    /// The object `scratch` in the servers' namespace, while the operator and the simulators stay as they are.
    Scratch,

    /// Both servers, as users do: signs in and calls tools. Changes no object and no setting.
    Traffic,

    /// The whole cluster, in which nothing may be written. Only tests of traffic run meanwhile.
    NoWrites,

    /// The whole cluster: no other test runs meanwhile.
    WholeCluster,
}

impl Uses {
    /// Whether two tests with these uses must not run at the same time.
    fn excludes(self, other: Self) -> bool {
        let either_is = |uses| self == uses || other == uses;
        if either_is(Self::WholeCluster) {
            true
        } else if either_is(Self::NoWrites) {
            !either_is(Self::Traffic)
        } else if either_is(Self::OwnNamespaces) {
            // These tests run one at a time, because each keeps the API server and the processors busy.
            self == other
        } else {
            either_is(Self::Everything) || either_is(Self::Traffic) || self == other
        }
    }
}

struct State<J> {
    waiting: Vec<(Uses, J)>,
    running: Vec<Uses>,
}

impl<J> State<J> {
    /// The first job that no running job and no earlier waiting job excludes.
    fn next(&self) -> Option<usize> {
        (0..self.waiting.len()).find(|&number| {
            let (earlier, rest) = self.waiting.split_at(number);
            let earlier = earlier.iter().map(|(uses, _)| uses);
            let mut others = self.running.iter().chain(earlier);
            rest.first()
                .is_some_and(|(uses, _)| !others.any(|other| uses.excludes(*other)))
        })
    }
}

/// Runs all jobs on at most `at_once` threads and returns when the last has ended.
pub fn run<J: Send>(jobs: Vec<(Uses, J)>, at_once: usize, work: impl Fn(J) + Sync) {
    let state = Mutex::new(State {
        waiting: jobs,
        running: Vec::new(),
    });
    let changed = Condvar::new();
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some((uses, job)) = take(&state, &changed) {
                    work(job);
                    let mut state = lock(&state);
                    if let Some(number) = state.running.iter().position(|running| *running == uses) {
                        state.running.swap_remove(number);
                    }
                    changed.notify_all();
                }
            });
        }
    });
}

/// Waits until a job may run and takes it. Returns `None` when no job is left.
fn take<J>(state: &Mutex<State<J>>, changed: &Condvar) -> Option<(Uses, J)> {
    let mut state = lock(state);
    loop {
        if state.waiting.is_empty() {
            return None;
        }
        if let Some(number) = state.next() {
            let job = state.waiting.remove(number);
            state.running.push(job.0);
            return Some(job);
        }
        state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::Uses::{
        Article, Everything, NoWrites, OwnNamespaces, Quickstart, Scratch, Traffic, WholeCluster,
    };
    use super::*;

    /// Takes the jobs that may start while `running` run, in their order.
    fn started(running: &[Uses], waiting: &[Uses]) -> Vec<usize> {
        let waiting = waiting.iter().enumerate().map(|(number, uses)| (*uses, number));
        let mut state = State {
            waiting: waiting.collect(),
            running: running.to_vec(),
        };
        let mut started = Vec::new();
        while let Some(number) = state.next() {
            let (uses, job) = state.waiting.remove(number);
            state.running.push(uses);
            started.push(job);
        }
        started
    }

    #[test]
    fn tests_that_use_different_things_run_at_once() {
        let all = [OwnNamespaces, Quickstart, Article, Scratch];
        assert_eq!(started(&[], &all), [0, 1, 2, 3]);
        for uses in [Everything, Traffic] {
            assert_eq!(started(&[OwnNamespaces], &[uses]), [0], "{uses:?}");
        }
    }

    #[test]
    fn tests_that_use_the_same_thing_do_not_run_at_once() {
        for uses in [
            OwnNamespaces,
            Everything,
            Quickstart,
            Article,
            Scratch,
            Traffic,
            NoWrites,
            WholeCluster,
        ] {
            assert_eq!(started(&[uses], &[uses]), [0; 0], "{uses:?}");
        }
        for part in [Quickstart, Article, Scratch] {
            for all in [Everything, Traffic] {
                assert_eq!(started(&[all], &[part]), [0; 0], "{all:?}, {part:?}");
                assert_eq!(started(&[part], &[all]), [0; 0], "{all:?}, {part:?}");
            }
        }
        assert_eq!(started(&[Everything], &[Traffic]), [0; 0]);
    }

    #[test]
    fn only_traffic_runs_beside_a_test_in_which_nothing_may_be_written() {
        for uses in [OwnNamespaces, Everything, Quickstart, Article, Scratch] {
            assert_eq!(started(&[uses], &[NoWrites]), [0; 0], "{uses:?}");
            assert_eq!(started(&[NoWrites], &[uses]), [0; 0], "{uses:?}");
        }
        assert_eq!(started(&[], &[NoWrites, Traffic, Traffic]), [0, 1]);
    }

    #[test]
    fn no_test_runs_beside_one_that_uses_the_whole_cluster() {
        for uses in [
            OwnNamespaces,
            Everything,
            Quickstart,
            Article,
            Scratch,
            Traffic,
            NoWrites,
        ] {
            assert_eq!(started(&[uses], &[WholeCluster]), [0; 0], "{uses:?}");
            assert_eq!(started(&[WholeCluster], &[uses]), [0; 0], "{uses:?}");
        }
    }

    #[test]
    fn a_test_does_not_overtake_one_that_excludes_it() {
        assert_eq!(started(&[Quickstart], &[Everything, Article]), [0; 0]);
        assert_eq!(started(&[Quickstart], &[Quickstart, Article]), [1]);
    }

    #[test]
    fn every_test_runs_once_and_independent_ones_meet() {
        let barrier = Barrier::new(3);
        let done = Mutex::new(Vec::new());
        let jobs = [Quickstart, Article, Scratch, Everything, WholeCluster];
        let jobs = jobs.into_iter().map(|uses| (uses, uses)).collect();
        run(jobs, 4, |uses| {
            if matches!(uses, Quickstart | Article | Scratch) {
                barrier.wait();
            }
            done.lock().unwrap().push(uses);
        });
        let done = done.into_inner().unwrap();
        assert_eq!(done.len(), 5);
        assert_eq!(done[3..], [Everything, WholeCluster]);
    }
}
