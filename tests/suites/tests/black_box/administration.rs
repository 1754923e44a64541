//! Runs the administration commands of the sidecars, and returns their output for the search for secrets.

use behalf_demo::environment::{NAMESPACE_SERVERS, Server};
use behalf_simulators::people::{ANA, BEN};

use crate::credentials::pods_of;
use crate::ensure;
use crate::search::Place;
use crate::world::{TestResult, World};

/// The forms of the output.
const OUTPUTS: [&str; 2] = ["table", "json"];

/// Lists the sessions in each Pod, and in one of each server examines a token of Ben, revokes its session and examines it again.
/// Returns what the commands print.
pub(crate) async fn outputs(world: &World) -> TestResult<Vec<Place>> {
    let mut places = Vec::new();
    for server in Server::ALL {
        let pods = pods_of(world, server).await?;
        let pods = pods.into_iter().filter_map(|pod| pod.metadata.name);
        let pods: Vec<String> = pods.collect();
        for output in OUTPUTS {
            for pod in &pods {
                let list = admin(world, pod, &["sessions", "list", "--output", output], "")?;
                ensure!(list.text.contains(ANA.object_id), "{pod} lists no session of Ana");
                places.push(list);
            }
            let pod = pods.first().ok_or("a server has no Pod")?;
            places.extend(of_one_session(world, server, pod, output).await?);
        }
    }
    Ok(places)
}

/// Returns the output of the commands about a new session, before and after its revocation.
async fn of_one_session(world: &World, server: Server, pod: &str, output: &str) -> TestResult<Vec<Place>> {
    let token = world.access_token(server, &BEN).await?;
    let introspect = |output| admin(world, pod, &["introspect", "--output", output], &token);
    let valid = introspect(output)?;
    ensure!(
        valid.text.contains(BEN.object_id),
        "{pod} does not say whose the token is"
    );
    let answer: serde_json::Value = serde_json::from_str(&introspect("json")?.text)?;
    let session = answer["sid"].as_str().ok_or("the introspection has no session")?;
    let revoke = ["sessions", "revoke", session, "--output", output];
    let revoked = admin(world, pod, &revoke, "")?;
    let invalid = introspect(output)?;
    ensure!(
        !invalid.text.contains(BEN.object_id),
        "{pod} calls the token of a revoked session valid"
    );
    Ok(vec![valid, revoked, invalid])
}

/// Runs an administration command in a Pod with this standard input.
fn admin(world: &World, pod: &str, command: &[&str], input: &str) -> TestResult<Place> {
    let in_sidecar = [
        "--namespace",
        NAMESPACE_SERVERS,
        "exec",
        "--stdin",
        pod,
        "--container",
        "auth-sidecar",
        "--",
        "behalf-auth-sidecar",
        "admin",
    ];
    let arguments = [&in_sidecar[..], command].concat();
    let text = world.running.cluster.kubectl_with(&arguments, input)?;
    Ok(Place {
        name: format!("admin {} in {pod}", command.join(" ")),
        text,
    })
}
