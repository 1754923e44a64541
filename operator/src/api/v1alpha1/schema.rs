//! Helpers for the schema of the custom resource: CEL rules, and bounds for embedded Kubernetes types.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Returns a CEL rule with the message for the user whose object it refuses.
pub(super) fn rule(rule: &str, message: &str) -> Value {
    json!({"rule": rule, "message": message})
}

/// Returns the CEL rule that a text matches a regular expression without `'`. A `pattern` of the schema would answer with itself,
/// and not with what to write.
pub(super) fn matches(pattern: &str, message: &str) -> Value {
    rule(&format!("self.matches(r'{pattern}')"), message)
}

/// A DNS subdomain (RFC 1123), as Kubernetes names objects. Hosts of addresses have the same form.
pub(super) const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*";

/// A port from 1 to 65535.
pub(super) const PORT: &str =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/// A GUID.
pub(super) const GUID: &str = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";

/// Returns the rule for the name of another object.
pub(super) fn name_rule() -> Value {
    matches(
        &format!("^{SUBDOMAIN}$"),
        "must be the name of an object: a-z, 0-9, - and ., starting and ending with a letter or digit",
    )
}

/// Returns the rule for a key in the data of a `ConfigMap` or Secret.
pub(super) fn key_rule(example: &str) -> Value {
    matches(
        "^[-._a-zA-Z0-9]+$",
        &format!(
            "must be a key in the data of the object: letters, digits, -, _ and ., for example {example}"
        ),
    )
}

/// Returns the rule for a list of scopes in one text.
pub(super) fn scope_rule() -> Value {
    matches(
        "^[!-~]+( [!-~]+)*$",
        "must be scopes of ASCII characters with one space between two of them, for example api://<id>/.default",
    )
}

/// Returns the rules for the address of Entra or Azure DevOps.
pub(super) fn https_origin_rules(field: &str) -> Value {
    json!([
        matches(
            &format!("^https://{SUBDOMAIN}(:{PORT})?$"),
            &format!(
                "{field} must be https://<host>[:port] in lower case, without path or trailing slash, the port at most 65535"
            ),
        ),
        rule(
            "!self.endsWith(':443')",
            &format!("{field} must leave out :443, the default port of https"),
        ),
    ])
}

/// Maximum length of a string inside an embedded Kubernetes type that sets no limit of its own.
const STRING: u32 = 4096;

/// Maximum number of items or keys inside an embedded Kubernetes type.
const ITEMS: u32 = 64;

/// Returns the schema of an embedded Kubernetes type, with a limit for each string and list, because CEL has a cost limit
/// and etcd a size limit. Each description is cut to its first sentence.
pub(super) fn embedded<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    if let Some(object) = schema.as_object_mut() {
        bound(object);
    }
    schema
}

/// Returns the schema of a list of [`embedded`] items.
pub(super) fn embedded_list<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let items = embedded::<T>(generator);
    schemars::json_schema!({"type": "array", "maxItems": ITEMS, "items": items})
}

/// Returns the schema of a map from names to texts, such as labels and annotations.
pub(super) fn text_map(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": ITEMS,
        "additionalProperties": {"type": "string", "maxLength": STRING},
    })
}

/// Descriptions of Kubernetes whose first sentence does not say what a field is: the field, the start of that sentence,
/// and the text that replaces it.
const SENTENCES: [(&str, &str, &str); 9] = [
    (
        "nodeSelectorTerms",
        "Required.",
        "The terms of the selector. A node must match at least one of them.",
    ),
    (
        "podAffinityTerm",
        "Required.",
        "The Pods that the preference is about, and the nodes that count as near to them.",
    ),
    (
        "values",
        "An array of string values.",
        "The values to compare with: any number for In and NotIn, one integer for Gt and Lt, none for Exists and DoesNotExist.",
    ),
    (
        "values",
        "values is an array of string values.",
        "The values to compare with: any number for In and NotIn, none for Exists and DoesNotExist.",
    ),
    (
        "value",
        "Variable references",
        "The value of the variable. A reference $(NAME) to an earlier variable is expanded.",
    ),
    ("name", "Name of the referent.", "The name of the ConfigMap."),
    (
        "key",
        "The key to select.",
        "The key in the data of the ConfigMap.",
    ),
    (
        "resource",
        "Required:",
        "The resource to select, for example limits.memory.",
    ),
    (
        "containerName",
        "Container name:",
        "The name of the container. By default the server's own.",
    ),
];

