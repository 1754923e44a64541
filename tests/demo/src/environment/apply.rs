//! Lists of Kubernetes objects, and their server-side apply.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::EnvironmentError;

/// The field manager of the environment's server-side apply.
const FIELD_MANAGER: &str = "behalf-environment";

/// Objects to apply, in this order.
#[derive(Debug, Default, Clone)]
pub struct Objects(Vec<Value>);

impl Objects {
    /// Adds one object, as JSON.
    pub fn add(&mut self, object: Value) -> &mut Self {
        self.0.push(object);
        self
    }

    /// Adds a namespace whose Pods must meet the restricted profile.
    pub fn add_namespace(&mut self, name: &str) -> &mut Self {
        self.add(
            serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            }}),
        )
    }

    /// Reads a stream of YAML documents.
    pub fn from_yaml(text: &str) -> Result<Self, serde_yaml::Error> {
        use serde::Deserialize as _;
        let mut objects = Vec::new();
        for document in serde_yaml::Deserializer::from_str(text) {
            let value = Value::deserialize(document)?;
            if !value.is_null() {
                objects.push(value);
            }
        }
        Ok(Self(objects))
    }

    /// Every object, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.iter_mut()
    }

    /// Applies every object; the same again changes nothing.
    pub async fn apply(&self, client: &Client) -> Result<(), EnvironmentError> {
        for object in &self.0 {
            apply(client, object).await?;
        }
        Ok(())
    }
}

async fn apply(client: &Client, object: &Value) -> Result<(), EnvironmentError> {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(client.clone(), &resource),
        namespace => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    api.patch(
        name,
        &PatchParams::apply(FIELD_MANAGER).force(),
        &Patch::Apply(object),
    )
    .await
    .map_err(EnvironmentError::api(format!("apply {kind} {name}")))?;
    Ok(())
}
