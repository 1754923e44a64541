//! The builds and deployments of the demo as tables: one line each.

use super::model::Story;
use crate::people::{ANA, BEN, Person};

const MAIN: &str = "refs/heads/main";
const RELEASE: &str = "refs/heads/release/2.4";
const BASKET: &str = "refs/heads/feature/basket";
const NIGHTLY: Story = Story::Generated {
    records: 2_750,
    log_lines: 400_000,
};

/// A build: id, definition, status, result, reason, minutes since it was queued, minutes it ran, branch, for
/// whom, what happened.
pub(super) type BuildRow = (
    u32,
    u32,
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
    Person,
    Story,
);

/// Two of them are odd on purpose: 636 has a reason that no list knows, as a newer service looks to an older
/// client; 630 has a timeline and a log that are too big to store.
#[rustfmt::skip]
pub(super) const BUILDS: [BuildRow; 16] = [
    (616, 210, "completed", "succeeded", "individualCI", 2_890, 6, MAIN, BEN, Story::Succeeded),
    (617, 210, "completed", "failed", "individualCI", 1_470, 3, MAIN, BEN, Story::CompileError),
    (625, 182, "completed", "succeeded", "manual", 1_460, 9, MAIN, BEN, Story::Succeeded),
    (626, 178, "completed", "succeeded", "individualCI", 1_450, 4, MAIN, ANA, Story::Succeeded),
    (628, 178, "completed", "succeeded", "pullRequest", 1_400, 4, "refs/pull/52/merge", BEN, Story::Succeeded),
    (630, 179, "completed", "failed", "schedule", 840, 95, MAIN, BEN, NIGHTLY),
    (631, 178, "completed", "succeeded", "individualCI", 400, 4, MAIN, ANA, Story::Succeeded),
    (632, 178, "completed", "canceled", "manual", 360, 2, BASKET, ANA, Story::Canceled),
    (633, 178, "completed", "partiallySucceeded", "individualCI", 300, 5, BASKET, BEN, Story::PartiallySucceeded),
    (634, 178, "completed", "failed", "batchedCI", 240, 21, RELEASE, ANA, Story::FlakyTest),
    (635, 181, "completed", "succeeded", "manual", 200, 6, RELEASE, BEN, Story::Succeeded),
    (636, 178, "completed", "succeeded", "mergeQueue", 120, 4, MAIN, BEN, Story::Succeeded),
    (637, 180, "inProgress", "", "buildCompletion", 55, 0, MAIN, BEN, Story::AwaitingApproval),
    (638, 178, "completed", "failed", "individualCI", 24, 3, MAIN, ANA, Story::CompileError),
    (639, 178, "inProgress", "", "individualCI", 6, 0, RELEASE, BEN, Story::Running),
    (640, 178, "notStarted", "", "manual", 2, 0, BASKET, ANA, Story::Queued),
];

/// A deployment: id, release, definition, environment, attempt, whether it is the latest attempt, status,
/// operation status, minutes ago, for whom.
pub(super) type DeploymentRow = (
    u32,
    u32,
    u32,
    &'static str,
    u32,
    bool,
    &'static str,
    &'static str,
    i64,
    Person,
);

/// 51 pairs `notDeployed` with `PhaseFailed`, as Microsoft's own example does; 54 has an operation status that
/// no list knows.
#[rustfmt::skip]
pub(super) const DEPLOYMENTS: [DeploymentRow; 10] = [
    (45, 27, 4, "Staging", 1, true, "succeeded", "PhaseSucceeded", 2_900, ANA),
    (46, 27, 4, "Production", 1, true, "succeeded", "PhaseSucceeded", 2_800, BEN),
    (47, 28, 4, "Staging", 1, true, "partiallySucceeded", "PhasePartiallySucceeded", 1_500, ANA),
    (48, 28, 4, "Production", 1, true, "notDeployed", "Rejected", 1_450, BEN),
    (49, 29, 5, "Production", 1, true, "succeeded", "PhaseSucceeded", 700, BEN),
    (50, 30, 4, "Staging", 1, false, "failed", "PhaseFailed", 420, ANA),
    (51, 30, 4, "Staging", 2, true, "notDeployed", "PhaseFailed", 390, ANA),
    (52, 31, 4, "Staging", 1, true, "succeeded", "PhaseSucceeded", 60, ANA),
    (53, 31, 4, "Production", 1, true, "notDeployed", "Pending", 41, BEN),
    (54, 32, 4, "Staging", 1, true, "inProgress", "AwaitingSlotSwap", 12, ANA),
];
