//! A second, served version of the API: it is added with `conversion: None` to the CRD, and becomes the stored one. Every object
//! stays readable through both versions, and the operator, which knows the first one, goes on.
//!
//! No next version of Behalf exists. The test shows that one can be added: no field, rule or default of the present CRD, and no
//! request of the operator, is in its way.

use serde_json::{Value, json};

use crate::world::{NEXT, PRESENT, World};

/// The objects of the examples, with a store in memory and one in Redis.
const EXAMPLES: [&str; 3] = [
    "quickstart.yaml",
    "read-only.yaml",
    "high-availability/mcpserver.yaml",
];

#[test]
fn every_stored_object_is_readable_through_a_second_version_and_the_operator_goes_on() {
    let mut world = World::start(&[]);
    let names: Vec<String> = EXAMPLES
        .iter()
        .map(|example| world.create(PRESENT, example))
        .collect();
    for name in &names {
        world.reconciled(PRESENT, name);
    }

    world.serve_next(PRESENT);
    for name in &names {
        same_through_both(&world, name);
    }
    changes_through_the_next_version_reach_the_operator(&world);

    // Objects that are stored as the first version stay readable, and a write stores them as the second.
    world.serve_next(NEXT);
    for name in &names {
        same_through_both(&world, name);
    }
    world.patch(
        PRESENT,
        &names[0],
        &json!({"spec": {"sidecar": {"logLevel": "Warn"}}}),
    );
    world.reconciled(NEXT, &names[0]);
    same_through_both(&world, &names[0]);
    let stored = world.crd();
    assert_eq!(stored["status"]["storedVersions"], json!([PRESENT, NEXT]));
    world.operator_runs();
}

/// Reads an object, its status and its scale through both versions, alone and in a list.
fn same_through_both(world: &World, name: &str) {
    let [present, next] = through_both(|version| without_version(world.get(version, name, "")));
    assert_eq!(present, next, "{name}");
    assert!(present["status"]["conditions"].is_array(), "{present}");

    let [present, next] = through_both(|version| without_version(world.get(version, name, "/status")));
    assert_eq!(present, next, "the status of {name}");

    // The API server has no scale of an object without spec.replicas, through any version.
    if present["spec"]["replicas"].is_number() {
        let [present, next] = through_both(|version| world.get(version, name, "/scale"));
        for part in ["spec", "status"] {
            assert_eq!(present[part], next[part], "the scale of {name}");
        }
        assert!(present["status"]["selector"].is_string(), "{present}");
    }

    let [present, next] = through_both(|version| {
        let list = world.get(version, "", "");
        let items = list["items"].as_array().unwrap().clone();
        let found = items.into_iter().find(|item| item["metadata"]["name"] == name);
        without_version(found.unwrap())
    });
    assert_eq!(present, next, "{name} in a list");
}

/// Reads through both versions, again if the operator has written the status between the two reads.
fn through_both(read: impl Fn(&str) -> Value) -> [Value; 2] {
    for _ in 0..20 {
        let [present, next] = [PRESENT, NEXT].map(&read);
        if present["metadata"]["resourceVersion"] == next["metadata"]["resourceVersion"] {
            return [present, next];
        }
    }
    panic!("the object changed between each two reads");
}

/// An object without what names its version.
fn without_version(mut object: Value) -> Value {
    let fields = object.as_object_mut().unwrap();
    fields.remove("apiVersion");
    let metadata = fields["metadata"].as_object_mut().unwrap();
    metadata.remove("managedFields");
    object
}

/// Creates, edits, scales and deletes through the version that the operator does not know.
fn changes_through_the_next_version_reach_the_operator(world: &World) {
    let name = "made-by-the-next";
    world.create_as(NEXT, "article.yaml", name);
    world.reconciled(PRESENT, name);
    assert!(world.child("deployment", name).is_some());

    world.patch(NEXT, name, &json!({"spec": {"sidecar": {"logLevel": "Debug"}}}));
    let edited = world.reconciled(PRESENT, name);
    assert_eq!(edited["spec"]["sidecar"]["logLevel"], "Debug");
    assert_eq!(edited["metadata"]["generation"], 2);

    // The object of the example with Redis has two replicas.
    let replicas = || world.child("deployment", "article").unwrap()["spec"]["replicas"].clone();
    assert_eq!(replicas(), 2);
    world.scale(NEXT, "article", 3);
    world.reconciled(PRESENT, "article");
    world.until("the Deployment has three replicas", || replicas() == 3);

    world.delete(NEXT, name);
    world.until("the object is gone", || !world.exists(PRESENT, name));
}
