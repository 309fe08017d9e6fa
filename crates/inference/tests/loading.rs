//! Damaged and hostile model directories: a typed error, never a panic, never a huge allocation.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::{Path, PathBuf};

use cactus_inference::{
    CandleEngine, ChatMessage, CompleteError, EngineOptions, GenerateError, GenerateRequest,
    LoadError, LoadOptions, Model, Prompt,
};
use candle_core::{DType, Device, Tensor};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const FILES: [&str; 6] = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of the good fixture to damage.
fn copy() -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("model");
    std::fs::create_dir(&directory).unwrap();
    for file in FILES {
        std::fs::copy(fixture("llama3").join(file), directory.join(file)).unwrap();
    }
    (parent, directory)
}

fn load(directory: &Path) -> Result<Model, LoadError> {
    Model::load(LoadOptions { threads: Some(1), ..LoadOptions::new(directory) })
}

fn load_damaged(damage: impl FnOnce(&Path)) -> LoadError {
    let (_parent, directory) = copy();
    damage(&directory);
    load(&directory).err().expect("a damaged model was loaded")
}

fn load_with(file: &'static str, content: impl AsRef<[u8]>) -> LoadError {
    load_damaged(|directory| std::fs::write(directory.join(file), content).unwrap())
}

fn edited(file: &str, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value: Value =
        serde_json::from_slice(&std::fs::read(fixture("llama3").join(file)).unwrap()).unwrap();
    edit(&mut value);
    serde_json::to_vec(&value).unwrap()
}

fn with_config(key: &str, value: Value) -> LoadError {
    load_with("config.json", edited("config.json", |config| config[key] = value))
}

/// A safetensors file with this header and this many zero bytes of data.
fn weights(header: &Value, data: usize) -> Vec<u8> {
    let header = serde_json::to_vec(header).unwrap();
    let mut content = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    content.extend(header);
    content.resize(content.len() + data, 0);
    content
}

#[test]
fn the_revision_covers_every_file_and_nothing_else() {
    let (_parent, directory) = copy();
    let revision = || load(&directory).unwrap().card().revision;
    let original = revision();
    assert_eq!(revision(), original);
    std::fs::write(directory.join("README.md"), "not part of the model").unwrap();
    assert_eq!(revision(), original);
    for file in FILES {
        let path = directory.join(file);
        let content = std::fs::read(&path).unwrap();
        let mut changed = content.clone();
        if file == "model.safetensors" {
            *changed.last_mut().unwrap() ^= 1;
        } else {
            changed.push(b' ');
        }
        std::fs::write(&path, changed).unwrap();
        assert_ne!(revision(), original, "{file}");
        std::fs::write(&path, content).unwrap();
    }
    assert_eq!(revision(), original);
}

#[test]
fn the_card_says_what_the_files_hold() {
    let model = load(&fixture("llama3")).unwrap();
    let card = model.card();
    assert_eq!(
        (card.id.as_str(), card.context_length, card.dtype.to_string()),
        ("llama3", 128, "bf16".to_owned())
    );
    assert_eq!(
        card.parameters,
        288 * 48 + 48 + 2 * (2 * 48 + 2 * 64 * 48 + 2 * 32 * 48 + 3 * 64 * 48)
    );
}

#[test]
fn a_missing_file_is_named() {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let error = load_damaged(|directory| std::fs::remove_file(directory.join(file)).unwrap());
        assert!(
            matches!(&error, LoadError::Unreadable { path, .. } if path.ends_with(file)),
            "{error}"
        );
    }
    let error = load_damaged(|directory| {
        std::fs::remove_file(directory.join("chat_template.jinja")).unwrap()
    });
    assert!(matches!(error, LoadError::Unsupported(_)), "{error}");
    assert!(matches!(load(Path::new("/nonexistent")), Err(LoadError::Unreadable { .. })));
}

