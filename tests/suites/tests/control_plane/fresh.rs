//! An object in its first moment: tools read it as in progress until the operator has seen it.

use behalf_local_cluster::files;
use serde_json::Value;

use crate::world::{PRESENT, World};

/// `tests/gitops/statuses` has this status. `.ci/test` reads it with Argo CD, kstatus and Flux as that of an object in progress.
#[test]
fn the_api_server_gives_a_new_object_the_status_that_tools_read_as_in_progress() {
    let mut world = World::without_operator();
    let name = world.create(PRESENT, "quickstart.yaml");
    let created = world.get(PRESENT, &name, "");
    let path = files::checkout().join("tests/gitops/statuses/fresh.json");
    let fresh: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(created["status"], fresh["object"]["status"]);
    assert_eq!(
        created["metadata"]["generation"],
        fresh["object"]["metadata"]["generation"]
    );

    world.replace_operator(&[]);
    let reconciled = world.reconciled(PRESENT, &name);
    assert!(reconciled["status"]["conditions"].is_array(), "{reconciled}");
}
