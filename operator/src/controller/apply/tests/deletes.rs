//! Tests which children are deleted.

use super::*;

#[tokio::test]
async fn deletes_only_what_it_owns_and_exactly_what_it_saw() {
    let policy = || {
        let value = stored(children(&server(QUICKSTART)).network_policy.unwrap());
        serde_json::from_value::<k8s_openapi::api::networking::v1::NetworkPolicy>(value).unwrap()
    };
    let (client, handle) = client();
    let asked = tokio::spawn(script(handle, vec![failure(409, "Conflict", "uid differs")]));
    let owner = server(QUICKSTART).metadata.uid;
    writer(&client).delete(&policy(), owner.as_deref()).await.unwrap();
    drop(client);
    let (line, body) = asked.await.unwrap().remove(0);
    assert!(
        line.starts_with("DELETE /apis/networking.k8s.io/v1/namespaces/mcp/networkpolicies/azure-devops")
    );
    assert_eq!(
        body["preconditions"]["uid"],
        "5d6f7f6e-0000-4000-8000-000000000009"
    );

    let (client, mut handle) = self::client();
    writer(&client).delete(&policy(), Some("another")).await.unwrap();
    drop(client);
    assert!(
        pin!(&mut handle).next_request().await.is_none(),
        "deleted what is not ours"
    );
}

#[test]
fn a_configuration_stays_while_a_pod_was_made_with_it_or_a_replica_set_may_make_one() {
    let now = children(&server(QUICKSTART));
    let before = children(&quickstart_with(
        json!({"server": {"azureDevOps": {"readOnly": true}}}),
    ))
    .config_map;
    let mut existing = Existing::default();
    let applied = now.applied();
    let is_unused = |existing: &Existing| {
        assert!(!applied.config_map.is_unused(&applied, existing));
        before.is_unused(&applied, existing)
    };
    let metadata = json!({"annotations": {(names::CONFIGURATION_ANNOTATION): before.name_any()}});
    let pod = json!({"metadata": metadata});
    existing.pods = vec![Arc::new(serde_json::from_value(pod).unwrap())];
    assert!(!is_unused(&existing));
    existing.pods.clear();
    // In the middle of a rollout it may have no Pod at the moment.
    let replica_set =
        json!({"metadata": {}, "spec": {"replicas": 1, "selector": {}, "template": {"metadata": metadata}}});
    existing.replica_sets = vec![Arc::new(serde_json::from_value(replica_set).unwrap())];
    assert!(!is_unused(&existing));
    existing.replica_sets.clear();
    assert!(is_unused(&existing));
}
