//! Tests the labels of the installation.

use super::*;
use crate::controller::child_labels::{self, ChildLabels};
use crate::testing::fresh;

fn labels() -> ChildLabels {
    child_labels::parse(r#"{"cost-center": "4711", "team": "platform"}"#).unwrap()
}

#[test]
fn every_child_and_the_pods_have_the_labels_of_the_installation() {
    let patch = json!({"route": {"gateway": {"parentRefs": [{"name": "public"}]}}, "pod": {"labels": {"team": "shop"}}});
    let mut spec = redis(json!({}));
    spec.as_object_mut()
        .unwrap()
        .extend(patch.as_object().unwrap().clone());
    let server = quickstart_with(spec);
    let mut plan = plan(&server);
    plan.child_labels = labels();
    let Children {
        service_account,
        keyring,
        config_map,
        network_policy,
        pod_disruption_budget,
        http_route,
        service,
        deployment,
        state: _,
    } = build(&plan, Some(fresh())).unwrap();
    let declared = crate::controller::validate::revocations(&server).unwrap();
    let revocations = revocations::build(&server, &declared, &labels()).unwrap();
    let template = json!(deployment.spec.as_ref().unwrap().template);
    for child in [
        json!(service_account.unwrap()),
        json!(keyring.unwrap()),
        json!(config_map),
        json!(network_policy.unwrap()),
        json!(pod_disruption_budget.unwrap()),
        json!(http_route.unwrap()),
        json!(service),
        json!(deployment),
        json!(revocations),
        template,
    ] {
        let labels = &child["metadata"]["labels"];
        assert_eq!(labels["cost-center"], "4711", "{child}");
        // The word of the platform team, not that of the object's author.
        assert_eq!(labels["team"], "platform", "{child}");
        assert_eq!(labels["behalf.dev/mcp-server"], "azure-devops", "{child}");
    }
    let selector = deployment.spec.unwrap().selector.match_labels.unwrap();
    assert_eq!(selector.len(), 1, "a selector never changes: {selector:?}");
}
