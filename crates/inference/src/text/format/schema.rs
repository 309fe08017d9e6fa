//! What of a JSON schema can be known before it is compiled: its size, its depth and whether it asks
//! for intersections of patterns. It never follows a reference.

use serde_json::{Map, Value, json};

use super::refusal;
use crate::request::GenerateError;

/// The longest run of white space between two parts of a document: without a bound a model could
/// fill its answer with it.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,32}";
/// Expressions that may have to hold at once. The work on an intersection grows with the product of
/// its parts, and the library's limits do not bound it well.
const MOST_INTERSECTED: usize = 2;
/// Levels of nesting: the library goes down them on the stack.
const MOST_LEVELS: usize = 64;
/// Values in a schema, keys and members of an `enum` among them.
const MOST_VALUES: usize = 16_384;
/// Options of the grammar library that a schema could carry; they are ours to set.
const OPTIONS: &str = "x-guidance";

/// A schema that is worth compiling.
///
/// # Errors
/// [`GenerateError::BadRequest`] saying what is too much.
pub(super) fn parse(schema: &str) -> Result<Value, GenerateError> {
    let mut schema = match serde_json::from_str(schema) {
        Ok(Value::Object(schema)) => schema,
        Ok(Value::Bool(true)) => Map::new(),
        Ok(_) => return Err(refusal("it is not an object")),
        Err(error) => return Err(refusal(&error.to_string())),
    };
    if schema.contains_key(OPTIONS) {
        return Err(refusal(&format!("`{OPTIONS}` is not part of JSON Schema")));
    }
    let mut found = Extent { joined: Extent::extends(&schema), ..Extent::default() };
    schema.iter().for_each(|(key, value)| found.count(key, value, 1));
    found.check()?;
    schema.insert(OPTIONS.to_owned(), json!({ "whitespace_pattern": WHITE_SPACE }));
    Ok(Value::Object(schema))
}

/// How much there is of what costs work.
#[derive(Default)]
struct Extent {
    values: usize,
    levels: usize,
    patterns: usize,
    /// Whether anything makes several patterns hold at once.
    joined: bool,
}

impl Extent {
    /// Nesting is bounded by the parser of JSON.
    fn count(&mut self, key: &str, value: &Value, level: usize) {
        self.values += 1;
        self.levels = self.levels.max(level);
        match key {
            "pattern" => self.patterns += 1,
            "allOf" => self.joined = true,
            "patternProperties" => {
                self.patterns += value.as_object().map_or(0, Map::len);
                self.joined = true;
            }
            _ => {}
        }
        match value {
            Value::Object(fields) => {
                self.joined |= Self::extends(fields);
                fields.iter().for_each(|(key, value)| self.count(key, value, level + 1));
            }
            Value::Array(items) => items.iter().for_each(|item| self.count("", item, level + 1)),
            _ => {}
        }
    }

    /// A reference with something beside it is both at once.
    fn extends(fields: &Map<String, Value>) -> bool {
        fields.contains_key("$ref") && fields.contains_key("pattern")
    }

    fn check(&self) -> Result<(), GenerateError> {
        if self.levels > MOST_LEVELS {
            return Err(refusal(&format!("it has more than {MOST_LEVELS} levels")));
        }
        if self.values > MOST_VALUES {
            return Err(refusal(&format!("it has more than {MOST_VALUES} values")));
        }
        if self.joined && self.patterns > MOST_INTERSECTED {
            return Err(refusal("more than two patterns beside `allOf` or extended references"));
        }
        Ok(())
    }
}
