//! Vectors against sentence-transformers, and the handle under load, cancellation and bad input.
#![allow(clippy::unwrap_used, reason = "a helper of a test may fail it")]

use std::path::{Path, PathBuf};

use cactus_inference::load::{ModelKind, kind};
use cactus_inference::{
    EmbedError, EmbeddingModel, Embeddings, LoadError, LoadOptions, MAX_INPUT_BYTES, MAX_INPUTS,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    tokens: Vec<u32>,
    vectors: Vec<Vec<f32>>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(directory: &Path) -> Result<EmbeddingModel, LoadError> {
    EmbeddingModel::load(LoadOptions { threads: Some(2), ..LoadOptions::new(directory) })
}

async fn embed(model: &EmbeddingModel, texts: &[String]) -> Result<Embeddings, EmbedError> {
    model.embed(texts.to_vec(), CancellationToken::new()).await
}

fn check_close(found: &[Vec<f32>], expected: &[Vec<f32>]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.len(), expected.len());
        let largest = expected.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let pairs = found.iter().zip(expected);
        let error = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest;
        assert!(error < 1e-4, "text {index}: relative error {error}");
    }
}

async fn check_parity(directory: &Path) {
    let expected = std::fs::read(directory.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let model = load(directory).unwrap();
    let together = embed(&model, &expected.texts).await.unwrap();
    assert_eq!(together.prompt_tokens, expected.tokens.iter().sum::<u32>());
    check_close(&together.vectors, &expected.vectors);
    for (index, text) in expected.texts.iter().enumerate() {
        let alone = embed(&model, std::slice::from_ref(text)).await.unwrap();
        assert_eq!(alone.prompt_tokens, expected.tokens[index], "text {index}");
        assert_eq!(alone.vectors[0], together.vectors[index], "text {index} alone");
    }
}

#[tokio::test]
async fn normalised_mean_pooling_equals_sentence_transformers() {
    check_parity(&fixture("bert-mean")).await;
}

#[tokio::test]
async fn cls_pooling_of_f16_weights_equals_sentence_transformers() {
    check_parity(&fixture("bert-cls")).await;
}

/// `tests/fixtures/make_embeddings.py --minilm` fetches the model and runs this.
#[tokio::test]
#[ignore = "needs the model that the script fetches"]
async fn the_real_minilm_equals_sentence_transformers() {
    let directory = std::env::var_os("CACTUS_EMBEDDER").expect("the script sets CACTUS_EMBEDDER");
    check_parity(Path::new(&directory)).await;
}

#[test]
fn the_card_and_the_kind_say_what_the_files_hold() {
    assert_eq!(kind(&fixture("bert-mean")).unwrap(), ModelKind::Embedding);
    assert_eq!(kind(&fixture("llama3")).unwrap(), ModelKind::Chat);
    let model = load(&fixture("bert-cls")).unwrap();
    let card = model.card();
    assert_eq!((model.dimensions(), card.context_length), (32, 40));
    assert_eq!((card.id.as_str(), card.dtype.to_string()), ("bert-cls", "f16".to_owned()));
}

#[tokio::test]
async fn many_requests_at_once_get_each_its_own_vectors() {
    let model = load(&fixture("bert-mean")).unwrap();
    let texts: Vec<Vec<String>> = (0..20_usize)
        .map(|request| (0..=request).map(|text| format!("sun {request} sand {text}")).collect())
        .collect();
    let together = futures::future::join_all(texts.iter().map(|texts| embed(&model, texts))).await;
    for (texts, together) in texts.iter().zip(together) {
        assert_eq!(embed(&model, texts).await.unwrap(), together.unwrap());
    }
}

#[tokio::test]
async fn requests_out_of_bounds_are_refused_and_cancelled_ones_end() {
    let model = load(&fixture("bert-mean")).unwrap();
    for texts in
        [vec![], vec![String::new(); MAX_INPUTS + 1], vec!["a".repeat(MAX_INPUT_BYTES / 2 + 1); 2]]
    {
        let refused = embed(&model, &texts).await;
        assert!(matches!(refused, Err(EmbedError::BadRequest(_))), "{refused:?}");
    }
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cancelled = model.embed(vec!["sun".to_owned(); 100], cancel).await;
    assert_eq!(cancelled, Err(EmbedError::Cancelled));
    assert!(embed(&model, &["sun".to_owned()]).await.is_ok());
}

/// A copy of the good fixture with one JSON file changed.
fn load_edited(file: &str, edit: impl FnOnce(&mut Value)) -> Result<EmbeddingModel, LoadError> {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("model");
    std::fs::create_dir_all(directory.join("1_Pooling")).unwrap();
    for entry in ["", "1_Pooling"] {
        for entry in std::fs::read_dir(fixture("bert-mean").join(entry)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(fixture("bert-mean")).unwrap();
                std::fs::copy(&path, directory.join(name)).unwrap();
            }
        }
    }
    let path = directory.join(file);
    let mut value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut value);
    std::fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
    load(&directory)
}

#[test]
fn damaged_or_foreign_embedders_are_refused() {
    type Edit = fn(&mut Value);
    let malformed: [(&str, Edit); 7] = [
        ("config.json", |config| config["hidden_size"] = json!(33)),
        ("config.json", |config| config["num_hidden_layers"] = json!(1_u64 << 40)),
        ("config.json", |config| config["layer_norm_eps"] = json!(-1.0)),
        ("config.json", |config| config["max_position_embeddings"] = json!(0)),
        ("modules.json", |modules| modules[1]["path"] = json!("../bert-cls/1_Pooling")),
        ("1_Pooling/config.json", |pooling| pooling["embedding_dimension"] = json!(31)),
        ("tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["zzzz"] = json!(4000)),
    ];
    for (file, edit) in malformed {
        let error = load_edited(file, edit).err().expect("loaded");
        assert!(matches!(error, LoadError::Malformed { .. }), "{file}: {error}");
    }
    let unsupported: [(&str, Edit); 4] = [
        ("config.json", |config| config["model_type"] = json!("roberta")),
        ("config.json", |config| config["position_embedding_type"] = json!("relative_key")),
        ("modules.json", |modules| modules[1]["type"] = json!("models.Dense")),
        ("1_Pooling/config.json", |pooling| pooling["pooling_mode"] = json!("lasttoken")),
    ];
    for (file, edit) in unsupported {
        let error = load_edited(file, edit).err().expect("loaded");
        assert!(matches!(error, LoadError::Unsupported(_)), "{file}: {error}");
    }
    let error = load_edited("config.json", |config| config["intermediate_size"] = json!(50));
    let error = error.err().expect("loaded");
    assert!(matches!(error, LoadError::WrongTensor { .. }), "{error}");
}
