//! The page `docs/performance.md`.

use std::fmt::Write as _;
use std::process::Command;

use crate::bars;
use crate::call::TOOLS;
use crate::footprint::{CALLING, FIRST, Footprint, LARGE, ROUNDS};
use crate::rounds::{LIMIT_CONNECTIONS, Plan};
use crate::subjects::Kind;
use crate::summary::{AtLimit, AtRate, QUANTILES, Summary};

/// Writes the tables of a run.
pub(crate) fn tables(summary: &Summary) -> String {
    let mut text = String::from("## Latency and CPU at a rate\n\n");
    text += "| Calls/s | Program |";
    for (name, _) in QUANTILES {
        let _ = write!(text, " {name} added | times nginx |");
    }
    text += " CPU of 1,000 calls | times nginx |\n|---:|---|";
    text += &"---:|".repeat(2 * QUANTILES.len() + 2);
    text.push('\n');
    for row in &summary.at_rate {
        at_rate(&mut text, row);
    }
    let _ = write!(
        text,
        "\n## At the limit\n\n| Program | Calls/s | of nginx | p99 at {LIMIT_CONNECTIONS} connections | times nginx | \
         CPU of 1,000 calls | of its core |\n|---|---:|---:|---:|---:|---:|---:|\n"
    );
    for row in &summary.at_limit {
        at_limit(&mut text, row);
    }
    text
}

fn at_rate(text: &mut String, row: &AtRate) {
    let AtRate {
        rate,
        kind,
        cpu,
        cpu_ratio,
        ..
    } = row;
    let _ = write!(text, "| {rate} | {kind} |");
    for (added, ratio) in row.added.iter().zip(row.ratio) {
        if *kind == Kind::Direct {
            let _ = write!(text, " ({added:.0} µs) | |");
        } else {
            let _ = write!(text, " {added:.0} µs | {ratio:.2} |");
        }
    }
    if *kind == Kind::Direct {
        text.push_str(" | |\n");
    } else {
        let _ = writeln!(text, " {cpu:.1} ms | {cpu_ratio:.2} |");
    }
}

fn at_limit(text: &mut String, row: &AtLimit) {
    let AtLimit {
        kind,
        calls,
        ratio,
        p99,
        p99_ratio,
        cpu,
        core_share,
    } = row;
    let milliseconds = p99 / 1000.0;
    let _ = write!(
        text,
        "| {kind} | {calls:.0} | {ratio:.2} | {milliseconds:.1} ms | {p99_ratio:.2} |"
    );
    if *kind == Kind::Direct {
        text.push_str(" | |\n");
    } else {
        let percent = core_share * 100.0;
        let _ = writeln!(text, " {cpu:.1} ms | {percent:.0} % |");
    }
}

/// Writes the table of what sidecars cost beside calls at a rate.
pub(crate) fn footprints(footprints: &[Footprint]) -> String {
    let mut text = String::from("## Memory, sessions and streams\n\n| Sessions in |");
    for footprint in footprints {
        let _ = write!(text, " {} |", footprint.store);
    }
    text += "\n|---|";
    text += &"---:|".repeat(footprints.len());
    text.push('\n');
    let (at_once, _) = LARGE;
    let mut row = |name: &str, cell: &dyn Fn(&Footprint) -> String| {
        let _ = write!(text, "| {name} |");
        for footprint in footprints {
            let _ = write!(text, " {} |", cell(footprint));
        }
        text.push('\n');
    };
    row("exec to ready", &|of| {
        let milliseconds = of.until_ready.as_secs_f64() * 1000.0;
        format!("{milliseconds:.0} ms")
    });
    row("memory, idle", &|of| format!("{:.1} MiB", of.idle));
    row("number of sessions", &|of| of.sessions.to_string());
    row(&format!("memory with {FIRST} sessions"), &|of| {
        of.with_first
            .map_or_else(String::new, |memory| format!("{memory:.1} MiB"))
    });
    row("memory with these sessions", &|of| {
        format!("{:.1} MiB", of.with_sessions)
    });
    row("memory of a session", &|of| format!("{:.2} KiB", of.of_session()));
    row(
        "CPU of 1,000 calls from 10 sessions of a sidecar with few",
        &|of| format!("{:.1} ms", of.median_of(|round| round.few_alone)),
    );
    row("CPU of 1,000 calls from 10 of these sessions", &|of| {
        format!("{:.1} ms", of.median_of(|round| round.few_of_all))
    });
    row(
        &format!("CPU of 1,000 calls from {CALLING} of these sessions in turn"),
        &|of| format!("{:.1} ms", of.median_of(|round| round.many_of_all)),
    );
    row("the same, times the sidecar with few", &|of| {
        let ratio = of.median_of(|round| round.many_of_all / round.few_alone);
        format!("{ratio:.2}")
    });
    row("CPU of a login", &|of| format!("{:.2} ms", of.login));
    row("CPU of a refresh", &|of| format!("{:.2} ms", of.refresh));
    row("refreshes per second of a core", &|of| {
        format!("{:.0}", of.refreshes_per_second())
    });
    for (tool, (_, size)) in TOOLS.iter().enumerate() {
        let kibibytes = size / 1024;
        row(
            &format!("CPU of a call with an answer of {kibibytes} KiB, at the limit"),
            &|of| format!("{:.3} ms", of.by_answer.get(tool).copied().unwrap_or(f64::NAN)),
        );
    }
    row(
        &format!("memory that {at_once} such answers at once add at most"),
        &|of| format!("{:.1} MiB", of.of_large_answers),
    );
    row("memory of an open event stream", &|of| {
        format!("{:.1} KiB ({} streams)", of.of_stream(), of.streams)
    });
    text
}

