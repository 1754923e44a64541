//! Tests which object owns a `publicUrl`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::reflector;
use rstest::rstest;

use super::*;
use crate::testing::{QUICKSTART, server, time};

const URL: &str = "https://mcp.contoso.example";
const ELSEWHERE: &str = "https://elsewhere.contoso.example";

fn object(name: &str, seconds: i64, url: &str) -> McpServer {
    let mut server = server(QUICKSTART);
    server.metadata.name = Some(name.to_owned());
    server.metadata.uid = Some(format!("uid-of-{name}"));
    server.metadata.creation_timestamp = Some(Time(time(seconds)));
    server.spec.public_url = url.to_owned();
    server
}

fn deleting(mut server: McpServer) -> McpServer {
    server.metadata.deletion_timestamp = Some(Time(time(100)));
    server
}

fn guard(server: &McpServer) -> Guarded {
    DeserializeGuard(Ok(server.clone()))
}

fn unreadable(server: &McpServer) -> Guarded {
    DeserializeGuard(Err(InvalidObject {
        error: "unknown variant".to_owned(),
        metadata: server.metadata.clone(),
    }))
}

/// The name of the object that takes the address from `server`.
fn taken_by(server: &McpServer, all: &[Guarded]) -> Option<String> {
    let all: Vec<Arc<Guarded>> = all.iter().cloned().map(Arc::new).collect();
    let claims = other_claims(server, &all);
    other_owner(server, &claims).map(|owner| owner.name.clone())
}

#[test]
fn the_oldest_of_all_objects_owns_an_address_in_whatever_order_they_are_listed() {
    let objects = [object("b", 2, URL), object("a", 3, URL), object("c", 1, URL)];
    for rotation in 0..objects.len() {
        let mut all: Vec<Guarded> = objects.iter().map(guard).collect();
        all.rotate_left(rotation);
        let owners: Vec<_> = objects.iter().map(|object| taken_by(object, &all)).collect();
        assert_eq!(owners, [Some("c".to_owned()), Some("c".to_owned()), None]);
    }
}

#[test]
fn of_two_objects_of_the_same_second_the_smaller_uid_owns_the_address() {
    let (a, b) = (object("a", 0, URL), object("b", 0, URL));
    let all = [guard(&b), guard(&a)];
    assert_eq!(taken_by(&a, &all), None);
    assert_eq!(taken_by(&b, &all), Some("a".to_owned()));
}

#[rstest]
#[case::it_is_being_deleted(guard(&deleting(object("older", 0, URL))), None)]
#[case::it_names_another_address(guard(&object("older", 0, ELSEWHERE)), None)]
#[case::its_spec_cannot_be_read(unreadable(&object("older", 0, URL)), None)]
#[case::it_is_live(guard(&object("older", 0, URL)), Some("older"))]
fn an_older_object_owns_the_address_only_while_it_is_live_and_names_it(
    #[case] older: Guarded,
    #[case] owner: Option<&str>,
) {
    let younger = object("younger", 1, URL);
    let all = [older, guard(&younger)];
    assert_eq!(taken_by(&younger, &all).as_deref(), owner);
}

#[test]
fn a_suspended_object_keeps_its_address() {
    let mut older = object("older", 0, URL);
    older.spec.suspend = true;
    let younger = object("younger", 1, URL);
    assert_eq!(taken_by(&younger, &[guard(&older)]), Some("older".to_owned()));
}

#[test]
fn neither_status_nor_annotations_of_another_object_take_an_address_away() {
    let mut younger = object("younger", 1, URL);
    let federation = serde_json::json!({
        "subject": "s", "audience": "a", "redirectUri": format!("{URL}/callback"),
    });
    younger.status.get_or_insert_default().federation = Some(serde_json::from_value(federation).unwrap());
    younger
        .annotations_mut()
        .insert("behalf.dev/accepted".to_owned(), URL.to_owned());
    assert_eq!(taken_by(&object("older", 0, URL), &[guard(&younger)]), None);
}

/// The names of the objects that are reconciled when `event` reaches a cache that contains `before`.
fn woken(before: &[McpServer], event: watcher::Event<Guarded>) -> Vec<String> {
    let (store, mut writer) = reflector::store();
    for object in before {
        writer.apply_watcher_event(&watcher::Event::Apply(guard(object)));
    }
    let mut names: Vec<String> = std::iter::once(event)
        .flat_map(|event| affected(&event, &store))
        .map(|object| object.name)
        .collect();
    names.sort();
    names
}

#[rstest]
#[case::the_owner_is_deleted(watcher::Event::Delete(guard(&object("owner", 0, URL))), &["waiting"])]
#[case::the_owner_begins_to_be_deleted(
    watcher::Event::Apply(guard(&deleting(object("owner", 0, URL)))), &["waiting"])]
#[case::the_owner_moves(watcher::Event::Apply(guard(&object("owner", 0, ELSEWHERE))), &["elsewhere", "waiting"])]
#[case::an_older_object_comes(watcher::Event::Apply(guard(&object("new", -1, URL))), &["owner", "waiting"])]
#[case::nothing_of_it_changes(watcher::Event::Apply(guard(&object("owner", 0, URL))), &[])]
#[case::a_list_begins(watcher::Event::Init, &[])]
fn objects_with_the_same_address_are_reconciled_when_its_owner_may_change(
    #[case] event: watcher::Event<Guarded>,
    #[case] expected: &[&str],
) {
    let before = [
        object("owner", 0, URL),
        object("waiting", 1, URL),
        object("elsewhere", 2, ELSEWHERE),
        object("apart", 3, "https://apart.contoso.example"),
    ];
    assert_eq!(woken(&before, event), expected);
}
