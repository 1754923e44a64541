//! Whole passes over objects with the same `publicUrl`. The caches never change here, as they do not for the moment
//! in which two passes run at once.

use kube::runtime::events::{Recorder, Reporter};
use rstest::rstest;
use serde_json::Value;

use super::*;
use crate::controller::dereference::{Issuer, Sources, StatusReader};
use crate::controller::sight::Sight;
use crate::controller::stores::Stores;
use crate::metrics::Metrics;
use crate::testing::defaults;

/// An API server that holds nothing but `deployments` and takes everything but one change of `refused`, the first
/// after so many of that path that it takes. Keeps the changes that it took.
async fn api_server(
    mut handle: mock::Handle<Request<Body>, Response<Body>>,
    deployments: Vec<Deployment>,
    mut refused: Option<(&'static str, u16)>,
    after: usize,
) -> Vec<(String, Value)> {
    let mut changes: Vec<(String, Value)> = Vec::new();
    while let Some((request, send)) = pin!(&mut handle).next_request().await {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect_bytes().await.unwrap();
        let (code, answer) = if path == "/.well-known/openid-configuration" {
            (200, json!({"issuer": "https://issuer.contoso.example"}))
        } else if method == http::Method::GET {
            let absent = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"});
            let held = deployments
                .iter()
                .find(|held| path.ends_with(&format!("/deployments/{}", held.name_any())));
            held.map_or((404, absent), |held| (200, json!(held)))
        } else if let Some((_, code)) = refused.take_if(|(end, _)| {
            let taken = changes.iter().filter(|(path, _)| path.ends_with(*end));
            path.ends_with(*end) && taken.count() == after
        }) {
            let failure = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"});
            (code, failure)
        } else {
            let body: Value = serde_json::from_slice(&body).unwrap();
            let is_status = path.ends_with("/status");
            changes.push((path, body.clone()));
            // A whole object comes back, whatever part of it was written.
            (
                200,
                if is_status {
                    json!(server(QUICKSTART))
                } else {
                    body
                },
            )
        };
        let response = Response::builder()
            .status(code)
            .body(Body::from(serde_json::to_vec(&answer).unwrap()));
        send.send_response(response.unwrap());
    }
    changes
}

/// One pass over each object in turn, and what they changed.
async fn passes(servers: &[McpServer]) -> (Vec<Action>, Vec<(String, Value)>) {
    let (results, changes) = Cluster::of(servers).passes(servers).await;
    (results.into_iter().map(Result::unwrap).collect(), changes)
}

/// What the caches hold, and what the API server does not take.
#[derive(Default)]
struct Cluster {
    servers: Vec<Guarded>,
    deployments: Vec<Deployment>,

    /// What the caches do not hold yet.
    uncached: Vec<Deployment>,
    refused: Option<(&'static str, u16)>,

    /// Changes of that path that are taken before.
    after: usize,
}

impl Cluster {
    fn of(servers: &[McpServer]) -> Self {
        Self {
            servers: servers
                .iter()
                .map(|server| DeserializeGuard(Ok(server.clone())))
                .collect(),
            ..Self::default()
        }
    }

    async fn passes(
        &self,
        servers: &[McpServer],
    ) -> (Vec<Result<Action, ReconcileError>>, Vec<(String, Value)>) {
        // Another test of this process may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (service, handle) = mock::pair();
        let api_server = tokio::spawn(api_server(
            handle,
            [self.deployments.clone(), self.uncached.clone()].concat(),
            self.refused,
            self.after,
        ));
        let client = Client::new(service, "default");
        let context = Context::new(
            Sources {
                client: client.clone(),
                stores: Stores::of(&self.servers, &self.deployments),
                status: StatusReader::new().unwrap(),
                sight: Arc::new(Sight::default()),
                issuer: Arc::new(Issuer::default()),
            },
            defaults(),
            Recorder::new(client, Reporter::from("behalf")),
            Arc::new(Metrics::default()),
            || time(60),
        );
        let context = Arc::new(context);
        let mut results = Vec::new();
        for server in servers {
            let guard = Arc::new(DeserializeGuard(Ok(server.clone())));
            results.push(reconcile(guard, context.clone()).await);
        }
        drop(context);
        (results, api_server.await.unwrap())
    }
}

/// An object that was judged and is free to be judged again.
fn refused(name: &str, seconds: i64) -> McpServer {
    let mut server = object(name, seconds);
    let condition = json!({"type": "Accepted", "status": "False", "reason": "InvalidSpec", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = server.status.get_or_insert_default();
    status.conditions = vec![serde_json::from_value(condition).unwrap()];
    server
}

/// With a spec that is refused.
fn faulty(mut server: McpServer) -> McpServer {
    server.spec.replicas = Some(0);
    server
}

/// With what a pass that accepted the object wrote into its status.
fn told(mut server: McpServer) -> McpServer {
    let name = server.name_any();
    let subject = format!("system:serviceaccount:mcp:{name}");
    let parameters = json!({"name": format!("behalf-mcp-{name}"), "issuer": "https://issuer.contoso.example",
        "subject": subject, "audiences": ["api://AzureADTokenExchange"]});
    let command = format!(
        "az ad app federated-credential create --id 22222222-2222-4222-8222-222222222222 --parameters '{parameters}'"
    );
    let federation = json!({"issuer": "https://issuer.contoso.example", "subject": subject,
        "audience": "api://AzureADTokenExchange", "command": command,
        "redirectUri": "https://mcp.contoso.example/callback"});
    server.status.get_or_insert_default().federation = Some(serde_json::from_value(federation).unwrap());
    server
}

/// What such a pass made.
fn deployment(server: &McpServer) -> Deployment {
    crate::testing::children(server).deployment
}

/// What was last written of an object's federation.
fn federation<'a>(changes: &'a [(String, Value)], name: &str) -> &'a Value {
    let end = format!("/{name}/status");
    let (_, body) = changes.iter().rfind(|(path, _)| path.ends_with(&end)).unwrap();
    &body["status"]["federation"]
}

fn object(name: &str, seconds: i64) -> McpServer {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    server.metadata.uid = Some(format!("uid-of-{name}"));
    server.metadata.creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time(
        seconds,
    )));
    server
}

