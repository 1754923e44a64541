//! The labels that the installation wants on every object that the operator makes.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::names::{self, is_reserved};

/// Labels of every child and of the Pods, beside those that the operator sets. An administrator chooses them for the whole
/// installation, for example for costs or for policies of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct ChildLabels(BTreeMap<String, String>);

impl ChildLabels {
    /// Returns these labels with `others` in front of them: a key that both have gets the value of `others`.
    pub fn overridden_by(&self, others: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut labels = self.0.clone();
        labels.extend(others);
        labels
    }
}

/// Why labels are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChildLabelsError {
    /// The JSON cannot be read.
    #[error(r#"is not the JSON object {{"<key>": "<value>"}}: {0}"#)]
    Json(String),

    /// The operator or Kubernetes uses keys of this prefix, or they configure the Pods.
    #[error("must not use the key {0}: it is reserved")]
    Reserved(String),

    /// The API server would refuse every child.
    #[error(
        "{key}: {value:?} is no label of Kubernetes: key (behind its prefix) and value have at most 63 characters, begin and \
         end with a letter or a digit, and contain only these, -, _ and ."
    )]
    Syntax {
        /// Key of the label, from the operator's configuration.
        key: String,

        /// Value of the label.
        value: String,
    },
}

/// Reads labels from a JSON object.
pub fn parse(text: &str) -> Result<ChildLabels, ChildLabelsError> {
    let labels: ChildLabels =
        serde_json::from_str(text).map_err(|error| ChildLabelsError::Json(error.to_string()))?;
    for (key, value) in &labels.0 {
        if is_reserved(key) || is_of_kubernetes(key) {
            return Err(ChildLabelsError::Reserved(key.clone()));
        }
        if !is_key(key) || !(value.is_empty() || is_part(value)) {
            return Err(ChildLabelsError::Syntax {
                key: key.clone(),
                value: value.clone(),
            });
        }
    }
    Ok(labels)
}

/// Returns whether Kubernetes may act on a label. `service.kubernetes.io/headless` on a Service, for example, makes kube-proxy ignore
/// it.
fn is_of_kubernetes(key: &str) -> bool {
    key.split_once('/').is_some_and(|(prefix, _)| {
        ["kubernetes.io", "k8s.io"]
            .into_iter()
            .any(|domain| prefix == domain || prefix.ends_with(&format!(".{domain}")))
    })
}

fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => names::is_subdomain(prefix) && is_part(name),
        None => is_part(key),
    }
}

/// Returns whether a text can be the name of a label, or its value.
fn is_part(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::none(json!({}))]
    #[case::plain(json!({"cost-center": "4711", "team.contoso.example/Owner": "shop_1.a", "empty": ""}))]
    #[case::longest(json!({("k".repeat(63)): "v".repeat(63)}))]
    fn labels_of_kubernetes_are_taken(#[case] labels: serde_json::Value) {
        let read = parse(&labels.to_string()).unwrap();
        assert_eq!(json!(read.0), labels);
    }

    #[rstest]
    #[case::ours("app.kubernetes.io/name")]
    #[case::our_selector("behalf.dev/mcp-server")]
    #[case::below_ours("x.behalf.dev/a")]
    #[case::the_azure_webhook("azure.workload.identity/use")]
    #[case::kube_proxy("service.kubernetes.io/headless")]
    #[case::kubernetes("kubernetes.io/hostname")]
    #[case::a_group_of_kubernetes("node.k8s.io/pool")]
    fn a_key_that_kubernetes_the_operator_or_a_webhook_reads_is_refused(#[case] key: &str) {
        let labels = json!({key: "a"}).to_string();
        assert_eq!(parse(&labels), Err(ChildLabelsError::Reserved(key.to_owned())));
    }

    #[rstest]
    #[case::a_space(json!({"a": "b c"}))]
    #[case::a_long_value(json!({"a": "v".repeat(64)}))]
    #[case::a_long_key(json!({("k".repeat(64)): "v"}))]
    #[case::a_prefix_in_upper_case(json!({"Contoso/a": "b"}))]
    #[case::two_prefixes(json!({"a/b/c": "d"}))]
    #[case::an_edge(json!({"a": "-b"}))]
    #[case::no_key(json!({"": "b"}))]
    fn a_label_that_the_api_server_would_refuse_stops_the_start(#[case] labels: serde_json::Value) {
        let refused = parse(&labels.to_string());
        assert!(
            matches!(refused, Err(ChildLabelsError::Syntax { .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn a_number_is_no_value() {
        let refused = parse(r#"{"cost-center": 4711}"#);
        assert!(matches!(refused, Err(ChildLabelsError::Json(_))), "{refused:?}");
    }
}
