//! The routes of the three services. Paths are lower case: the gate lowers what it receives.

mod answer;
mod approvals;
mod build_update;
mod builds;
mod definitions;
mod deployments;
mod environments;
mod logs;
mod pipelines;
mod projects;
mod release_approvals;
mod releases;
mod run;
mod tenant;
mod timeline;
mod views;

use std::sync::Arc;

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware::{self, Next},
    response::Response,
    routing::{get, head, patch, post},
};
use http::{Method, Uri};

use self::answer::Answer;
use super::{error::ServiceError, state::Simulator};

/// `https://dev.azure.com`.
pub(super) fn core(simulator: Arc<Simulator>) -> Router {
    let project = "/{organization}/{project}/_apis";
    let route = |path: &str| format!("{project}{path}");
    finish(
        Router::new()
            .route("/{organization}", head(tenant::core))
            .route("/{organization}/_apis/projects", get(projects::list))
            .route("/{organization}/_apis/projects/{project}", get(projects::get))
            .route(
                "/{organization}/_apis/connectiondata",
                get(projects::connection_data),
            )
            .route(&route("/build/builds"), get(builds::list))
            .route(
                &route("/build/builds/{build}"),
                get(builds::get).patch(build_update::build),
            )
            .route(
                &route("/build/builds/{build}/stages/{stage}"),
                patch(build_update::stage),
            )
            .route(&route("/build/builds/{build}/timeline"), get(timeline::current))
            .route(
                &route("/build/builds/{build}/timeline/{timeline}"),
                get(timeline::by_id),
            )
            .route(&route("/build/builds/{build}/logs"), get(logs::list))
            .route(&route("/build/builds/{build}/logs/{log}"), get(logs::get))
            .route(&route("/build/builds/{build}/changes"), get(builds::changes))
            .route(&route("/build/builds/{build}/report"), get(builds::report))
            .route(&route("/build/builds/{build}/artifacts"), get(builds::artifacts))
            .route(&route("/build/changes"), get(builds::changes_between))
            .route(&route("/build/latest/{definition}"), get(builds::latest))
            .route(&route("/build/definitions"), get(definitions::list))
            .route(&route("/build/definitions/{definition}"), get(definitions::get))
            .route(&route("/pipelines"), get(pipelines::list))
            .route(&route("/pipelines/{pipeline}"), get(pipelines::get))
            .route(
                &route("/pipelines/{pipeline}/runs"),
                get(pipelines::runs).post(run::start),
            )
            .route(&route("/pipelines/{pipeline}/preview"), post(run::preview))
            .route(&route("/pipelines/{pipeline}/runs/{run}"), get(pipelines::run))
            .route(&route("/pipelines/{pipeline}/runs/{run}/logs"), get(logs::of_run))
            .route(
                &route("/pipelines/{pipeline}/runs/{run}/artifacts"),
                get(pipelines::artifacts),
            )
            .route(
                &route("/pipelines/approvals"),
                get(approvals::list).patch(approvals::update),
            )
            .route(&route("/distributedtask/environments"), get(environments::list))
            .route(
                &route("/distributedtask/environments/{environment}"),
                get(environments::get),
            )
            .route(
                &route("/distributedtask/environments/{environment}/environmentdeploymentrecords"),
                get(environments::records),
            )
            .route(&route("/pipelines/environments"), get(environments::list))
            .route(
                &route("/pipelines/environments/{environment}"),
                get(environments::get),
            )
            .route(
                &route("/pipelines/environments/{environment}/environmentdeploymentrecords"),
                get(environments::records),
            ),
        simulator,
    )
}

/// `https://vsrm.dev.azure.com`.
pub(super) fn release(simulator: Arc<Simulator>) -> Router {
    let route = |path: &str| format!("/{{organization}}/{{project}}/_apis/release{path}");
    finish(
        Router::new()
            .route(&route("/deployments"), get(deployments::list))
            .route(&route("/releases"), get(releases::list))
            .route(&route("/releases/{release}"), get(releases::get))
            .route(
                &route("/releases/{release}/environments/{environment}"),
                get(releases::environment),
            )
            .route(
                &route(
                    "/releases/{release}/environments/{environment}/deployphases/{phase}/tasks/{task}/logs",
                ),
                get(releases::task_log),
            )
            .route(&route("/approvals"), get(release_approvals::list))
            .route(&route("/approvals/{approval}"), patch(release_approvals::decide)),
        simulator,
    )
}

/// `https://vssps.dev.azure.com`.
pub(super) fn identity(simulator: Arc<Simulator>) -> Router {
    finish(
        Router::new().route("/{organization}", head(tenant::identity)),
        simulator,
    )
}

fn finish(router: Router<Arc<Simulator>>, simulator: Arc<Simulator>) -> Router {
    router
        .route_layer(middleware::from_fn(name_the_route))
        .method_not_allowed_fallback(|method: Method| async move { ServiceError::no_method(&method) })
        .fallback(|uri: Uri| async move { ServiceError::no_controller(uri.path()) })
        .with_state(simulator)
}

/// Leaves the route on the answer, for the record.
async fn name_the_route(route: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(route);
    response
}