/// The `Accepted` that was written for each object, with its reason.
fn accepted(changes: &[(String, Value)]) -> Vec<(&str, &str)> {
    changes
        .iter()
        .filter(|(path, _)| path.ends_with("/status"))
        .filter_map(|(_, body)| {
            let conditions = body["status"]["conditions"].as_array()?;
            let accepted = conditions
                .iter()
                .find(|condition| condition["type"] == "Accepted")?;
            Some((body["metadata"]["name"].as_str()?, accepted["reason"].as_str()?))
        })
        .collect()
}

#[tokio::test]
async fn of_two_objects_that_become_valid_at_once_one_is_accepted() {
    // Both were refused before, so neither waits for the other.
    let servers = ["one", "two"].map(|name| refused(name, 0));
    let (_, changes) = passes(&servers).await;
    assert_eq!(
        accepted(&changes),
        [("one", "Accepted"), ("two", "PublicUrlTaken")]
    );
}

#[tokio::test]
async fn of_two_objects_created_at_once_the_older_is_accepted_though_the_younger_came_first() {
    let servers = [object("younger", 1), object("older", 0)];
    let (actions, changes) = passes(&servers).await;
    assert_eq!(accepted(&changes), [("older", "Accepted")]);
    let of_the_younger: Vec<_> = changes
        .iter()
        .filter(|(path, _)| path.contains("younger"))
        .collect();
    let [(path, body)] = of_the_younger[..] else {
        panic!("{of_the_younger:?}")
    };
    assert!(path.ends_with("/status"), "{path}");
    let conditions = body["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 1, "it was neither accepted nor refused");
    assert_eq!(conditions[0]["type"], "Reconciling");
    assert_eq!(conditions[0]["reason"], "PublicUrlAwaited");
    assert!(conditions[0]["message"].as_str().unwrap().contains("mcp/older"));
    assert_eq!(body["status"]["observedGeneration"], -1);
    assert_eq!(actions[0], Action::requeue(SOON));
}

#[tokio::test]
async fn nobody_waits_forever_for_an_older_object() {
    // Somebody changes the older one all the time, so that no pass over it ends.
    for (since, expected) in [(31, None), (30, Some(("younger", "Accepted")))] {
        let mut younger = object("younger", 1);
        // What it was at before is no part of the wait.
        younger.status = Some(status::with_failed_step(&younger, "failed", time(0)));
        let refusal = validate::Refusal::PublicUrlAwaited {
            namespace: "mcp".to_owned(),
            name: "older".to_owned(),
        };
        younger.status = Some(status::with_wait(
            &younger,
            &validate::Refusals::one(refusal),
            time(since),
        ));
        let cluster = Cluster::of(&[younger.clone(), object("older", 0)]);
        let (_, changes) = cluster.passes(&[younger]).await;
        assert_eq!(accepted(&changes).first().copied(), expected);
    }
}

#[tokio::test]
async fn a_forged_status_takes_no_public_url_away_and_does_not_stay() {
    let forger = told(faulty(refused("forger", 0)));
    let victim = told(refused("victim", 1));
    let cluster = Cluster {
        deployments: vec![deployment(&victim)],
        ..Cluster::of(&[forger.clone(), victim.clone()])
    };
    let (_, changes) = cluster.passes(&[forger, victim]).await;
    assert_eq!(
        accepted(&changes),
        [("forger", "InvalidSpec"), ("victim", "Accepted")]
    );
    assert_eq!(federation(&changes, "forger"), &Value::Null);
}

#[tokio::test]
async fn a_forged_deployment_takes_no_public_url_away() {
    let forger = faulty(refused("forger", 0));
    let victim = told(refused("victim", 1));
    let cluster = Cluster {
        deployments: vec![deployment(&object("forger", 0)), deployment(&victim)],
        ..Cluster::of(&[forger.clone(), victim.clone()])
    };
    let (_, changes) = cluster.passes(&[forger, victim]).await;
    assert_eq!(
        accepted(&changes),
        [("forger", "InvalidSpec"), ("victim", "Accepted")]
    );
    assert_eq!(
        federation(&changes, "forger"),
        &Value::Null,
        "the forger is now told so"
    );
}

#[tokio::test]
async fn a_refused_edit_keeps_address_and_command_of_what_still_runs() {
    let older = told(faulty(refused("older", 0)));
    let cluster = Cluster {
        deployments: vec![deployment(&object("older", 0))],
        ..Cluster::of(&[older.clone(), object("younger", 1)])
    };
    let (_, changes) = cluster.passes(&[object("younger", 1), older]).await;
    assert_eq!(
        accepted(&changes),
        [("younger", "PublicUrlTaken"), ("older", "InvalidSpec")]
    );
    let before = told(object("older", 0)).status.unwrap().federation;
    assert_eq!(federation(&changes, "older"), &json!(before));
}

#[rstest]
#[case::application("clientId", "33333333-3333-4333-8333-333333333333")]
#[case::service_account("serviceAccountName", "thief")]
#[case::audience("audience", "api://thief")]
#[case::address("publicUrl", "https://thief.contoso.example")]
#[tokio::test]
async fn nothing_that_was_written_to_the_deployment_of_a_refused_object_is_told(
    #[case] field: &str,
    #[case] value: &str,
) {
    let mut forged = deployment(&object("one", 0));
    let accepted = forged
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .get_mut(names::ACCEPTED_ANNOTATION)
        .unwrap();
    let mut fields: Value = serde_json::from_str(accepted).unwrap();
    fields[field] = json!(value);
    *accepted = fields.to_string();
    let one = told(faulty(refused("one", 0)));
    let cluster = Cluster {
        deployments: vec![forged],
        ..Cluster::of(std::slice::from_ref(&one))
    };
    // Whether this operator accepted it itself or started later.
    for servers in [vec![one.clone()], vec![refused("one", 0), one]] {
        let (_, changes) = cluster.passes(&servers).await;
        let (_, body) = changes
            .iter()
            .rfind(|(path, _)| path.ends_with("/one/status"))
            .unwrap();
        assert!(!body.to_string().contains(value), "{body}");
        assert_eq!(body["status"]["federation"]["command"], Value::Null);
        if field == "clientId" {
            let address = &body["status"]["federation"]["redirectUri"];
            assert_eq!(address, "https://mcp.contoso.example/callback");
        }
    }
}

/// What an operator made that did not note yet what it accepted.
fn unnoted(server: &McpServer) -> Deployment {
    let mut deployment = deployment(server);
    let annotations = deployment.metadata.annotations.as_mut().unwrap();
    annotations.remove(names::ACCEPTED_ANNOTATION);
    deployment
}

#[tokio::test]
async fn an_object_keeps_its_address_when_the_operator_learns_to_note_it() {
    let (one, two) = (told(refused("one", 1)), refused("two", 0));
    let cluster = Cluster {
        deployments: vec![unnoted(&one)],
        ..Cluster::of(&[one.clone(), two.clone()])
    };
    let (_, changes) = cluster.passes(&[two, one]).await;
    assert_eq!(
        accepted(&changes),
        [("two", "PublicUrlTaken"), ("one", "Accepted")]
    );
}

#[tokio::test]
async fn a_refused_object_keeps_its_address_when_the_operator_learns_to_note_it() {
    let mut one = told(faulty(refused("one", 1)));
    let deployments = vec![unnoted(&object("one", 1))];
    for _ in 0..2 {
        let cluster = Cluster {
            deployments: deployments.clone(),
            ..Cluster::of(&[one.clone(), refused("two", 0)])
        };
        let (_, changes) = cluster.passes(&[refused("two", 0), one.clone()]).await;
        assert_eq!(
            accepted(&changes),
            [("two", "PublicUrlTaken"), ("one", "InvalidSpec")]
        );
        // The status alone is not enough for a command.
        let federation = federation(&changes, "one");
        assert_eq!(federation["command"], Value::Null);
        assert_eq!(federation["redirectUri"], "https://mcp.contoso.example/callback");
        one.status.as_mut().unwrap().federation = serde_json::from_value(federation.clone()).unwrap();
    }
}

#[tokio::test]
async fn a_deployment_without_a_note_confirms_no_other_subject_and_no_other_object() {
    let one = told(faulty(refused("one", 0)));
    let mut of_another_account = unnoted(&object("one", 0));
    let template = &mut of_another_account.spec.as_mut().unwrap().template;
    template.spec.as_mut().unwrap().service_account_name = Some("thief".to_owned());
    let mut of_another_object = unnoted(&object("one", 0));
    of_another_object.metadata.owner_references = None;
    let mut unreadable = deployment(&object("one", 0));
    let annotations = unreadable.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::ACCEPTED_ANNOTATION.to_owned(), "?".to_owned());
    for deployment in [of_another_account, of_another_object, unreadable] {
        let cluster = Cluster {
            deployments: vec![deployment],
            ..Cluster::of(&[one.clone(), refused("two", 1)])
        };
        let (_, changes) = cluster.passes(&[refused("two", 1), one.clone()]).await;
        assert_eq!(accepted(&changes), [("two", "Accepted"), ("one", "InvalidSpec")]);
        assert_eq!(federation(&changes, "one"), &Value::Null);
    }
}