/// Writes the whole page.
pub(crate) fn page(
    summary: &Summary,
    sidecars: &[Footprint],
    plan: &Plan,
    noisy: usize,
    sidecar_bytes: u64,
) -> String {
    let Plan { time, rounds, .. } = plan;
    let time = time.as_secs_f64();
    let processor = fact("/proc/cpuinfo", "model name");
    let memory = fact("/proc/meminfo", "MemTotal");
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    let nginx = version("/usr/sbin/nginx", "-v");
    let megabytes = sidecar_bytes / 1_000_000;
    let bars = bars::table(summary, sidecars);
    let tables = tables(summary);
    let sidecars = footprints(sidecars);
    let tried = include_str!("tried.md");
    let redis = version("redis-server", "--version");
    format!(
        "# Performance

`make bench` measures and writes this page. Do not edit it.

A call is an MCP `tools/call` with a message of 1 KiB and an answer of 1 KiB. The MCP server answers at once, so that the
numbers are those of the program in between. *Added* is the latency minus that of the direct call in the same round; the
direct call's own latency is in parentheses. All users are signed in, and their tokens are exchanged.

## Conditions

- Processor {processor}, {memory} of memory, Linux {kernel}. The measured program has one core; the generator, the MCP server
  and the simulator of Entra share another one.
- {rounds} rounds of {time} s for each program and rate, interleaved. Each number is the median over the rounds. A ratio is
  taken within a round. {noisy} more rounds did not count, because the direct call did not hold a rate in them.
- The generator is an open loop: a latency counts from the time at which the call was scheduled. At the limit it is a closed
  loop of {LIMIT_CONNECTIONS} connections. If a program uses less than 95 % of its core at the limit, the generator was the
  limit, and the program reaches more.
- {nginx} with one worker is a plain proxy: HTTP/1.1, connections to the server kept open, no buffering, no log of requests.
- The sidecar is the release build ({megabytes} MB) with 64 users, at `tokenExchange.at: Sidecar`, with its default log level.
- FastMCP is a server that checks a JWT at each call and answers itself. It is what a user would write without a proxy. It is
  measured at its limit only, because the limit is below the rates.
- Redis shares the core of the generator, without persistence and TLS: {redis}.

{bars}
Where nothing else is said, sessions are in memory and the token is injected as a header. A MB is 1,000,000 bytes.

![Added latency of each program](performance-latency.svg)

![Calls per second of each program](performance-limit.svg)

{tables}
{sidecars}
Memory is resident memory; the memory of Redis is not counted. Sessions are measured before their first call, which adds a
downstream token: all of these together take at most 64 MiB. Beyond that the token that was not used for longest leaves, and
the next call of its session exchanges again. A login is everything from the authorize request to the tokens, at the simulator
of Entra over plain HTTP. The refreshes of a core are computed from the CPU time of one. Streams are open GET requests. Calls by number
of sessions are medians of {ROUNDS} rounds, in which this sidecar and one with few sessions take turns; the ratios are taken within a round.

{tried}"
    )
}

/// The value of a line such as `model name : AMD EPYC`.
fn fact(file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown", |(_, value)| value.trim()).to_owned()
}

/// The last line that a program prints about its version.
fn version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |_| program.to_owned(),
        |output| {
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&text).trim().to_owned()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_a_table_has_the_cells_of_its_head() {
        let row = |kind| AtRate {
            rate: 500,
            kind,
            added: [1.0; 3],
            ratio: [2.0; 3],
            cpu: 3.0,
            cpu_ratio: 4.0,
        };
        let limit = |kind| AtLimit {
            kind,
            calls: 1.0,
            ratio: 1.0,
            p99: 1.0,
            p99_ratio: 1.0,
            cpu: 1.0,
            core_share: 1.0,
        };
        let summary = Summary {
            at_rate: vec![row(Kind::Direct), row(Kind::Nginx)],
            at_limit: vec![limit(Kind::Direct), limit(Kind::Nginx)],
        };
        let text = tables(&summary);
        let mut tables = text.split("\n\n").filter(|part| part.starts_with('|'));
        for _ in 0..2 {
            let cells = |line: &str| line.matches('|').count();
            let table = tables.next().unwrap();
            let head = cells(table.lines().next().unwrap());
            assert!(table.lines().all(|line| cells(line) == head), "{table}");
        }
    }
}
