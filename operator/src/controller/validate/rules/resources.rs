//! Requests and limits of the containers, with their defaults.

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::refuse;
use crate::api::v1alpha1::Resources;
use crate::controller::validate::Refusal;

/// Default requests and limits of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DefaultResources {
    /// Requested processor time.
    pub(crate) cpu: &'static str,

    /// Requested memory.
    pub(crate) memory: &'static str,

    /// Limit of memory.
    pub(crate) memory_limit: &'static str,
}

/// Returns the container's requests and limits. Each member that the object does not name has its default. A default
/// request is never above the named limit, and a default limit never below the named request.
pub(crate) fn resources(
    field: &'static str,
    resources: &Resources,
    default: DefaultResources,
    refusals: &mut Vec<Refusal>,
) -> ResourceRequirements {
    for (name, quantity) in resources.requests.iter().chain(&resources.limits) {
        if parse(quantity).is_none() {
            refuse(
                refusals,
                field,
                format!(
                    "must contain quantities that are not negative, for example 250m of cpu or 128Mi of memory; {:?} of \
                     {name} is none",
                    quantity.0
                ),
            );
        }
    }
    for (name, request) in &resources.requests {
        let limit = resources.limits.get(name);
        if let Some(limit) = limit.filter(|limit| exceeds(request, limit)) {
            refuse(
                refusals,
                field,
                format!(
                    "must not request more {name} ({}) than the limit ({})",
                    request.0, limit.0
                ),
            );
        }
    }
    let (mut requests, mut limits) = (resources.requests.clone(), resources.limits.clone());
    for (name, default) in [("cpu", default.cpu), ("memory", default.memory)] {
        let default = Quantity(default.to_owned());
        let lower = resources
            .limits
            .get(name)
            .filter(|limit| exceeds(&default, limit));
        let request = lower.cloned().unwrap_or(default);
        requests.entry(name.to_owned()).or_insert(request);
    }
    let default = Quantity(default.memory_limit.to_owned());
    let request = resources.requests.get("memory");
    let higher = request.filter(|request| exceeds(request, &default));
    let limit = higher.cloned().unwrap_or(default);
    limits.entry("memory".to_owned()).or_insert(limit);
    ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        claims: None,
    }
}

fn exceeds(one: &Quantity, other: &Quantity) -> bool {
    matches!((parse(one), parse(other)), (Some(one), Some(other)) if one > other)
}

/// Returns the value of a quantity that is not negative (the format of `apimachinery/pkg/api/resource`). The
/// result is precise enough to distinguish two values of the size of a node's resources.
fn parse(quantity: &Quantity) -> Option<f64> {
    let text = quantity.0.strip_prefix('+').unwrap_or(&quantity.0);
    let end = text
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0_f64.powi(2),
        "Gi" => 1024.0_f64.powi(3),
        "Ti" => 1024.0_f64.powi(4),
        "Pi" => 1024.0_f64.powi(5),
        "Ei" => 1024.0_f64.powi(6),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?;
            10.0_f64.powi(exponent.parse::<i8>().ok()?.into())
        }
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    const DEFAULT: DefaultResources = DefaultResources {
        cpu: "50m",
        memory: "64Mi",
        memory_limit: "256Mi",
    };

    fn judge(resources: Value) -> (Value, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let resources: Resources = serde_json::from_value(resources).unwrap();
        let judged = super::resources("server.resources", &resources, DEFAULT, &mut refusals);
        (serde_json::to_value(judged).unwrap(), refusals)
    }

    #[rstest]
    #[case::nothing(json!({}), json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}))]
    #[case::limits_alone(
        json!({"limits": {"memory": "1Gi", "cpu": 1}}),
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "1Gi", "cpu": "1"}})
    )]
    #[case::one_request(
        json!({"requests": {"cpu": "2"}}),
        json!({"requests": {"cpu": "2", "memory": "64Mi"}, "limits": {"memory": "256Mi"}})
    )]
    #[case::another_resource(
        json!({"limits": {"ephemeral-storage": "1Gi"}}),
        json!({"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi", "ephemeral-storage": "1Gi"}})
    )]
    #[case::a_limit_below_the_default_request(
        json!({"limits": {"memory": "48Mi", "cpu": "20m"}}),
        json!({"requests": {"cpu": "20m", "memory": "48Mi"}, "limits": {"memory": "48Mi", "cpu": "20m"}})
    )]
    #[case::a_request_above_the_default_limit(
        json!({"requests": {"memory": "512Mi"}}),
        json!({"requests": {"cpu": "50m", "memory": "512Mi"}, "limits": {"memory": "512Mi"}})
    )]
    fn each_member_that_is_not_named_has_its_default(#[case] named: Value, #[case] expected: Value) {
        assert_eq!(judge(named), (expected, Vec::new()));
    }

    #[rstest]
    #[case::no_number(json!({"requests": {"memory": "much"}}))]
    #[case::negative(json!({"limits": {"cpu": "-1"}}))]
    #[case::unit(json!({"limits": {"memory": "64MB"}}))]
    #[case::empty(json!({"limits": {"memory": ""}}))]
    #[case::more_than_the_limit(json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}))]
    fn refuses_quantities_that_the_api_server_refuses(#[case] named: Value) {
        let (_, refusals) = judge(named);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
    }

    #[rstest]
    #[case("1k", 1000.0)]
    #[case("1Ki", 1024.0)]
    #[case("1.5Gi", 1_610_612_736.0)]
    #[case("250m", 0.25)]
    #[case("1e3", 1000.0)]
    #[case("+2E", 2e18)]
    fn reads_every_form_of_a_quantity(#[case] text: &str, #[case] expected: f64) {
        let value = parse(&Quantity(text.to_owned())).unwrap();
        assert!((value - expected).abs() < 1e-6, "{value}");
    }
}