#[tokio::test]
async fn an_address_is_free_again_when_its_object_cannot_be_served() {
    let (one, two) = (refused("one", 0), refused("two", 1));
    let cluster = Cluster {
        refused: Some(("/deployments/one", 500)),
        ..Cluster::of(&[one.clone(), two.clone()])
    };
    let (results, changes) = cluster.passes(&[one, two]).await;
    assert!(matches!(results[0], Err(ReconcileError::Apply(_))));
    assert_eq!(accepted(&changes).last(), Some(&("two", "Accepted")));
}

/// Elsewhere than all others.
fn moved(mut server: McpServer) -> McpServer {
    server.spec.public_url = "https://new.contoso.example".to_owned();
    server
}

#[tokio::test]
async fn an_object_whose_move_fails_keeps_the_address_that_it_serves() {
    let (one, two) = (refused("one", 0), refused("two", 1));
    let cluster = Cluster {
        // Somebody cleared the status: the memory alone knows.
        uncached: vec![deployment(&one)],
        refused: Some(("/deployments/one", 500)),
        after: 1,
        ..Cluster::of(&[one.clone(), two.clone()])
    };
    let servers = [one.clone(), moved(one.clone()), two.clone(), one, moved(two)];
    let (results, changes) = cluster.passes(&servers).await;
    assert!(matches!(results[1], Err(ReconcileError::Apply(_))));
    let expected = [
        ("one", "Accepted"),
        // What stood there before stands while a step fails.
        ("one", "InvalidSpec"),
        ("two", "PublicUrlTaken"),
        ("one", "Accepted"),
        ("two", "Accepted"),
    ];
    assert_eq!(accepted(&changes), expected, "where it did not move to is free");
}

