//! Adds up the memory budgets of the sidecar, and compares them with the default limit of its container and with the
//! table in `docs/proxy.md`.

use std::time::Duration;

use behalf_contract::SIDECAR_MEMORY_LIMIT;
use behalf_runtime::Http2Limits;

use super::body_budget::{FOR_MESSAGES, MAX_FORM_BYTES};
use crate::lifecycle::public_limits;
use crate::proxy::DOWNSTREAM_TOKENS;
use crate::store::MemoryLimits;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Memory in bytes of the store's own data for each entry or marker.
const FOR_ENTRY: usize = 220;

/// Number of copies of a message, measured in its bytes, while an argument is added or dropped.
const COPIES: usize = 4;

/// Memory in bytes of a connection beside its buffers: hyper, the task and the socket.
const FOR_CONNECTION: usize = 8 * KIB;

/// Memory in bytes for everything that has no budget here.
const REST: usize = 64 * MIB;

/// Returns the rows of the table, in bytes.
fn budgets() -> [usize; 7] {
    let store = MemoryLimits::default();
    let limits = public_limits(Duration::ZERO);
    let http2 = limits.http2.unwrap();
    let streams = Http2Limits::STREAMS as usize;
    let forms = limits.connections - http2.connections + http2.connections * streams;
    let head = limits.head_bytes as usize;
    let stream = head.max(Http2Limits::STREAM_UNSENT);
    [
        store.bytes + FOR_ENTRY * (store.entries + store.markers),
        COPIES * FOR_MESSAGES,
        forms * MAX_FORM_BYTES,
        limits.connections * (head + FOR_CONNECTION),
        http2.connections * (streams * stream + Http2Limits::CONNECTION_WINDOW as usize),
        usize::try_from(DOWNSTREAM_TOKENS).unwrap(),
        REST,
    ]
}

fn in_mib(bytes: usize) -> usize {
    bytes.div_ceil(MIB)
}

#[test]
fn all_budgets_together_are_below_the_default_memory_limit() {
    let limit = SIDECAR_MEMORY_LIMIT.strip_suffix("Gi").unwrap();
    let limit = limit.parse::<usize>().unwrap() * 1024 * MIB;
    let sum: usize = budgets().iter().sum();
    assert!(sum < limit, "{} MiB of {} MiB", in_mib(sum), in_mib(limit));
}

#[test]
fn the_table_in_the_docs_has_the_budgets_of_the_code() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/proxy.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| What | Maximum |\n|---|---|\n").unwrap();
    let (table, _) = table.split_once("\n\n").unwrap();
    let documented: Vec<usize> = table
        .lines()
        .map(|row| {
            let (_, maximum) = row.trim_end_matches(" MiB |").rsplit_once("| ").unwrap();
            maximum.parse().unwrap()
        })
        .collect();
    let budgets = budgets().map(in_mib);
    let sum: usize = budgets.iter().sum();
    assert_eq!(documented, [&budgets[..], &[sum]].concat());
}
