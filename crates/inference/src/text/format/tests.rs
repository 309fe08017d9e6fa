//! Schemas that are followed and schemas that are refused, with the tokenizer of the parity
//! fixture; a generator of random tokens stands for the worst of models.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::load::files::ModelFiles;
use crate::request::Sampling;
use crate::sampler::{History, TokenSet, sample};
use crate::text::codec::Codec;

fn codec() -> Codec {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llama3");
    Codec::load(&mut ModelFiles::open(&directory).unwrap()).unwrap()
}

/// Waits for what is going on; the limits of a constraint end the wait.
fn settle(constraint: &mut Constraint) -> Result<&TokenSet, GenerateError> {
    while !constraint.is_settled(Instant::now() + Duration::from_millis(100)) {}
    constraint.allowed()
}

fn constraint_after(
    codec: &Codec,
    schema: &str,
    after: &[u32],
) -> Result<Constraint, GenerateError> {
    let format = ResponseFormat::JsonSchema(schema.to_owned());
    let mut constraint = codec.constraint(&format, after)?.expect("a schema is a constraint");
    settle(&mut constraint)?;
    Ok(constraint)
}

fn constraint(codec: &Codec, schema: &Value) -> Result<Constraint, GenerateError> {
    constraint_after(codec, &schema.to_string(), &[])
}

/// What a model writes that likes all tokens alike; `None` if it has not come to an end.
fn scribble(codec: &Codec, schema: &Value, seed: u64, most: usize) -> Option<String> {
    let mut constraint = constraint(codec, schema).unwrap();
    let (mut history, mut tokens) = (History::default(), Vec::new());
    let logits = vec![0.0; codec.vocabulary()];
    let sampling = Sampling { seed, ..Sampling::default() };
    for _ in 0..most {
        let allowed = settle(&mut constraint).unwrap();
        let token = sample(&logits, &history, &sampling, Some(allowed)).unwrap();
        if codec.is_end(token) {
            return Some(codec.decode(&tokens).unwrap());
        }
        history.push(token);
        constraint.accept(token);
        tokens.push(token);
    }
    None
}

#[test]
fn random_tokens_make_documents_that_the_schema_accepts() {
    let codec = codec();
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "maxLength": 12 },
            "age": { "type": "integer", "minimum": 0, "maximum": 120 },
            "kind": { "enum": ["agave", "saguaro", "opuntia \u{1f335}"] },
            "spines": { "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 3 },
            "home": { "$ref": "#/$defs/place" },
        },
        "required": ["name", "age", "kind", "spines", "home"],
        "additionalProperties": false,
        "$defs": { "place": { "type": "object", "properties": { "x": { "type": "null" } },
            "required": ["x"], "additionalProperties": false } },
    });
    for seed in 0..60 {
        let text = scribble(&codec, &schema, seed, 2000).expect("every part is bounded");
        let document: Value =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let fields: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["name", "age", "kind", "spines", "home"], "{text}");
        assert!(document["name"].as_str().unwrap().chars().count() <= 12, "{text}");
        assert!((0..=120).contains(&document["age"].as_i64().unwrap()), "{text}");
        assert!(["agave", "saguaro", "opuntia 🌵"].contains(&document["kind"].as_str().unwrap()));
        let spines = document["spines"].as_array().unwrap();
        assert!((1..=3).contains(&spines.len()) && spines.iter().all(Value::is_boolean), "{text}");
        assert_eq!(document["home"], json!({ "x": null }));
    }
}

#[test]
fn white_space_comes_to_an_end() {
    let codec = codec();
    let schema = json!({ "type": "array", "items": { "const": 1 }, "minItems": 3, "maxItems": 3 });
    for seed in 0..40 {
        let text = scribble(&codec, &schema, seed, 400).expect("white space is bounded");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), json!([1, 1, 1]));
    }
}

