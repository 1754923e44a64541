//! Compares docs/aks-policies.md with the Pods of the examples.

mod policies;

use super::*;
use crate::api::v1alpha1::McpServer;

use policies::{meets, resources, rows};

const COLUMN: &str = "Pods of an McpServer";

#[test]
fn the_page_on_azure_policy_says_what_the_pods_meet() {
    let redis = quickstart_with(redis(json!({})));
    let servers: [McpServer; 4] = [server(QUICKSTART), server(ARTICLE), server(CONTAINER), redis];
    for server in servers {
        let pod = pod(&children(&server).deployment);
        for (policy, says) in rows(COLUMN) {
            let expected = match says {
                "meets, but for `server.container`" => server.spec.server.container.is_none(),
                says => says == "meets",
            };
            assert_eq!(meets(policy, &pod), expected, "{policy} of {}", server.name_any());
        }
    }
}

#[test]
fn the_resources_of_the_page_on_azure_policy_are_all_that_is_missing() {
    let server = quickstart_with(resources());
    let pod = pod(&children(&server).deployment);
    for (policy, _) in rows(COLUMN) {
        assert!(meets(policy, &pod), "{policy}");
    }
}
