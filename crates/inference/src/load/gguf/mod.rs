//! GGUF files (versions 2 and 3): metadata and tensors, every length checked against the bytes that
//! are there before anything is allocated. It never interprets what the metadata says.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>

mod as_files;
mod reader;
mod sentencepiece;
mod tokenizer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use self::as_files::as_file;
use self::reader::Reader;
use crate::load::format::Format;

const MAGIC: &[u8] = b"GGUF";
const KEY_LIMIT: u64 = 4096;
const TENSOR_LIMIT: u64 = 1 << 16;
const DIMENSION_LIMIT: u32 = 4;
const ALIGNMENT_LIMIT: u64 = 1 << 16;

/// A parsed file. Tensors are ranges of its bytes.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) content: Arc<Vec<u8>>,
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, TensorInfo>,
}

/// Where a tensor is and what it looks like.
#[derive(Clone, Debug)]
pub(crate) struct TensorInfo {
    /// Outermost first, as in safetensors; GGUF itself writes the innermost first.
    pub(crate) shape: Vec<usize>,
    pub(crate) format: Format,
    /// Its bytes in the file: exactly what shape and format need.
    pub(crate) bytes: Range<usize>,
}

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Value>),
}

impl Gguf {
    /// Parses a whole file. The error says what is wrong with it.
    pub(crate) fn parse(content: Vec<u8>) -> Result<Self, String> {
        let mut reader = Reader::new(&content);
        if reader.take(4)? != MAGIC {
            return Err("it does not begin with GGUF".to_owned());
        }
        let version = reader.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("version {version}; 2 and 3 are read"));
        }
        let tensor_count = reader.count("tensors", TENSOR_LIMIT)?;
        let key_count = reader.count("keys", KEY_LIMIT)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..key_count {
            let key = reader.text()?;
            let kind = reader.u32()?;
            if metadata.insert(key.clone(), reader.value(kind)?).is_some() {
                return Err(format!("key `{key}` is there twice"));
            }
        }
        let infos = (0..tensor_count).map(|_| Declared::read(&mut reader));
        let infos = infos.collect::<Result<Vec<_>, _>>()?;
        let start = data_start(reader.position(), &metadata)?;
        let mut tensors = BTreeMap::new();
        for info in infos {
            let name = info.name.clone();
            if tensors.insert(name.clone(), info.locate(start, content.len())?).is_some() {
                return Err(format!("tensor `{name}` is there twice"));
            }
        }
        Ok(Self { content: Arc::new(content), metadata, tensors })
    }

    /// A tensor by its name in the file.
    pub(crate) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// The bytes of a tensor of this file.
    pub(crate) fn bytes(&self, tensor: &TensorInfo) -> &[u8] {
        &self.content[tensor.bytes.clone()]
    }

    /// A value by its key.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// `general.architecture`: the family whose prefix the other keys have.
    pub(crate) fn architecture(&self) -> Option<&str> {
        match self.value("general.architecture") {
            Some(Value::Text(name)) => Some(name),
            _ => None,
        }
    }
}

/// A tensor as its header declares it.
struct Declared {
    name: String,
    shape: Vec<usize>,
    format: u32,
    offset: u64,
}

impl Declared {
    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        let name = reader.text()?;
        let dimensions = reader.u32()?;
        if dimensions == 0 || dimensions > DIMENSION_LIMIT {
            return Err(format!("tensor `{name}` has {dimensions} dimensions"));
        }
        let sizes = (0..dimensions).map(|_| {
            usize::try_from(reader.u64()?).map_err(|_| "a tensor is too large".to_owned())
        });
        let mut shape = sizes.collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        Ok(Self { name, shape, format: reader.u32()?, offset: reader.u64()? })
    }

    fn locate(self, start: usize, length: usize) -> Result<TensorInfo, String> {
        let Self { name, shape, format, offset } = self;
        let format = Format::from_ggml(format)
            .ok_or_else(|| format!("tensor `{name}` has the unknown type {format}"))?;
        let bytes = format.bytes_of(&shape).and_then(|size| {
            let begin = start.checked_add(usize::try_from(offset).ok()?)?;
            let end = begin.checked_add(size)?;
            (end <= length).then_some(begin..end)
        });
        match bytes {
            Some(bytes) => Ok(TensorInfo { shape, format, bytes }),
            None => Err(format!("tensor `{name}` of shape {shape:?} is not within the file")),
        }
    }
}

/// Where the tensors begin: after the headers, aligned.
fn data_start(headers: usize, metadata: &BTreeMap<String, Value>) -> Result<usize, String> {
    let alignment = match metadata.get("general.alignment") {
        None => 32,
        Some(Value::Integer(value)) => u64::try_from(*value).unwrap_or(0),
        Some(_) => 0,
    };
    if !alignment.is_power_of_two() || alignment > ALIGNMENT_LIMIT {
        return Err("general.alignment should be a power of two up to 65536".to_owned());
    }
    let alignment = usize::try_from(alignment).map_err(|error| error.to_string())?;
    headers.checked_next_multiple_of(alignment).ok_or_else(|| "it is too large".to_owned())
}

#[cfg(test)]
mod tests;