/// Replaces a description that does not say what its field is.
fn explain(field: &str, schema: &mut Map<String, Value>) {
    let Some(Value::String(description)) = schema.get_mut("description") else {
        return;
    };
    let ours = SENTENCES
        .iter()
        .find(|(name, start, _)| *name == field && description.starts_with(start));
    if let Some((_, _, sentence)) = ours {
        (*sentence).clone_into(description);
    }
}

fn bound(schema: &mut Map<String, Value>) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = first_sentence(description);
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => {
            schema.entry("maxLength").or_insert(json!(STRING));
        }
        Some("array") => {
            schema.entry("maxItems").or_insert(json!(ITEMS));
        }
        Some("object") if schema.contains_key("additionalProperties") => {
            schema.entry("maxProperties").or_insert(json!(ITEMS));
        }
        _ => {}
    }
    for key in ["items", "additionalProperties"] {
        if let Some(Value::Object(child)) = schema.get_mut(key) {
            bound(child);
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for (field, child) in properties {
            if let Some(child) = child.as_object_mut() {
                bound(child);
                explain(field, child);
            }
        }
    }
}

/// The first sentence of an upstream description, with its full stop. Upstream breaks lines anywhere, and some
/// descriptions are no sentence.
fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let mut sentence = String::new();
    for word in paragraph.split_whitespace() {
        if !sentence.is_empty() {
            sentence.push(' ');
        }
        sentence.push_str(word);
        let abbreviation = ["e.g.", "i.e.", "etc."].iter().any(|end| word.ends_with(end));
        let open = sentence.matches('(').count() > sentence.matches(')').count();
        if word.ends_with('.') && !abbreviation && !open {
            return sentence;
        }
    }
    // A list follows, or a line break replaces the full stop.
    let mut sentence = sentence.trim_end_matches([':', ',']).to_owned();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Affinity, EnvVar};

    use super::*;

    fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
        let Some(object) = schema.as_object() else { return };
        let bound = match object.get("type").and_then(Value::as_str) {
            Some("string") if !object.contains_key("enum") => Some("maxLength"),
            Some("array") => Some("maxItems"),
            Some("object") if object.contains_key("additionalProperties") => Some("maxProperties"),
            _ => None,
        };
        if bound.is_some_and(|bound| !object.contains_key(bound)) {
            found.push(path.to_owned());
        }
        for (key, child) in object
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            unbounded(child, &format!("{path}.{key}"), found);
        }
        for key in ["items", "additionalProperties"] {
            if let Some(child) = object.get(key) {
                unbounded(child, &format!("{path}[]"), found);
            }
        }
    }

    #[test]
    fn bounds_everything_inside_embedded_types() {
        let mut generator = schemars::generate::SchemaSettings::openapi3()
            .with(|settings| settings.inline_subschemas = true)
            .into_generator();
        for schema in [
            embedded::<EnvVar>(&mut generator),
            embedded::<Affinity>(&mut generator),
        ] {
            let mut found = Vec::new();
            unbounded(schema.as_value(), "", &mut found);
            assert_eq!(found, Vec::<String>::new());
        }
    }

    #[test]
    fn keeps_the_first_sentence_whole() {
        for (text, sentence) in [
            ("One. Two.", "One."),
            ("One\n\nTwo", "One."),
            ("One over\ntwo lines. Two.", "One over two lines."),
            (
                "One (e.g. due to an update) is whole. Two.",
                "One (e.g. due to an update) is whole.",
            ),
            ("One, e.g. this. Two.", "One, e.g. this."),
            ("One (a. b) is whole. Two.", "One (a. b) is whole."),
            ("Valid are:\n\n- one", "Valid are."),
        ] {
            assert_eq!(first_sentence(text), sentence);
        }
    }
}
