//! Plots of the page, as SVG.

use std::fmt::Write as _;

use crate::subjects::Kind;
use crate::summary::Summary;

/// Height of a bar, and of the space for one program, in pixels.
const BAR: u32 = 14;
const ROW: u32 = 3 * BAR;

/// Where the bars begin, and the length of the longest, in pixels.
const LEFT: u32 = 190;
const WIDTH: f64 = 400.0;

/// Draws what each program adds to the median and to the 99th percentile at this rate.
pub(crate) fn added(summary: &Summary, rate: u32) -> String {
    let at_rate = summary.at_rate.iter();
    let rows = at_rate.filter(|row| row.rate == rate && row.kind != Kind::Direct);
    let rows: Vec<_> = rows.map(|row| (row.kind, row.added[..2].to_vec())).collect();
    let title = format!("Added latency at {rate} calls/s: p50 (dark), p99 (light)");
    bars(&title, "µs", &rows)
}

/// Draws the calls per second that each program reaches.
pub(crate) fn limit(summary: &Summary) -> String {
    let at_limit = summary.at_limit.iter();
    let rows = at_limit.filter(|row| row.kind != Kind::Direct);
    let rows: Vec<_> = rows.map(|row| (row.kind, vec![row.calls])).collect();
    bars("Calls per second at the limit, on one core", "", &rows)
}

fn bars(title: &str, unit: &str, rows: &[(Kind, Vec<f64>)]) -> String {
    let values = rows.iter().flat_map(|(_, values)| values).copied();
    let longest = values.fold(1.0, f64::max);
    let mut text = String::new();
    let mut top = 2 * ROW / 3;
    for (kind, values) in rows {
        let middle = top + BAR + 4;
        let _ = writeln!(text, r#"<text x="10" y="{middle}">{kind}</text>"#);
        for (line, (value, colour)) in (0..).zip(values.iter().zip(["#4472c4", "#a5b9e0"])) {
            let width = (value / longest * WIDTH).max(1.0);
            let label = f64::from(LEFT) + width + 6.0;
            let y = top + line * BAR;
            let base = y + BAR - 3;
            let _ = writeln!(
                text,
                r#"<rect x="{LEFT}" y="{y}" width="{width:.0}" height="{BAR}" fill="{colour}"/><text x="{label:.0}" y="{base}">{value:.0} {unit}</text>"#
            );
        }
        top += ROW;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="700" height="{top}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="16">{title}</text>
{text}</svg>
"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::{AtLimit, AtRate};

    #[test]
    fn the_longest_bar_is_the_slowest_program() {
        let row = |kind, added| AtRate {
            rate: 2000,
            kind,
            added: [added; 3],
            ratio: [1.0; 3],
            cpu: 1.0,
            cpu_ratio: 1.0,
        };
        let summary = Summary {
            at_rate: vec![
                row(Kind::Direct, 900.0),
                row(Kind::Nginx, 50.0),
                row(Kind::SidecarHeader, 100.0),
            ],
            at_limit: Vec::new(),
        };
        let plot = added(&summary, 2000);
        assert_eq!(plot.matches(r#"width="200""#).count(), 2, "{plot}");
        assert_eq!(plot.matches(r#"width="400""#).count(), 2, "{plot}");
        assert!(!plot.contains("direct"), "{plot}");
    }

    #[test]
    fn the_longest_bar_is_the_fastest_program() {
        let row = |kind, calls| AtLimit {
            kind,
            calls,
            ratio: 1.0,
            p99: 1.0,
            p99_ratio: 1.0,
            cpu: 1.0,
            core_share: 1.0,
        };
        let summary = Summary {
            at_rate: Vec::new(),
            at_limit: vec![row(Kind::Nginx, 40_000.0), row(Kind::SidecarHeader, 20_000.0)],
        };
        let plot = limit(&summary);
        assert!(
            plot.contains(r#"width="400""#) && plot.contains(r#"width="200""#),
            "{plot}"
        );
    }
}