#[test]
fn garbage_truncation_and_directories_in_place_of_files_are_malformed() {
    for file in [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        let whole = std::fs::read(fixture("llama3").join(file)).unwrap();
        for content in [vec![], vec![0xff; 64], b"{}[".to_vec(), whole[..whole.len() / 2].to_vec()]
        {
            let error = load_with(file, &content);
            assert!(
                matches!(&error, LoadError::Malformed { path, .. } if path.ends_with(file)),
                "{file}: {error}"
            );
        }
    }
    let error = load_damaged(|directory| {
        std::fs::remove_file(directory.join("config.json")).unwrap();
        std::fs::create_dir(directory.join("config.json")).unwrap();
    });
    assert!(matches!(error, LoadError::Malformed { .. } | LoadError::Unreadable { .. }), "{error}");
    assert!(matches!(load_with("chat_template.jinja", "{% if %}"), LoadError::Malformed { .. }));
    assert!(matches!(load_with("chat_template.jinja", [0xff, 0xfe]), LoadError::Malformed { .. }));
}

#[test]
fn a_file_beyond_its_limit_is_not_read() {
    let error = load_damaged(|directory| {
        let file =
            std::fs::File::options().write(true).open(directory.join("config.json")).unwrap();
        file.set_len(1 << 40).unwrap();
    });
    assert!(matches!(error, LoadError::TooLarge { bytes, .. } if bytes == 1 << 40), "{error}");
}

