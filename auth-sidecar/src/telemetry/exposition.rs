//! The page of metrics in the format that the scraper accepts.

use std::collections::HashSet;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

use super::metrics::{CONTENT_TYPE, Metrics};

/// The media type of the older text format of Prometheus. It has no exemplars.
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns the media type and the page. A scraper that names `OpenMetrics` gets exemplars.
pub(crate) fn page(metrics: &Metrics, request: &HeaderMap) -> (&'static str, String) {
    let page = metrics.encode();
    if accepts_open_metrics(request) {
        (CONTENT_TYPE, page)
    } else {
        (PLAIN, without_exemplars(&page))
    }
}

fn accepts_open_metrics(request: &HeaderMap) -> bool {
    let mut accepted = request
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    accepted.any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/openmetrics-text")
    })
}

/// Removes what the older format does not know. There the `# HELP` and `# TYPE` of a counter have the name of its sample.
fn without_exemplars(page: &str) -> String {
    let counters: HashSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut plain = String::with_capacity(page.len());
    for line in page.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match *words.as_slice() {
            ["#", kind, name, text] if counters.contains(name) => {
                for part in ["# ", kind, " ", name, "_total ", text] {
                    plain.push_str(part);
                }
            }
            _ if line.starts_with('#') => plain.push_str(line),
            _ => plain.push_str(line.split(" # {").next().unwrap_or(line)),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use behalf_contract::{ObjectIdentity, TracingConfig};
    use behalf_runtime::trace::{Caller, Collector, Sources, TraceContext, Tracer};
    use rstest::rstest;

    use super::*;

    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const EXEMPLAR: &str = " # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\"} 0.004\n";

    async fn page_for(accept: Option<&'static str>) -> (&'static str, String) {
        let metrics = Metrics::default();
        let sources = Sources {
            clock: Box::new(std::time::Duration::default),
            random: Box::new(|_| {}),
            dropped: Box::new(|_, _| {}),
        };
        let config = TracingConfig {
            endpoint: "http://127.0.0.1:1".parse().unwrap(),
            object: ObjectIdentity {
                namespace: "mcp".to_owned(),
                name: "azure-devops".to_owned(),
            },
        };
        let tracer = Tracer::new(sources, Collector::new(&config, "test", reqwest::Client::default));
        let span = tracer.begin("tools/call", TraceContext::parse(CONTEXT));
        span.trace().caller(Caller::user("ana"));
        span.trace()
            .scope(async { metrics.call("tools/call", 200, 0.004) })
            .await;
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept {
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
        }
        page(&metrics, &headers)
    }

    #[rstest]
    #[case("application/openmetrics-text")]
    #[case(
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )]
    #[tokio::test]
    async fn a_scraper_of_open_metrics_gets_the_trace_of_a_slow_call(#[case] accept: &'static str) {
        let (kind, page) = page_for(Some(accept)).await;
        assert_eq!(kind, CONTENT_TYPE);
        assert!(page.contains(EXEMPLAR), "{page}");
        assert!(page.contains("# TYPE behalf_mcp_requests counter\n") && page.ends_with("# EOF\n"));
    }

    #[rstest]
    #[case(None)]
    #[case(Some("*/*"))]
    #[case(Some("text/plain;version=0.0.4"))]
    #[tokio::test]
    async fn another_scraper_gets_the_older_format(#[case] accept: Option<&'static str>) {
        let (kind, page) = page_for(accept).await;
        assert_eq!(kind, PLAIN);
        assert!(!page.contains("trace_id") && !page.contains("# EOF"), "{page}");
        for line in [
            "# HELP behalf_mcp_requests_total ",
            "# TYPE behalf_mcp_requests_total counter\n",
        ] {
            assert!(page.contains(line), "{page}");
        }
        assert!(
            page.contains("behalf_mcp_answer_seconds_bucket{le=\"0.005\"} 1\n"),
            "{page}"
        );
    }
}