#[test]
fn plain_text_has_no_constraint_and_an_object_begins_with_a_brace() {
    let codec = codec();
    assert!(codec.constraint(&ResponseFormat::Text, &[]).unwrap().is_none());
    let mut object = codec.constraint(&ResponseFormat::JsonObject, &[]).unwrap().unwrap();
    let allowed = settle(&mut object).unwrap().clone();
    let tokens = |text: &str| codec.tokenise(text, false).unwrap();
    assert!(allowed.contains(tokens("{")[0]));
    assert!(!allowed.contains(tokens("[")[0]) && !allowed.contains(tokens("a")[0]));
    object.accept(tokens("a")[0]);
    assert!(matches!(settle(&mut object), Err(GenerateError::BadRequest(_))));
    let written = tokens(r#"{"a": 1"#);
    let mut resumed = constraint_after(&codec, r#"{"type": "object"}"#, &written).unwrap();
    assert!(settle(&mut resumed).unwrap().contains(tokens("}")[0]));
    assert!(constraint_after(&codec, r#"{"type": "object"}"#, &tokens("[")).is_err());
}

/// A schema that many of these nest, from the inside out.
fn nested(depth: usize, wrap: impl Fn(Value) -> Value) -> Value {
    (0..depth).fold(json!({ "type": "null" }), |inner, _| wrap(inner))
}

/// Each definition offers the next one twice: as a tree it would have 2^`depth` leaves.
fn doubling(depth: usize) -> Value {
    let definition = |level: usize| {
        let next = json!({ "$ref": format!("#/$defs/d{}", level + 1) });
        let body = json!({ "anyOf": [next, { "type": "array", "items": next }] });
        (format!("d{level}"), body)
    };
    let mut definitions: serde_json::Map<_, _> = (0..depth).map(definition).collect();
    definitions.insert(format!("d{depth}"), json!({ "type": "null" }));
    json!({ "$ref": "#/$defs/d0", "$defs": definitions })
}

/// Definitions that each refer to the next.
fn chain(length: usize) -> Value {
    let link = |n: usize| (format!("d{n}"), json!({ "$ref": format!("#/$defs/d{}", n + 1) }));
    let mut definitions: serde_json::Map<_, _> = (0..length).map(link).collect();
    definitions.insert(format!("d{length}"), json!({ "type": "null" }));
    json!({ "$ref": "#/$defs/d0", "$defs": definitions })
}

/// Objects that can only be told apart at their very end.
fn alternations(levels: usize) -> Value {
    (0..levels).fold(json!({ "type": "null" }), |inner, level| {
        let field = |kind: &str| {
            json!({ "type": "object", "required": ["a", "z"], "properties": {
            "a": inner, "z": { "const": format!("{kind}{level}") } } })
        };
        json!({ "anyOf": [field("x"), { "$ref": "#" }, { "type": "array", "items": inner }] })
    })
}

/// Patterns that only together are hard.
fn intersected(count: usize) -> Value {
    let part = |index: usize| json!({ "pattern": format!("(.{{{index}}}a|b)*") });
    json!({ "allOf": (1..=count).map(part).collect::<Vec<_>>(), "type": "string" })
}

#[test]
fn hostile_and_unsupported_schemas_are_refused_or_followed_in_bounded_time() {
    let codec = codec();
    let many = |count: usize, schema: &dyn Fn(usize) -> Value| {
        let properties = (0..count).map(|index| (format!("p{index}"), schema(index)));
        json!({ "type": "object", "properties": properties.collect::<serde_json::Map<_, _>>() })
    };
    let hostile = [
        nested(60, |inner| json!({ "type": "array", "items": inner })),
        doubling(40),
        json!({ "$ref": "#" }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "$ref": "http://example.com/schema.json" }),
        json!({ "type": "string", "pattern": "(a|a)*(b|b)*(c|c)*((a|b|c){1,500}){1,500}$" }),
        json!({ "type": "string", "pattern": "^(([a-z]{1,50}){1,50}){1,50}$" }),
        json!({ "type": "string", "pattern": "(?=look)ahead" }),
        json!({ "type": "string", "pattern": "(((" }),
        json!({ "type": "string", "minLength": 1_000_000_000, "maxLength": 2_000_000_000 }),
        json!({ "type": "array", "items": { "type": "integer" }, "minItems": 1_000_000_000 }),
        json!({ "type": "integer", "minimum": 10, "maximum": 1 }),
        json!({ "type": "integer", "multipleOf": 0 }),
        json!({ "type": "number", "multipleOf": 1e-300 }),
        json!({ "type": "nonsense" }),
        json!({ "not": { "type": "string" } }),
        json!({ "x-guidance": { "lenient": true } }),
        json!([1, 2]),
        many(
            1500,
            &|index| json!({ "type": "integer", "minimum": index, "maximum": index + 7919 }),
        ),
        many(600, &|index| json!({ "type": "string", "pattern": format!("^[a-f]{{{index}}}$") })),
        // Long chains and deep trees, which go down the stack of whoever follows them.
        chain(900),
        nested(31, |inner| json!({ "anyOf": [inner, { "type": "integer" }] })),
        nested(31, |inner| json!({ "allOf": [inner] })),
        nested(31, |inner| json!({ "type": "object", "properties": { "a": inner } })),
        json!({ "type": "string", "pattern": format!("{}a{}", "(".repeat(8000), ")".repeat(8000)) }),
        json!({ "type": "string", "pattern": "a?".repeat(4000) + &"a".repeat(4000) }),
        json!({ "type": "string", "pattern": format!("^({})$", vec!["[a-z]+x"; 2000].join("|")) }),
        json!({ "enum": (0..6000).map(|n| format!("value {}", n * 7919)).collect::<Vec<_>>() }),
        json!({ "anyOf": (0..900).map(|n| json!({ "const": "ab".repeat(n % 30) })).collect::<Vec<_>>() }),
        alternations(12),
        json!({ "type": "object", "additionalProperties": { "$ref": "#" },
            "patternProperties": { "^(a|b)*$": { "$ref": "#" } } }),
        json!({ "type": "array", "prefixItems": vec![json!({ "$ref": "#" }); 500] }),
        json!({ "type": "object", "required": (0..3000).map(|n| n.to_string()).collect::<Vec<_>>() }),
        intersected(59),
        intersected(2),
    ];
    for schema in hostile {
        let started = Instant::now();
        let outcome = constraint(&codec, &schema).and_then(|mut constraint| {
            // Whatever was accepted must also be followed in bounded time.
            for _ in 0..50 {
                let allowed = settle(&mut constraint)?;
                let token = (0..).take(codec.vocabulary()).find(|token| allowed.contains(*token));
                let Some(token) = token.filter(|token| !codec.is_end(*token)) else { break };
                constraint.accept(token);
            }
            Ok(())
        });
        let took = started.elapsed();
        let mut shown = schema.to_string();
        shown.truncate(shown.floor_char_boundary(120));
        assert!(took < Duration::from_secs(5), "{took:?} for {shown}");
        if let Err(error) = outcome {
            assert!(matches!(error, GenerateError::BadRequest(_)), "{error:?} for {shown}");
        }
    }
    let deep = "[".repeat(30_000);
    for text in ["", "{", "nul", deep.as_str(), "{} {}", "false", "\"string\""] {
        let refused = constraint_after(&codec, text, &[]);
        assert!(matches!(refused, Err(GenerateError::BadRequest(_))), "{text}");
    }
}

#[test]
fn a_schema_of_too_many_levels_or_values_is_refused_before_it_is_compiled() {
    let codec = codec();
    let deep = nested(70, |inner| json!({ "items": inner }));
    let wide = json!({ "enum": vec![0; 20_000] });
    for (schema, words) in [(deep, "levels"), (wide, "values")] {
        let format = ResponseFormat::JsonSchema(schema.to_string());
        match codec.constraint(&format, &[]) {
            Err(GenerateError::BadRequest(reason)) => assert!(reason.contains(words), "{reason}"),
            _ => panic!("it should be refused at once"),
        }
    }
}
