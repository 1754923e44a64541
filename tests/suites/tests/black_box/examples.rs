//! The examples, as the API server and the operator take them.

use std::path::Path;

use behalf_demo::environment::{NAMESPACE_OPERATOR, NAMESPACE_SERVERS, Objects, Server};
use behalf_local_cluster::files::checkout;
use behalf_tests::limits::restoring;
use serde_json::{Value, json};

use crate::ensure;
use crate::scratch_objects::wait_named;
use crate::world::{TestResult, World};

crate::tests![
    OwnNamespaces: [the_api_server_takes_every_object_of_the_examples],
    Scratch: [the_operator_accepts_the_mcp_server_of_every_example],
];

/// The folders that kubectl applies with `--kustomize`. Flux, Argo CD and Terraform have tests of their own.
const FOLDERS: [&str; 2] = ["high-availability", "high-availability-valkey"];

/// An example, and its objects.
struct Example {
    name: String,
    objects: Vec<Value>,
}

fn examples(world: &World) -> TestResult<Vec<Example>> {
    let folder = checkout().join("examples");
    let mut examples = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            examples.push(example(&path, &std::fs::read_to_string(&path)?)?);
        }
    }
    for name in FOLDERS {
        let path = folder.join(name);
        let text = world
            .running
            .cluster
            .kubectl(&["kustomize", &path.display().to_string()])?;
        examples.push(example(&path, &text)?);
    }
    ensure!(examples.len() >= 10, "there are only {} examples", examples.len());
    Ok(examples)
}

fn example(path: &Path, text: &str) -> TestResult<Example> {
    Ok(Example {
        name: path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        objects: Objects::from_yaml(text)?
            .iter_mut()
            .map(|object| object.clone())
            .collect(),
    })
}

/// With a dry run, because the objects of the environment have some of the names.
async fn the_api_server_takes_every_object_of_the_examples(world: &World) -> TestResult {
    let mut kinds = Vec::new();
    for Example { name, objects } in examples(world)? {
        ensure!(!objects.is_empty(), "{name} has no objects");
        for object in objects {
            ensure!(
                object["metadata"]["namespace"] == NAMESPACE_SERVERS,
                "{name}: {} is in another namespace than the examples say",
                object["kind"]
            );
            let arguments = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--filename",
                "-",
            ];
            world
                .running
                .cluster
                .kubectl_with(&arguments, &object.to_string())
                .map_err(|error| format!("{name}: {}", behalf_runtime::error_chain(&error)))?;
            kinds.push(object["kind"].clone());
        }
    }
    for kind in ["McpServer", "HorizontalPodAutoscaler", "StatefulSet"] {
        ensure!(kinds.contains(&json!(kind)), "no example has a {kind}");
    }
    Ok(())
}

/// The objects are suspended, so that no Pod starts. They have the Entra and the Azure DevOps of the environment.
async fn the_operator_accepts_the_mcp_server_of_every_example(world: &World) -> TestResult {
    let quickstart = world.get("mcpserver", Server::Quickstart.name())?;
    for (number, example) in examples(world)?.into_iter().enumerate() {
        for mut object in example.objects {
            if object["kind"] != "McpServer" {
                continue;
            }
            // Names of their own: the children of a deleted object may exist for a moment.
            let name = format!("example-{number}");
            object["metadata"]["name"] = json!(name);
            let spec = &mut object["spec"];
            spec["suspend"] = json!(true);
            spec["entra"] = quickstart["spec"]["entra"].clone();
            if spec["server"]["azureDevOps"].is_object() {
                let endpoints = &quickstart["spec"]["server"]["azureDevOps"]["endpoints"];
                spec["server"]["azureDevOps"]["endpoints"] = endpoints.clone();
            } else {
                spec["server"]["container"]["image"] = json!(allowed_image(world)?);
            }
            println!("    {}", example.name);
            let work = async {
                world.apply(&object)?;
                wait_named(world, &name, "Accepted=True", |now| now.is("Accepted", "True")).await
            };
            let remove = async {
                world.kubectl(&["delete", "mcpserver", &name, "--ignore-not-found"])?;
                Ok(())
            };
            restoring(work, remove).await?;
        }
    }
    Ok(())
}

/// An image of a repository that the installation allows.
fn allowed_image(world: &World) -> TestResult<String> {
    let deployment = world.running.cluster.kubectl(&[
        "get",
        "deployment",
        "behalf-operator",
        "--namespace",
        NAMESPACE_OPERATOR,
        "--output",
        "jsonpath={.spec.template.spec.containers[0].env[?(@.name==\"BEHALF_ALLOWED_SERVER_REPOSITORIES\")].value}",
    ])?;
    let repository = deployment.split(',').next().filter(|text| !text.is_empty());
    Ok(format!(
        "{}:1",
        repository.ok_or("the installation allows no repository")?
    ))
}
