//! The bars of the project for speed and memory, and whether a run meets them.

use std::fmt::Write as _;

use crate::footprint::Footprint;
use crate::subjects::{Kind, Store};
use crate::summary::Summary;

/// Calls per second at which the bars of latency and CPU time hold.
const RATE: u32 = 2000;

/// A number that must not be larger, or not be smaller.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    /// A number that is missing or is none meets no bar.
    fn is_met(self, number: f64) -> bool {
        match self {
            Self::AtMost(most) => number <= most,
            Self::AtLeast(least) => number >= least,
        }
    }
}

/// Writes a table of the bars.
pub(crate) fn table(summary: &Summary, footprints: &[Footprint]) -> String {
    let mut text = String::from("## Bars\n\n| What | Bar | Measured | |\n|---|---:|---:|---|\n");
    for (name, bound, number) in bars(summary, footprints) {
        let (sign, bar) = match bound {
            Bound::AtMost(bar) => ('≤', bar),
            Bound::AtLeast(bar) => ('≥', bar),
        };
        let met = if bound.is_met(number) { "met" } else { "**missed**" };
        let digits = if bar < 10.0 { 2 } else { 0 };
        let _ = writeln!(text, "| {name} | {sign} {bar} | {number:.digits$} | {met} |");
    }
    text
}

fn bars(summary: &Summary, footprints: &[Footprint]) -> Vec<(&'static str, Bound, f64)> {
    use Bound::{AtLeast, AtMost};

    let missing = f64::NAN;
    let kind = Kind::SidecarHeader;
    let at_rate = summary.at_rate(RATE, kind);
    let at_limit = |kind| summary.at_limit(kind);
    let calls = |kind| at_limit(kind).map_or(missing, |row| row.calls);
    let redis = summary.at_rate(RATE, Kind::SidecarRedis);
    let of_redis = redis
        .zip(at_rate)
        .map_or(missing, |(redis, memory)| redis.cpu / memory.cpu);
    let of = |store, number: fn(&Footprint) -> f64| {
        let footprint = footprints.iter().find(|footprint| footprint.store == store);
        footprint.map_or(missing, number)
    };
    let memory = |number| of(Store::Memory, number);
    vec![
        (
            "added p50 at 2,000 calls/s, times nginx",
            AtMost(1.5),
            at_rate.map_or(missing, |row| row.ratio[0]),
        ),
        (
            "added p99 at 2,000 calls/s, times nginx",
            AtMost(1.7),
            at_rate.map_or(missing, |row| row.ratio[1]),
        ),
        (
            "CPU time of a call at 2,000 calls/s, times nginx",
            AtMost(1.6),
            at_rate.map_or(missing, |row| row.cpu_ratio),
        ),
        (
            "calls/s at the limit, of nginx",
            AtLeast(0.45),
            at_limit(kind).map_or(missing, |row| row.ratio),
        ),
        ("calls/s at the limit", AtLeast(20_000.0), calls(kind)),
        (
            "calls/s at the limit, times FastMCP",
            AtLeast(35.0),
            calls(kind) / calls(Kind::FastMcp),
        ),
        (
            "p99 at 256 connections, times nginx",
            AtMost(4.0),
            at_limit(kind).map_or(missing, |row| row.p99_ratio),
        ),
        (
            "CPU time of a call with Redis, times memory",
            AtMost(1.1),
            of_redis,
        ),
        (
            "refreshes/s of a core, Redis",
            AtLeast(3000.0),
            of(Store::Redis, Footprint::refreshes_per_second),
        ),
        ("CPU time of a login in ms", AtMost(0.7), memory(|of| of.login)),
        ("idle memory in MB", AtMost(13.0), memory(|of| megabytes(of.idle))),
        (
            "memory of 100,000 sessions in MB, from that of one",
            AtMost(300.0),
            memory(|of| of.of_session() * 102.4),
        ),
        (
            "memory of an open event stream in KiB",
            AtMost(32.0),
            memory(Footprint::of_stream),
        ),
        (
            "CPU time of a call from 10 of all sessions, times 10 alone",
            AtMost(1.1),
            memory(|of| of.median_of(|round| round.few_of_all / round.few_alone)),
        ),
        (
            "CPU time of a call from 10,000 sessions in turn, times 10 alone",
            AtMost(1.1),
            memory(|of| of.median_of(|round| round.many_of_all / round.few_alone)),
        ),
    ]
}

/// From MiB.
fn megabytes(mebibytes: f64) -> f64 {
    mebibytes * 1.048_576
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footprint::tests::footprint;

    #[test]
    fn a_bar_is_met_on_its_own_side_and_a_missing_number_meets_none() {
        assert!(Bound::AtMost(1.5).is_met(1.5) && !Bound::AtMost(1.5).is_met(1.51));
        assert!(Bound::AtLeast(0.45).is_met(0.45) && !Bound::AtLeast(0.45).is_met(0.44));
        assert!(!Bound::AtMost(1.5).is_met(f64::NAN) && !Bound::AtLeast(0.45).is_met(f64::NAN));
    }

    #[test]
    fn names_each_bar_with_its_number() {
        let table = table(&Summary::default(), &[footprint(Store::Memory)]);
        for row in [
            "| memory of an open event stream in KiB | ≤ 32 | 32 | met |",
            "| CPU time of a login in ms | ≤ 0.7 | 1.00 | **missed** |",
            "| memory of 100,000 sessions in MB, from that of one | ≤ 300 | 307 | **missed** |",
            "| refreshes/s of a core, Redis | ≥ 3000 | NaN | **missed** |",
        ] {
            assert!(table.contains(row), "{row} in\n{table}");
        }
    }
}
