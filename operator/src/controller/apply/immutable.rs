//! Writes an immutable child: its content cannot be changed, so it is deleted and created again.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

use super::ApplyError;
use super::server_side_apply::{Writer, failed};
use crate::controller::children::ChildKind as _;
use crate::controller::names;

impl Writer<'_> {
    /// Writes an immutable configuration. If the object has different content, it is deleted and created
    /// again. No Pod runs with that content, because Pods check the digest.
    pub(super) async fn put_immutable(
        &self,
        config_map: ConfigMap,
        live: Option<&ConfigMap>,
    ) -> Result<ConfigMap, ApplyError> {
        let (owner, name) = (names::controller_uid(&config_map.metadata), config_map.name_any());
        let is_other = |live: &&ConfigMap| {
            let ours = config_map.data.iter().flatten();
            let theirs = |key| live.data.as_ref().and_then(|data| data.get(key));
            live.immutable == Some(true)
                && names::controller_uid(&live.metadata) == owner
                && ours.into_iter().any(|(key, text)| theirs(key) != Some(text))
        };
        let other = match live.filter(is_other) {
            Some(other) => other.clone(),
            None => match self.put(config_map.clone(), live).await {
                // An object without this operator's labels is not in the cache.
                Err(rejected @ ApplyError::Rejected { .. }) => {
                    let found = self.api(&config_map).get_opt(&name).await;
                    let found = found.map_err(|error| failed("read", ConfigMap::KIND, &name, error))?;
                    found.filter(|found| is_other(&found)).ok_or(rejected)?
                }
                done => return done,
            },
        };
        self.delete(&other, owner).await?;
        match self.put(config_map.clone(), None).await {
            Err(ApplyError::Rejected { kind, name, .. }) => Err(ApplyError::Remains { kind, name }),
            done => done,
        }
    }
}
