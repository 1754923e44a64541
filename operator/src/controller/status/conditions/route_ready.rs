//! Computes `RouteReady`: whether each Gateway has accepted the `HTTPRoute`.

use behalf_contract::Reason;

use super::{ConditionValue, Status};
use crate::controller::children::{HttpRoute, RouteCondition, RouteParent, RouteParentStatus};
use crate::controller::names;
use crate::controller::plan::RoutePlan;
use crate::controller::status::status_inputs::StatusInputs;

impl StatusInputs<'_> {
    /// Computes `RouteReady`. While the object is refused, the route of the last accepted spec goes on.
    pub(in crate::controller::status) fn route(&self) -> Option<ConditionValue> {
        let Some(plan) = self.plan else {
            let route = self
                .found
                .existing
                .children
                .named::<HttpRoute>(&self.object.name)?;
            let is_own = names::controller_uid(&route.metadata) == self.server.metadata.uid.as_deref();
            return is_own.then(|| of_parents(route));
        };
        let made = self.children.and_then(|children| children.http_route.as_ref());
        condition(&plan.route, made)
    }
}

/// Computes the condition, which exists only with `spec.route`. `route` is the route as the API server returned it.
pub(in crate::controller::status) fn condition(
    plan: &RoutePlan,
    route: Option<&HttpRoute>,
) -> Option<ConditionValue> {
    match (plan, route) {
        (RoutePlan::None, _) => None,
        (RoutePlan::NoGatewayApi, _) | (RoutePlan::Gateway { .. }, None) => Some(ConditionValue::new(
            Status::False,
            Reason::GatewayApiNotInstalled,
            "the cluster does not serve HTTPRoute of gateway.networking.k8s.io/v1; install the CRDs of the Gateway API and a \
             controller for them, or remove spec.route",
        )),
        (RoutePlan::Gateway { .. }, Some(route)) => Some(of_parents(route)),
    }
}

/// The worst that a parent says. Parents that said nothing yet count less than one that refuses.
fn of_parents(route: &HttpRoute) -> ConditionValue {
    let values: Vec<ConditionValue> = route
        .spec
        .parent_refs
        .iter()
        .map(|parent| of(route, parent))
        .collect();
    let first = |status| values.iter().find(|value| value.status == status).cloned();
    first(Status::False)
        .or_else(|| first(Status::Unknown))
        .unwrap_or_else(|| {
            ConditionValue::new(
                Status::True,
                Reason::RouteAccepted,
                "every Gateway of spec.route has accepted the HTTPRoute",
            )
        })
}

fn of(route: &HttpRoute, parent: &RouteParent) -> ConditionValue {
    let name = display(route, parent);
    let parents = route.status.iter().flat_map(|status| &status.parents);
    let said: Vec<&RouteParentStatus> = parents
        .filter(|status| is_same(route, &status.parent_ref, parent))
        .collect();
    if said.is_empty() {
        let text = format!(
            "no controller has said whether {name} accepts the HTTPRoute; check that this Gateway exists and that its \
             GatewayClass has a controller"
        );
        return ConditionValue::new(Status::Unknown, Reason::RoutePending, text);
    }
    let conditions = || said.iter().flat_map(|status| &status.conditions);
    let current = |condition: &&RouteCondition| {
        condition.observed_generation.is_none() || condition.observed_generation == route.metadata.generation
    };
    for kind in ["Accepted", "ResolvedRefs"] {
        // Several controllers may speak of one parent: one that refuses decides.
        let of_kind: Vec<_> = conditions()
            .filter(current)
            .filter(|condition| condition.kind == kind)
            .collect();
        let refuses =
            |condition: &&RouteCondition| condition.status == "False" && condition.reason != "Pending";
        if let Some(condition) = of_kind.iter().copied().find(refuses) {
            return refused(&name, condition);
        }
        if of_kind.is_empty() || of_kind.iter().any(|condition| condition.status != "True") {
            let text = format!("{name} has not said yet whether it accepts this HTTPRoute ({kind})");
            return ConditionValue::new(Status::Unknown, Reason::RoutePending, text);
        }
    }
    ConditionValue::new(Status::True, Reason::RouteAccepted, "")
}

/// A condition of the Gateway that is False. Its reasons are those of the Gateway API.
fn refused(name: &str, condition: &RouteCondition) -> ConditionValue {
    let (reason, step) = match condition.reason.as_str() {
        "NotAllowedByListeners" => (
            Reason::NotAllowedByListeners,
            "let its listener admit routes of this namespace (allowedRoutes.namespaces)",
        ),
        "NoMatchingListenerHostname" => (
            Reason::NoMatchingListenerHostname,
            "give it a listener whose hostname is the host of spec.publicUrl",
        ),
        "NoMatchingParent" => (
            Reason::NoMatchingParent,
            "name a listener that it has in parentRefs[].sectionName",
        ),
        "UnsupportedValue" => (
            Reason::UnsupportedValue,
            "its controller does not support a field of the HTTPRoute; use a controller that supports timeouts",
        ),
        "RefNotPermitted" | "BackendNotFound" | "InvalidKind" => (
            Reason::BackendNotResolved,
            "it does not find the Service of this object; read its controller's log",
        ),
        _ => (Reason::RouteRefused, "see what its controller says"),
    };
    // Another writer's text: its length has a limit, and it is in quotes.
    let said: String = condition.message.chars().take(300).collect();
    let text = format!(
        "{name} refuses the HTTPRoute ({} is False, {}: {said:?}); {step}",
        condition.kind, condition.reason
    );
    ConditionValue::new(Status::False, reason, text)
}

fn is_same(route: &HttpRoute, said: &RouteParent, named: &RouteParent) -> bool {
    let namespace = |parent: &RouteParent| {
        parent
            .namespace
            .clone()
            .or_else(|| route.metadata.namespace.clone())
    };
    // A controller may leave out group and kind, whose defaults are these.
    let is_gateway = (said.kind.is_empty() || said.kind == named.kind)
        && (said.group.is_empty() || said.group == named.group);
    is_gateway
        && said.name == named.name
        && said.section_name == named.section_name
        && namespace(said) == namespace(named)
}

fn display(route: &HttpRoute, parent: &RouteParent) -> String {
    let namespace = parent
        .namespace
        .as_deref()
        .or(route.metadata.namespace.as_deref());
    let listener = parent.section_name.as_deref();
    format!(
        "Gateway {}/{}{}",
        namespace.unwrap_or_default(),
        parent.name,
        listener
            .map(|listener| format!(", listener {listener}"))
            .unwrap_or_default()
    )
}
