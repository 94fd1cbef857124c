//! The JSON Schema of profiles, made from the types that read them: for editors, which complete and check with it.

use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::schema::ProfileFile;

/// What every file has to say; a profile that stands in a lab's file needs less.
const REQUIRED: [&str; 8] = ["schema", "id", "vendor", "status", "sources", "engine", "channel", "test"];

/// The JSON Schema of a file of `devices/`.
pub fn json_schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<ProfileFile>());
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("mbe-bridge device profile"));
        root.insert("required".to_owned(), json!(REQUIRED));
    }
    schema
}
