//! The JSON schemas of the tools, in the form that all known clients accept: without `null` beside a type and without
//! number formats.

use std::sync::Arc;

use rmcp::handler::server::tool::schema_for_output;
use rmcp::model::{JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};

/// Returns the schema of a tool's answer. A tool leaves absent members out, so `null` is not a valid value.
pub(crate) fn output<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    let mut schema = Value::Object((*schema_for_output::<T>()).clone());
    tidy(&mut schema);
    match schema {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::default(),
    }
}

/// Returns the schema of a tool's arguments from their properties and the names of the required ones.
pub(crate) fn input(properties: Value, required: &[&str]) -> Arc<JsonObject> {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), properties);
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    schema.insert("additionalProperties".to_owned(), false.into());
    Arc::new(schema)
}

/// Returns the annotations of a tool that changes nothing.
pub(crate) fn read_only(title: &str) -> ToolAnnotations {
    ToolAnnotations::with_title(title)
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(true)
}

/// Returns the schema of the argument `top`, which [`super::tool::top`] reads. `items` is the plural of what the tool lists.
pub(crate) fn top(items: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 50, "default": 20, "description": format!("Maximum number of {items}.")})
}

/// Returns the schema of the argument `continuation_token` of a tool that lists.
pub(crate) fn continuation_token() -> Value {
    json!({
        "type": "string",
        "description": "The value of an earlier answer, to continue the list. All other arguments must be the same.",
    })
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("format");
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".to_owned(), only);
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use crate::tools::{Projects, TOOLS};

    #[test]
    fn output_schemas_have_no_null_and_no_format() {
        let projects = Projects::default();
        for tool in TOOLS {
            let schema = tool.describe(&projects).output_schema.unwrap();
            let text = serde_json::to_string(&schema).unwrap();
            assert_eq!(schema["type"], "object");
            assert!(
                !text.contains("\"null\"") && !text.contains("\"format\""),
                "{text}"
            );
            assert!(text.contains("\"required\""));
        }
    }
}
