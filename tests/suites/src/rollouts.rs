//! Tells which Deployments roll out at the same time, read from the events of one watch.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::Deployment;

/// The rollouts of the Deployments since an upgrade.
#[derive(Debug)]
pub struct Rollouts {
    /// The image of the sidecar after the upgrade.
    image: String,

    /// The generations before the upgrade, by name.
    before: BTreeMap<String, i64>,

    rolling: BTreeSet<String>,
    ended: Vec<String>,
    largest: BTreeSet<String>,
}

impl Rollouts {
    /// Begins before the upgrade to this image of the sidecar, with all Deployments as they are then.
    ///
    /// # Errors
    ///
    /// Fails with the name of a Deployment that is rolling out, or that has the image already.
    pub fn begin<'d>(
        image: &str,
        deployments: impl IntoIterator<Item = &'d Deployment>,
    ) -> Result<Self, String> {
        let mut before = BTreeMap::new();
        for deployment in deployments {
            let name = name(deployment);
            if !is_complete(deployment) || has_image(deployment, image) {
                return Err(format!(
                    "Deployment {name} is not as it is before an upgrade: {deployment:?}"
                ));
            }
            before.insert(name, deployment.metadata.generation.unwrap_or_default());
        }
        Ok(Self {
            image: image.to_owned(),
            before,
            rolling: BTreeSet::new(),
            ended: Vec::new(),
            largest: BTreeSet::new(),
        })
    }

    /// Takes the next event of a Deployment.
    ///
    /// # Errors
    ///
    /// Fails if a rollout has ended with another image.
    pub fn see(&mut self, now: &Deployment) -> Result<(), String> {
        let name = name(now);
        let Some(before) = self.before.get(&name) else {
            return Ok(());
        };
        // A Deployment that has ended its rollout may be unavailable later.
        if now.metadata.generation == Some(*before) || self.ended.contains(&name) {
            return Ok(());
        }
        if is_complete(now) {
            if !has_image(now, &self.image) {
                return Err(format!("{name} rolled out to something else: {now:?}"));
            }
            self.rolling.remove(&name);
            self.ended.push(name);
        } else {
            self.rolling.insert(name);
        }
        if self.rolling.len() > self.largest.len() {
            self.largest.clone_from(&self.rolling);
        }
        Ok(())
    }

    /// True as soon as each Deployment has ended its rollout.
    pub fn have_ended(&self) -> bool {
        self.ended.len() == self.before.len()
    }

    /// The Deployments in the order in which their rollouts ended.
    pub fn ended(&self) -> &[String] {
        &self.ended
    }

    /// The largest number of Deployments that rolled out at the same time, by their names.
    pub fn largest(&self) -> &BTreeSet<String> {
        &self.largest
    }
}

fn name(deployment: &Deployment) -> String {
    deployment.metadata.name.clone().unwrap_or_default()
}

/// All Pods are of the newest template, available, and the only ones.
fn is_complete(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let Some(status) = &deployment.status else {
        return false;
    };
    status.observed_generation == deployment.metadata.generation
        && [
            status.replicas,
            status.updated_replicas,
            status.available_replicas,
        ]
        .into_iter()
        .all(|number| number == wanted)
}

fn has_image(deployment: &Deployment, image: &str) -> bool {
    let pod = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let containers = pod.and_then(|pod| pod.init_containers.as_ref());
    containers
        .into_iter()
        .flatten()
        .any(|container| container.image.as_deref() == Some(image))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(name: &str, generation: i64, image: &str, is_available: bool) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": name, "generation": generation},
            "spec": {
                "replicas": 1, "selector": {},
                "template": {"spec": {
                    "containers": [], "initContainers": [{"name": "auth-sidecar", "image": image}],
                }},
            },
            "status": {
                "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1,
                "availableReplicas": i32::from(is_available),
            },
        }))
        .unwrap()
    }

    fn two() -> Rollouts {
        let before = ["one", "two"].map(|name| deployment(name, 1, "old", true));
        Rollouts::begin("new", &before).unwrap()
    }

    #[test]
    fn rollouts_that_overlap_are_told_from_those_that_follow_each_other() {
        let events = |names: [(&str, bool); 4]| {
            let mut rollouts = two();
            for (name, is_available) in names {
                rollouts.see(&deployment(name, 2, "new", is_available)).unwrap();
            }
            assert!(rollouts.have_ended());
            rollouts.largest().len()
        };
        assert_eq!(
            events([("one", false), ("one", true), ("two", false), ("two", true)]),
            1
        );
        assert_eq!(
            events([("one", false), ("two", false), ("one", true), ("two", true)]),
            2
        );
    }

    #[test]
    fn a_deployment_that_keeps_its_template_and_one_that_ended_do_not_roll_out() {
        let mut rollouts = two();
        rollouts.see(&deployment("one", 1, "old", false)).unwrap();
        rollouts.see(&deployment("two", 2, "new", true)).unwrap();
        rollouts.see(&deployment("two", 2, "new", false)).unwrap();
        assert!(rollouts.largest().is_empty());
        assert_eq!(rollouts.ended(), ["two"]);
    }

    #[test]
    fn another_image_is_an_error() {
        assert!(two().see(&deployment("one", 2, "other", true)).is_err());
        let complete = deployment("one", 1, "old", true);
        let rolling = deployment("one", 1, "old", false);
        assert!(Rollouts::begin("old", [&complete]).is_err());
        assert!(Rollouts::begin("new", [&rolling]).is_err());
    }
}
