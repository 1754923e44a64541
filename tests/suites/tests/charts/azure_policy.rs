//! Compares docs/aks-policies.md with the Pods of the operator's chart.

#[path = "../../../../operator/src/controller/children/tests/azure_policy/policies.rs"]
mod policies;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::render::{one, render};
use policies::{meets, resources, rows};

const COLUMN: &str = "Operator";

const REGISTRY: &str = "imageRegistry=registry.contoso.example";

fn operator(objects: &[Value]) -> PodSpec {
    let template = &one(objects, "Deployment")["spec"]["template"];
    serde_json::from_value(template["spec"].clone()).unwrap()
}

#[test]
fn the_page_on_azure_policy_says_what_the_operator_meets() {
    let objects = render(&[REGISTRY]).unwrap();
    let pod = operator(&objects);
    for (policy, says) in rows(COLUMN) {
        assert!(says == "meets" || says.starts_with("violates"), "{policy} {says}");
        assert_eq!(meets(policy, &pod), says == "meets", "{policy}");
    }
    // The page names the exception.
    let test = serde_json::from_value(one(&objects, "Pod")["spec"].clone()).unwrap();
    for (policy, says) in rows(COLUMN) {
        let expected = says == "meets" && policy != "ContainerEnforceProbes";
        assert_eq!(meets(policy, &test), expected, "{policy} of helm test");
    }
}

#[test]
fn with_the_resources_of_the_page_the_operator_violates_nothing_but_its_own_token() {
    let [requests, limits] = ["requests", "limits"].map(|list| {
        let values = resources()["server"]["resources"][list].clone();
        let cpu = values["cpu"].as_str().unwrap().to_owned();
        [
            format!("resources.{list}.cpu={cpu}"),
            format!("resources.{list}.memory={}", values["memory"].as_str().unwrap()),
        ]
    });
    let mut set = vec![REGISTRY];
    set.extend(requests.iter().chain(&limits).map(String::as_str));
    let pod = operator(&render(&set).unwrap());
    for (policy, _) in rows(COLUMN) {
        assert_eq!(meets(policy, &pod), policy != "BlockAutomountToken", "{policy}");
    }
}
