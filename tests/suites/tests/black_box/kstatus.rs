//! The health of a live object from its first moment to its deletion, as kstatus and Flux' health check expressions read it.

use std::time::Duration;

use behalf_demo::environment::{Conditions, Server, create_federated_credential};
use behalf_local_cluster::{Call, files};
use behalf_runtime::error_chain;
use behalf_tests::limits::restoring;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::scratch_server::{NAME, PORT, object, remove, wait};
use crate::world::{TestResult, World};

crate::tests![Scratch: [kstatus_and_flux_read_each_state_of_a_live_object_as_the_page_says]];

/// Maximum time until the programs are built. `.ci/test` has built them before.
const BUILD: Duration = Duration::from_mins(15);

/// A finalizer of another program.
const FINALIZER: &str = "test.example/keeps";

async fn kstatus_and_flux_read_each_state_of_a_live_object_as_the_page_says(world: &World) -> TestResult {
    let health = Health::new(world)?;
    let work = async {
        let server = world.get("mcpserver", Server::Quickstart.name())?["spec"]["server"].clone();
        let address = format!("http://localhost:{PORT}");
        world.apply(&object(world, &address, &json!({"server": server}))?)?;
        health.is("created", "InProgress", "InProgress")?;

        let told = |now: &Conditions| {
            let is_seen = now.is("FederationVerified", "False") && now.is("Ready", "False");
            is_seen && now.get("Reconciling").is_none()
        };
        let refused = wait(world, "Ready=False without a credential", told).await?;
        health.is("without a federated credential", "InProgress", "Failed")?;

        create_federated_credential(&world.entra, NAME, &refused).await?;
        wait(world, "Ready", |now| now.is("Ready", "True")).await?;
        health.is("ready", "Current", "Current")?;

        edit(world, &json!({"suspend": true}))?;
        let suspended = |now: &Conditions| now.get("Ready").is_some_and(|ready| ready.reason == "Suspended");
        wait(world, "Suspended", suspended).await?;
        health.is("suspended", "InProgress", "Current")?;

        let authority = json!({"name": "nobody-made-it", "key": "ca.crt"});
        edit(
            world,
            &json!({"suspend": false, "entra": {"certificateAuthorityRef": authority}}),
        )?;
        wait(world, "Accepted=False", |now| now.is("Accepted", "False")).await?;
        health.is("refused until something exists", "InProgress", "Failed")?;

        finalizers(world, &json!([FINALIZER]))?;
        world.kubectl(&["delete", "mcpserver", NAME, "--wait=false"])?;
        health.is("deleted", "Terminating", "InProgress")
    };
    let restore = async {
        // The object is gone if the test failed early.
        let _ = finalizers(world, &json!(null));
        remove(world).await
    };
    restoring(work, restore).await
}

fn edit(world: &World, spec: &Value) -> TestResult {
    patch(world, &json!({"spec": spec}))
}

fn finalizers(world: &World, finalizers: &Value) -> TestResult {
    patch(world, &json!({"metadata": {"finalizers": finalizers}}))
}

fn patch(world: &World, patch: &Value) -> TestResult {
    let patch = patch.to_string();
    world.kubectl(&["patch", "mcpserver", NAME, "--type=merge", "--patch", &patch])?;
    Ok(())
}

/// The program that compares healths, which `.ci/gitops` builds.
struct Health<'w> {
    world: &'w World,
    program: String,
}

impl<'w> Health<'w> {
    fn new(world: &'w World) -> TestResult<Self> {
        let build = Call::new(files::checkout().join(".ci/gitops")).arg("health");
        let folder = build.limit(BUILD).text()?;
        let program = format!("{}/flux-health", folder.trim());
        Ok(Self { world, program })
    }

    /// Fails unless kstatus and Flux read these healths from the object as it is now.
    fn is(&self, state: &str, kstatus: &str, flux: &str) -> TestResult {
        let object = self.world.get("mcpserver", NAME)?;
        let row = json!({"expected": {"kstatus": kstatus, "flux": flux}, "object": object});
        let folder = TempDir::new()?;
        std::fs::write(folder.path().join("live.json"), row.to_string())?;
        let read = Call::new(&self.program)
            .arg(folder.path())
            .arg(files::checkout().join("examples/flux/servers.yaml"));
        read.run()
            .map_err(|error| format!("{state}: {}", error_chain(&error)))?;
        println!("    {state}: {kstatus}, Flux {flux}");
        Ok(())
    }
}
