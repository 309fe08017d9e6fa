//! A cursor over the headers of a GGUF file. It never allocates more than the file justifies.

use super::Value;

/// Elements of all lists of a file together: larger than four vocabularies of any published model.
const ELEMENT_LIMIT: usize = 1 << 22;

/// Reads little-endian values one after the other.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    elements: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0, elements: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.position..end));
        let taken = taken.ok_or_else(|| "it ends too early".to_owned())?;
        self.position += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of things, at most `limit`.
    pub(super) fn count(&mut self, what: &str, limit: u64) -> Result<u64, String> {
        match self.u64()? {
            count if count <= limit => Ok(count),
            count => Err(format!("it declares {count} {what}; at most {limit} are read")),
        }
    }

    /// Text; what is not UTF-8 in it is replaced.
    pub(super) fn text(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.u64()?).map_err(|_| "it ends too early".to_owned())?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    /// A value of the metadata, by the number of its type.
    pub(super) fn value(&mut self, kind: u32) -> Result<Value, String> {
        if kind == 9 {
            return self.list();
        }
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            10 => Value::Integer(self.u64()?.into()),
            11 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("a key has the unknown type {other}")),
        })
    }

    fn list(&mut self) -> Result<Value, String> {
        let kind = self.u32()?;
        if kind == 9 {
            return Err("a list holds lists".to_owned());
        }
        let count = self.u64()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= ELEMENT_LIMIT);
        let total = count.and_then(|count| self.elements.checked_add(count));
        let (Some(count), Some(total)) = (count, total.filter(|total| *total <= ELEMENT_LIMIT))
        else {
            return Err(format!("its lists have more than {ELEMENT_LIMIT} elements"));
        };
        self.elements = total;
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(kind)?);
        }
        Ok(Value::List(values))
    }
}
