//! Steps 7 to 9 of the page: a Redis, an upgrade, and a fault.

use std::path::PathBuf;

use behalf_demo::environment::{Conditions, NAMESPACE_SERVERS, apply_redis, create_federated_credential};
use behalf_demo::mcp_client::{CLIENT_NAME, PendingSignIn};
use behalf_local_cluster::files::checkout;
use behalf_local_cluster::images::{self, Product};
use behalf_simulators::people::{ANA, CLIENT_ID};
use behalf_simulators::sign_in::{Browser, Visit};
use serde_json::{Value, json};

use crate::reader::{Reader, SERVER, TestResult, ensure};

impl Reader<'_> {
    /// Starts a Redis, and writes its address into the object's file as the example has it.
    pub(crate) async fn edit_the_store(&self) -> TestResult {
        apply_redis(&self.client, &[SERVER.name()], &self.images.redis).await?;
        let read = |path: PathBuf| -> TestResult<Value> {
            Ok(serde_yaml::from_str(&std::fs::read_to_string(path)?)?)
        };
        let example = read(checkout().join("examples/high-availability/mcpserver.yaml"))?;
        let file = self.folder.path().join("azure-devops.yaml");
        let mut object = read(file.clone())?;
        for field in ["replicas", "sessions"] {
            object["spec"][field] = example["spec"][field].clone();
        }
        let secret = object.pointer_mut("/spec/sessions/store/redis/auth/secret/secretRef/name");
        *secret.ok_or("the example names no Secret")? = json!(format!("{}-behalf-store", SERVER.name()));
        std::fs::write(file, serde_yaml::to_string(&object)?)?;
        Ok(())
    }

    /// Loads another image of the sidecar, as that of a next release, and writes its tag into the file of values.
    pub(crate) fn edit_the_tag(&self) -> TestResult {
        let progress = behalf_local_cluster::Progress::default();
        let sidecar = Product::AuthSidecar;
        let installed = images::build(sidecar, &behalf_demo::binary(sidecar), &progress)?;
        let next = images::labelled(&installed, "behalf.dev/release=next", &progress)?;
        self.cluster.load(std::slice::from_ref(&next))?;
        let file = self.folder.path().join("values.yaml");
        let mut values: Value = serde_yaml::from_str(&std::fs::read_to_string(&file)?)?;
        values["images"]["sidecar"]["tag"] = json!(next.tag);
        std::fs::write(file, values.to_string())?;
        self.next_sidecar.replace(self.cluster.image_reference(&next));
        Ok(())
    }

    /// Fails unless the Deployment names the new sidecar.
    pub(crate) fn the_sidecar_is_new(&self) -> TestResult {
        let image = "jsonpath={.spec.template.spec.initContainers[0].image}";
        let get = [
            "get",
            "deployment",
            SERVER.name(),
            "--namespace",
            NAMESPACE_SERVERS,
            "--output",
            image,
        ];
        let (now, wanted) = (self.cluster.kubectl(&get)?, self.next_sidecar.borrow());
        ensure(now == *wanted, || {
            format!("the Deployment has {now} in place of {wanted}")
        })
    }

    /// Deletes the credential, as `az ad app federated-credential delete` does.
    pub(crate) async fn delete_the_credential(&self) -> TestResult {
        self.entra
            .update_application(CLIENT_ID, |application| application.federated_credentials.clear())
            .await?;
        Ok(())
    }

    pub(crate) async fn a_sign_in_fails(&self) -> TestResult {
        let pending = PendingSignIn::begin(&self.layout.mcp_url(SERVER)).await?;
        let visit = Visit::new(pending.authorize_url().clone(), ANA.user_name).client_name(CLIENT_NAME);
        let signed_in = async {
            TestResult::Ok(
                pending
                    .finish(&Browser::new()?.sign_in(&visit).await?.redirect)
                    .await?,
            )
        };
        ensure(signed_in.await.is_err(), || {
            "a user signed in without the federated credential".to_owned()
        })
    }

    /// Does what the `az` line at the end of the condition's message does.
    pub(crate) async fn run_the_line_of_the_message(&self) -> TestResult {
        let now = Conditions::read(&self.client, SERVER.name()).await?;
        let command = now.status.pointer("/federation/command").and_then(Value::as_str);
        let found = now
            .get("FederationVerified")
            .ok_or("no condition FederationVerified")?;
        ensure(
            command.is_some_and(|command| found.message.ends_with(command)),
            || format!("the message does not end with {command:?}: {}", found.message),
        )?;
        create_federated_credential(&self.entra, SERVER.name(), &now).await?;
        Ok(())
    }

    /// Removes the Redis, which is the reader's own.
    pub(crate) fn remove_redis(&self) -> TestResult {
        let redis = checkout()
            .join("examples/high-availability/redis.yaml")
            .display()
            .to_string();
        self.cluster
            .kubectl(&["delete", "--filename", &redis, "--wait=true"])?;
        let store = format!("secret/{}-behalf-store", SERVER.name());
        let others = [
            "secret/redis-tls",
            "secret/redis-users",
            "configmap/redis-ca",
            &store,
        ];
        let delete = ["delete", "--namespace", NAMESPACE_SERVERS];
        self.cluster.kubectl(&[&delete[..], &others].concat())?;
        Ok(())
    }
}
