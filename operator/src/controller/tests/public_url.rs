//! Tests whole passes over objects with the same `publicUrl`.

use serde_json::Value;

use super::cluster::{Asked, Cluster, condition, statuses};
use super::*;

fn object(name: &str, seconds: i64) -> McpServer {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    server.metadata.uid = Some(format!("uid-of-{name}"));
    server.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(
        seconds,
    )));
    server
}

/// Returns the requests that change an object.
fn changes<'a>(asked: &'a [Asked], name: &str) -> Vec<&'a str> {
    let lines = asked.iter().map(|(line, _)| line.as_str());
    let is_change = |line: &&str| !line.starts_with("GET ") && !line.contains("/events");
    lines
        .filter(is_change)
        .filter(|line| line.contains(name))
        .collect()
}

#[tokio::test]
async fn the_older_object_is_accepted_and_the_younger_is_not_in_whatever_order_they_are_reconciled() {
    let servers = [object("older", 0), object("younger", 1)];
    let mut order = servers.clone();
    for _ in 0..2 {
        let (_, asked) = Cluster::of(&servers).passes(&order).await;
        for (name, expected) in [("older", "Accepted"), ("younger", "PublicUrlTaken")] {
            let accepted = condition(statuses(&asked, name)[0], "Accepted").unwrap();
            assert_eq!(accepted[1], expected, "{name}");
        }
        assert_eq!(
            changes(&asked, "younger").len(),
            1,
            "a refused object gets no children"
        );
        order.reverse();
    }
}

#[tokio::test]
async fn an_object_that_loses_its_address_to_an_older_one_runs_on_and_its_status_describes_its_pods() {
    let servers = [object("older", 0), object("younger", 1)];
    let revocations = crate::testing::revocations(&object("younger", 1));
    let cluster = Cluster {
        children: crate::testing::children(&object("younger", 1)).existing(),
        stored: vec![("/secrets/younger-revocations", json!(revocations))],
        ..Cluster::of(&servers)
    };
    let (_, asked) = cluster.passes(&[object("younger", 1)]).await;
    let changes = changes(&asked, "younger");
    assert!(
        matches!(changes[..], [line] if line.ends_with("/younger/status")),
        "a child was changed: {changes:?}"
    );
    let status = statuses(&asked, "younger")[0];
    assert_eq!(condition(status, "Accepted").unwrap()[1], "PublicUrlTaken");
    let federation = &status["federation"];
    assert_eq!(federation["redirectUri"], "https://mcp.contoso.example/callback");
    assert_eq!(federation["subject"], "system:serviceaccount:mcp:younger");
    assert_eq!(federation["command"], Value::Null);
}