#[test]
fn impossible_configurations_are_refused_before_any_weight_is_read() {
    let cases = [
        ("vocab_size", json!(0)),
        ("vocab_size", json!(4_294_967_295_u32)),
        ("hidden_size", json!(-1)),
        ("hidden_size", json!(1_000_000_000)),
        ("num_hidden_layers", json!(1_000_000)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("head_dim", json!(15)),
        ("head_dim", json!(1_000_000)),
        ("max_position_embeddings", json!(0)),
        ("max_position_embeddings", json!(4_000_000_000_u32)),
        ("rms_norm_eps", json!(-1.0)),
        ("rope_parameters", json!({"rope_type": "llama3", "rope_theta": 10000.0})),
        ("rope_parameters", json!({"rope_type": "linear", "factor": 0.0})),
        ("rope_parameters", json!({"rope_theta": -5.0})),
        ("rope_parameters", json!({"rope_type": "yarn", "factor": -1.0})),
        ("rope_parameters", json!({"rope_type": "longrope", "long_factor": [1.0]})),
        ("rope_parameters", json!({"partial_rotary_factor": 0.0})),
        ("rope_parameters", json!({"partial_rotary_factor": 1e30})),
    ];
    for (key, value) in cases {
        let error = with_config(key, value.clone());
        assert!(matches!(error, LoadError::Malformed { .. }), "{key} = {value}: {error}");
    }
    for (key, value) in [
        ("model_type", json!("mamba")),
        ("hidden_act", json!("gelu")),
        ("rope_parameters", json!({"rope_type": "dynamic", "factor": 4.0})),
    ] {
        let error = with_config(key, value.clone());
        assert!(matches!(error, LoadError::Unsupported(_)), "{key} = {value}: {error}");
    }
}

#[test]
fn layers_and_windows_that_contradict_each_other_are_refused() {
    let qwen = |edit: fn(&mut Value)| {
        load_with(
            "config.json",
            edited("config.json", |config| {
                config["model_type"] = json!("qwen3");
                config["use_sliding_window"] = json!(true);
                config["sliding_window"] = json!(4);
                edit(config);
            }),
        )
    };
    for edit in [
        (|config| config["sliding_window"] = json!(0)) as fn(&mut Value),
        |config| config["layer_types"] = json!(["full_attention"]),
        |config| config["num_hidden_layers"] = json!(1025),
    ] {
        let error = qwen(edit);
        assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
    }
    let error = qwen(|config| config["layer_types"] = json!(["full_attention", "mamba"]));
    assert!(matches!(error, LoadError::Unsupported(_)), "{error}");
}

#[test]
fn old_and_new_names_of_a_setting_may_stand_side_by_side() {
    let (_parent, directory) = copy();
    let both = edited("config.json", |config| {
        config["torch_dtype"] = json!("bfloat16");
        config["hidden_activation"] = json!("silu");
        config["rope_parameters"]["type"] = json!("llama3");
        config["rope_scaling"] = config["rope_parameters"].clone();
    });
    std::fs::write(directory.join("config.json"), both).unwrap();
    assert!(load(&directory).is_ok());
}

#[test]
fn a_family_that_is_not_served_is_refused_with_those_that_are() {
    let error = with_config("model_type", json!("mamba")).to_string();
    for name in ["mamba", "llama", "mistral", "qwen2", "qwen3", "gemma3", "phi3", "bert"] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn weights_of_another_shape_or_type_or_none_at_all_are_named() {
    for (key, value) in [
        ("hidden_size", 64),
        ("num_hidden_layers", 3),
        ("intermediate_size", 65),
        ("vocab_size", 300),
    ] {
        let error = with_config(key, json!(value));
        assert!(matches!(error, LoadError::WrongTensor { .. }), "{key} = {value}: {error}");
    }
    let biased = with_config("attention_bias", json!(true));
    assert!(
        matches!(&biased, LoadError::WrongTensor { tensor, .. } if tensor.ends_with("proj.bias")),
        "{biased}"
    );
    let untied = with_config("tie_word_embeddings", json!(false));
    assert!(
        matches!(&untied, LoadError::WrongTensor { tensor, .. } if tensor == "lm_head.weight"),
        "{untied}"
    );
    let integers =
        json!({"model.norm.weight": {"dtype": "I64", "shape": [48], "data_offsets": [0, 384]}});
    let error = load_with("model.safetensors", weights(&integers, 384));
    assert!(
        matches!(&error, LoadError::WrongTensor { tensor, .. } if tensor == "model.norm.weight"),
        "{error}"
    );
}

#[test]
fn lying_weight_headers_are_malformed() {
    let huge = u64::MAX;
    let headers = [
        json!({"model.norm.weight": {"dtype": "F32", "shape": [48], "data_offsets": [0, 10]}}),
        json!({"model.norm.weight": {"dtype": "F32", "shape": [huge, huge], "data_offsets": [0, 192]}}),
        json!({"model.norm.weight": {"dtype": "F32", "shape": [48], "data_offsets": [192, 0]}}),
        json!({"model.norm.weight": {"dtype": "F32", "shape": [48], "data_offsets": [1_000_000, 1_000_192]}}),
        json!({"model.norm.weight": {"dtype": "Q9", "shape": [48], "data_offsets": [0, 192]}}),
    ];
    for header in headers {
        let error = load_with("model.safetensors", weights(&header, 192));
        assert!(matches!(error, LoadError::Malformed { .. }), "{header}: {error}");
    }
    let error = load_with("model.safetensors", [&[0xff; 7][..], &[0x7f], b"{}"].concat());
    assert!(matches!(error, LoadError::Malformed { .. }), "{error}");
}

#[test]
fn an_index_cannot_reach_out_of_the_directory() {
    for name in ["../model/model.safetensors", "/etc/passwd", "model.bin", "", "a/b.safetensors"] {
        let index = json!({"weight_map": {"model.norm.weight": name}});
        let error = load_with("model.safetensors.index.json", serde_json::to_vec(&index).unwrap());
        assert!(matches!(&error, LoadError::Malformed { .. }), "{name}: {error}");
    }
}

#[test]
fn a_tokenizer_larger_than_the_vocabulary_is_refused() {
    let tokenizer =
        edited("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["zzzz"] = json!(288));
    let error = load_with("tokenizer.json", tokenizer);
    assert!(
        matches!(&error, LoadError::Malformed { path, .. } if path.ends_with("tokenizer.json")),
        "{error}"
    );
}

#[test]
fn a_model_that_no_machine_holds_is_refused_before_it_is_read() {
    let error = with_config("vocab_size", json!(1 << 20));
    assert!(matches!(error, LoadError::WrongTensor { .. }), "{error}");
    let huge = edited("config.json", |config| {
        for key in ["vocab_size", "hidden_size", "intermediate_size"] {
            config[key] = json!(1 << 20);
        }
        config["num_hidden_layers"] = json!(1024);
    });
    let error = load_with("config.json", huge);
    assert!(matches!(error, LoadError::OutOfMemory(_)), "{error}");
    for part in ["weights", "KV cache", "available", "quantised"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_model_is_served_under_the_name_that_is_given_or_that_of_its_directory() {
    let base = LoadOptions { threads: Some(1), ..LoadOptions::new(fixture("llama3")) };
    let id = Some("owner/name@v1.0".to_owned());
    let renamed = Model::load(LoadOptions { id: id.clone(), ..base.clone() }).unwrap();
    let plain = Model::load(base).unwrap();
    assert_eq!((Some(&renamed.card().id), plain.card().id.as_str()), (id.as_ref(), "llama3"));
    assert_eq!(renamed.card().revision, plain.card().revision, "a name is no part of the model");
}

#[test]
fn the_card_says_how_much_memory_is_taken() {
    let options = LoadOptions { slots: 2, ..LoadOptions::new(fixture("llama3")) };
    let model = Model::load(options).unwrap();
    let memory = model.card().memory;
    // Its bfloat16 stays as it is stored.
    assert_eq!(memory.weights, 2 * model.card().parameters);
    // Two layers, two slots of 128 positions, keys and values of two heads of sixteen.
    assert_eq!(memory.kv_cache, 2 * 2 * 128 * (2 * 2 * 16) * 4);
    assert!(memory.activations > 0 && memory.total() < 1 << 20);
}

#[tokio::test]
async fn weights_that_are_not_numbers_fail_their_own_sequence_only() {
    let (_parent, directory) = copy();
    let path = directory.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let table = tensors["model.embed_tokens.weight"].to_dtype(DType::F32).unwrap();
    tensors.insert("lm_head.weight".to_owned(), table.clone());
    let mut rows: Vec<Vec<f32>> = table.to_vec2().unwrap();
    let tokenizer = tokenizers::Tokenizer::from_file(directory.join("tokenizer.json")).unwrap();
    let broken = tokenizer.token_to_id("Z").unwrap();
    rows[usize::try_from(broken).unwrap()].fill(f32::NAN);
    tensors
        .insert("model.embed_tokens.weight".to_owned(), Tensor::new(rows, &Device::Cpu).unwrap());
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let untied = edited("config.json", |config| config["tie_word_embeddings"] = json!(false));
    std::fs::write(directory.join("config.json"), untied).unwrap();
    let model = load(&directory).unwrap();
    let answer = |content: &str| {
        let message = ChatMessage { role: "user".to_owned(), content: content.to_owned() };
        let request =
            GenerateRequest { max_tokens: 12, ..GenerateRequest::new(Prompt::Chat(vec![message])) };
        model.complete(request, CancellationToken::new())
    };
    let (good, bad, other) = tokio::join!(answer("the sun"), answer("Z"), answer("sand"));
    assert!(matches!(bad, Err(CompleteError::Failed(GenerateError::Internal(_)))), "{bad:?}");
    for completion in [good, other, answer("the sun").await] {
        assert!(completion.is_ok(), "{completion:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever a few changed bytes make of a file: it loads or is refused, and does not panic.
    #[test]
    fn no_change_of_a_few_bytes_makes_loading_panic(
        file in prop::sample::select(vec![
            "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
            "tokenizer_config.json", "chat_template.jinja",
        ]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        kept in any::<Option<prop::sample::Index>>(),
    ) {
        let (_parent, directory) = copy();
        let mut content = std::fs::read(directory.join(file)).unwrap();
        // The header of the weights is what is parsed; most of the file is numbers.
        let parsed = if file == "model.safetensors" { 2048 } else { content.len() };
        for (index, value) in changes {
            content[index.index(parsed)] = value;
        }
        if let Some(kept) = kept {
            content.truncate(kept.index(content.len()));
        }
        std::fs::write(directory.join(file), content).unwrap();
        let options = EngineOptions { threads: Some(1), kv_cache_bytes: Some(1 << 20), ..EngineOptions::new(1) };
        drop(CandleEngine::load(&directory, options));
        drop(load(&directory));
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let base = LoadOptions { threads: Some(1), ..LoadOptions::new(fixture("llama3")) };
    for options in [
        LoadOptions { id: Some(String::new()), ..base.clone() },
        LoadOptions { id: Some("a b".to_owned()), ..base.clone() },
        LoadOptions { id: Some("a".repeat(257)), ..base.clone() },
        LoadOptions { slots: 0, ..base.clone() },
        LoadOptions { slots: usize::MAX, ..base.clone() },
        LoadOptions { queue: 0, ..base.clone() },
        LoadOptions { threads: Some(0), ..base.clone() },
        LoadOptions { threads: Some(usize::MAX), ..base.clone() },
        LoadOptions { kv_cache_bytes: Some(0), ..base.clone() },
        LoadOptions { tokens_per_second_limit: Some(0.0), ..base.clone() },
        LoadOptions { tokens_per_second_limit: Some(f64::NAN), ..base },
    ] {
        let error = Model::load(options.clone()).err().expect("loaded");
        assert!(matches!(error, LoadError::InvalidOption(_)), "{options:?}: {error}");
    }
}
