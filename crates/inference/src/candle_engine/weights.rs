//! Weights from safetensors, one file or sharded, checked against the shapes expected. Matrices keep
//! their format, all else is widened to F32. It never allocates more for a tensor than the file
//! holds bytes to justify.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::safetensors::SliceSafetensors;
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::linear::Weight;
use super::panels::Matrix;
use crate::card::WeightType;
use crate::load::error::LoadError;
use crate::load::files::{ModelFiles, WEIGHTS_LIMIT};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const SHARD_LIMIT: usize = 1024;

/// The tensors of a model, by name.
#[derive(Default)]
pub(crate) struct Weights {
    tensors: BTreeMap<String, Weight>,
    /// How many weights each format has.
    formats: BTreeMap<WeightType, u64>,
}

/// The shapes that a model needs: name and dimensions.
pub(crate) type Expected = BTreeMap<String, Vec<usize>>;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Reads exactly the tensors of `expected`; others in the files are ignored.
    pub(crate) fn load(files: &mut ModelFiles, expected: &Expected) -> Result<Self, LoadError> {
        let mut weights = Self::default();
        match files.optional_json::<Index>(INDEX)? {
            None => weights.read_file(files, SINGLE, expected)?,
            Some(index) => {
                for shard in shards(files, &index)? {
                    weights.read_file(files, &shard, expected)?;
                }
            }
        }
        match expected.iter().find(|(name, _)| !weights.tensors.contains_key(*name)) {
            None => Ok(weights),
            Some((name, shape)) => Err(wrong(name, &format!("{shape:?}"), "is missing")),
        }
    }

    /// The format that most weights have on disk.
    pub(crate) fn stored(&self) -> WeightType {
        let most = self.formats.iter().max_by_key(|(_, count)| **count);
        most.map_or(WeightType::F32, |(format, _)| *format)
    }

    /// Number of weights.
    pub(crate) fn parameters(&self) -> u64 {
        self.formats.values().sum()
    }

    /// Takes a tensor that was expected.
    pub(crate) fn take(&mut self, name: &str) -> Result<Weight, LoadError> {
        self.tensors.remove(name).ok_or_else(|| wrong(name, "there", "is missing"))
    }

    /// Takes a tensor that was expected, as F32.
    pub(crate) fn take_dense(&mut self, name: &str) -> Result<Tensor, LoadError> {
        match self.take(name)? {
            Weight::Vector(tensor) => Ok(tensor),
            Weight::Matrix(matrix) => {
                matrix.widened().map_err(|error| LoadError::OutOfMemory(error.to_string()))
            }
        }
    }

    /// Takes a tensor of two dimensions that was expected.
    pub(crate) fn take_matrix(&mut self, name: &str) -> Result<Matrix, LoadError> {
        match self.take(name)? {
            Weight::Matrix(matrix) => Ok(matrix),
            Weight::Vector(_) => Err(wrong(name, "a matrix", "is a vector")),
        }
    }

    /// Adds a tensor; the result tells whether it is new.
    pub(crate) fn insert(&mut self, name: &str, weight: Weight, format: WeightType) -> bool {
        let count = match &weight {
            Weight::Vector(tensor) => tensor.elem_count(),
            Weight::Matrix(matrix) => matrix.count(),
        };
        *self.formats.entry(format).or_default() += u64::try_from(count).unwrap_or(u64::MAX);
        self.tensors.insert(name.to_owned(), weight).is_none()
    }

    fn read_file(
        &mut self,
        files: &mut ModelFiles,
        file: &str,
        expected: &Expected,
    ) -> Result<(), LoadError> {
        let content = files.read(file, WEIGHTS_LIMIT)?;
        let parsed = SliceSafetensors::new(&content)
            .map_err(|error| files.malformed(file, &error.to_string()))?;
        let present: BTreeMap<String, String> =
            parsed.tensors().into_iter().map(|(name, _)| (canonical(&name), name)).collect();
        for (name, shape) in expected {
            let Some(stored) = present.get(name) else { continue };
            let view =
                parsed.get(stored).map_err(|error| files.malformed(file, &error.to_string()))?;
            if view.shape() != shape.as_slice() {
                return Err(wrong(name, &format!("{shape:?}"), &format!("is {:?}", view.shape())));
            }
            let dtype = DType::try_from(view.dtype());
            let dtype = dtype.map_err(|error| files.malformed(file, &error.to_string()))?;
            let format = weight_type(name, dtype)?;
            let weight = match shape.as_slice() {
                [outputs, inputs] => {
                    Weight::Matrix(Matrix::new(format, view.data(), (*outputs, *inputs))?)
                }
                _ => {
                    let loaded = parsed.load(stored, &Device::Cpu);
                    let loaded =
                        loaded.map_err(|error| files.malformed(file, &error.to_string()))?;
                    let widened = loaded.to_dtype(DType::F32);
                    Weight::Vector(
                        widened.map_err(|error| LoadError::OutOfMemory(error.to_string()))?,
                    )
                }
            };
            if !self.insert(name, weight, format) {
                return Err(files.malformed(file, &format!("tensor `{name}` is in two files")));
            }
        }
        Ok(())
    }
}

/// The name without the part that says which model around it a tensor belongs to: one that also
/// sees, or one with a head for another task.
fn canonical(name: &str) -> String {
    match name.strip_prefix("model.language_model.") {
        Some(rest) => format!("model.{rest}"),
        None => ["language_model.", "bert."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .unwrap_or(name)
            .to_owned(),
    }
}

fn weight_type(name: &str, dtype: DType) -> Result<WeightType, LoadError> {
    match dtype {
        DType::F32 => Ok(WeightType::F32),
        DType::F16 => Ok(WeightType::F16),
        DType::BF16 => Ok(WeightType::Bf16),
        other => Err(wrong(name, "f32, f16 or bf16", &format!("is {}", other.as_str()))),
    }
}

/// The shard files an index names: plain names in the same directory.
fn shards(files: &ModelFiles, index: &Index) -> Result<BTreeSet<String>, LoadError> {
    let shards: BTreeSet<String> = index.weight_map.values().cloned().collect();
    if shards.is_empty() || shards.len() > SHARD_LIMIT {
        return Err(files.malformed(INDEX, &format!("it names {} files", shards.len())));
    }
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    match shards.iter().find(|name| !name.ends_with(".safetensors") || !name.chars().all(plain)) {
        None => Ok(shards),
        Some(name) => {
            Err(files.malformed(INDEX, &format!("`{name}` is not the name of a weights file")))
        }
    }
}

pub(crate) fn wrong(tensor: &str, expected: &str, found: &str) -> LoadError {
    LoadError::WrongTensor {
        tensor: tensor.to_owned(),
        expected: expected.to_owned(),
        found: found.to_owned(),
    }
}
