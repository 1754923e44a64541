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
    let rows: Vec<_> = summary
        .at_rate
        .iter()
        .filter(|row| row.rate == rate && row.kind != Kind::Direct)
        .map(|row| (row.kind, [row.added[0], row.added[1]]))
        .collect();
    let longest = rows
        .iter()
        .flat_map(|(_, values)| values)
        .copied()
        .fold(1.0, f64::max);
    let mut text = String::new();
    let mut top = 2 * ROW / 3;
    for (kind, values) in &rows {
        let middle = top + BAR + 4;
        let _ = writeln!(text, r#"<text x="10" y="{middle}">{kind}</text>"#);
        for (value, colour) in values.iter().zip(["#4472c4", "#a5b9e0"]) {
            let width = (value / longest * WIDTH).max(1.0);
            let label = f64::from(LEFT) + width + 6.0;
            let base = top + BAR - 3;
            let _ = writeln!(
                text,
                r#"<rect x="{LEFT}" y="{top}" width="{width:.0}" height="{BAR}" fill="{colour}"/><text x="{label:.0}" y="{base}">{value:.0} µs</text>"#
            );
            top += BAR;
        }
        top += ROW - 2 * BAR;
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="700" height="{top}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="10" y="16">Added latency at {rate} calls/s: p50 (dark), p99 (light)</text>
{text}</svg>
"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::AtRate;

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
}
