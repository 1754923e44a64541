//! Tests that an installation accepts the examples.

use crate::testing::{judge, server, shared};

#[test]
fn the_object_of_every_example_is_accepted() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");
    let mut accepted = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let document: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        if document["kind"] == "McpServer" {
            let server = server(&text);
            judge(&server, &shared(&server))
                .unwrap_or_else(|refusals| panic!("{}: {refusals:?}", path.display()));
            accepted += 1;
        }
    }
    assert!(accepted >= 7, "{folder} has only {accepted} McpServers");
}