#[tokio::test]
async fn an_object_whose_deployment_cannot_be_made_again_keeps_its_address() {
    let (one, two) = (refused("one", 0), refused("two", 1));
    let cluster = Cluster {
        refused: Some(("/deployments/one", 500)),
        after: 1,
        ..Cluster::of(&[one.clone(), two.clone()])
    };
    let (results, changes) = cluster.passes(&[one.clone(), one.clone(), two]).await;
    assert!(matches!(results[1], Err(ReconcileError::Apply(_))));
    assert_eq!(accepted(&changes).last(), Some(&("two", "PublicUrlTaken")));
}

#[tokio::test]
async fn an_address_that_is_served_stays_though_a_step_failed_or_the_status_was_never_written() {
    for refused_path in [("/deployments/one", 500), ("/one/status", 409)] {
        for is_cached in [true, false] {
            let (one, two) = (refused("one", 0), refused("two", 1));
            let mut served = deployment(&one);
            // Nothing but what was accepted, so that it is applied again.
            served.spec = None;
            let (deployments, uncached) = if is_cached {
                (vec![served], Vec::new())
            } else {
                (Vec::new(), vec![served])
            };
            let cluster = Cluster {
                deployments,
                uncached,
                refused: Some(refused_path),
                ..Cluster::of(&[faulty(one.clone()), two.clone()])
            };
            let (_, changes) = cluster.passes(&[one.clone(), faulty(one), two]).await;
            assert_eq!(accepted(&changes).last(), Some(&("two", "PublicUrlTaken")));
            if is_cached {
                let federation = federation(&changes, "one");
                assert_eq!(federation["redirectUri"], "https://mcp.contoso.example/callback");
                assert_eq!(federation["subject"], "system:serviceaccount:mcp:one");
                assert!(federation["command"].is_string(), "{federation}");
            }
        }
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_any_more_keeps_its_address() {
    let older = object("older", 0);
    let unreadable = DeserializeGuard(Err(kube::core::error_boundary::InvalidObject {
        error: "unknown variant".to_owned(),
        metadata: older.metadata.clone(),
    }));
    for (deployments, expected) in [
        (vec![deployment(&older)], "PublicUrlTaken"),
        (Vec::new(), "Accepted"),
    ] {
        let mut cluster = Cluster::of(&[object("younger", 1)]);
        cluster.servers.push(unreadable.clone());
        cluster.deployments = deployments;
        let (_, changes) = cluster.passes(&[object("younger", 1)]).await;
        assert_eq!(accepted(&changes), [("younger", expected)]);
    }
}

#[tokio::test]
async fn an_older_object_that_was_refused_stands_in_nobodys_way() {
    // The caches do not know yet that `one` was refused.
    let (_, changes) = passes(&[faulty(object("one", 0)), object("two", 1)]).await;
    assert_eq!(accepted(&changes), [("one", "InvalidSpec")], "two waits for one");
    let (_, changes) = passes(&[faulty(refused("one", 0)), object("two", 1)]).await;
    assert_eq!(accepted(&changes), [("one", "InvalidSpec"), ("two", "Accepted")]);
}
