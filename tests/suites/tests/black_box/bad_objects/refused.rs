//! Sends the specs of the operator's table of refusals to the API server, which must refuse the same.

use std::collections::BTreeMap;

use behalf_local_cluster::files;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admission;
use crate::ensure;
use crate::world::{TestResult, World};

/// A regular expression, an error of CEL, and a length, after which the API server asks no rule.
const SAYS_NOT_WHAT_TO_WRITE: [&str; 3] = ["should match", "evaluating rule", "Too long"];

const TABLE: &str = "operator/src/controller/validate/tests/refused.yaml";

/// By the field of the operator's refusal and what is wrong: the merge patches of the quickstart's spec.
type Cases = BTreeMap<String, BTreeMap<String, Vec<Value>>>;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Table {
    bases: BTreeMap<String, Value>,
    refused: Cases,
    only_the_operator_knows: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    why: String,
    refused: Cases,
}

pub(super) async fn the_api_server_refuses_what_the_operator_refuses(world: &World) -> TestResult {
    let read = |path: &str| std::fs::read_to_string(files::checkout().join(path));
    let table: Table = serde_yaml::from_str(&read(TABLE)?)?;
    let quickstart: Value = serde_yaml::from_str(&read("examples/quickstart.yaml")?)?;
    let object = |patches: &[Value]| {
        let mut spec = quickstart["spec"].clone();
        for patch in patches {
            merge(&mut spec, patch);
        }
        json!({
            "apiVersion": quickstart["apiVersion"], "kind": quickstart["kind"],
            "metadata": {"name": "malformed"}, "spec": spec,
        })
    };
    let admission = Admission::of(world).await?;
    let mut wrong = Vec::new();
    for (name, base) in table.bases {
        if let Some(refusal) = admission.refusal(&object(&[base])).await? {
            wrong.push(format!("{name}, on which other specs are based: {refusal}"));
        }
    }
    for (field, what, patches) in flat(&table.refused) {
        match admission.refusal(&object(patches)).await? {
            None => wrong.push(format!(
                "{field}, {what}: taken; add a CEL rule, or say why only the operator knows"
            )),
            Some(refusal) if SAYS_NOT_WHAT_TO_WRITE.iter().any(|text| refusal.contains(text)) => {
                wrong.push(format!("{field}, {what}: {refusal}"));
            }
            Some(_) => {}
        }
    }
    for group in &table.only_the_operator_knows {
        for (field, what, patches) in flat(&group.refused) {
            if let Some(refusal) = admission.refusal(&object(patches)).await? {
                wrong.push(format!(
                    "{field}, {what}: refused, so it is wrong that {}: {refusal}",
                    group.why
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn flat(cases: &Cases) -> impl Iterator<Item = (&String, &String, &[Value])> {
    cases.iter().flat_map(|(field, cases)| {
        let rows = cases.iter();
        rows.map(move |(what, patches)| (field, what, patches.as_slice()))
    })
}

/// Merges a patch as RFC 7396 describes it.
fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match target.as_object_mut() {
            Some(target) if value.is_null() => drop(target.remove(key)),
            _ => merge(&mut target[key.as_str()], value),
        }
    }
}
