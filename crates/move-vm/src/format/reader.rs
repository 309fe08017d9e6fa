//! Reads little-endian integers, ULEB128 counts and byte runs from untrusted bytes.
//! Never allocates more than what was really there.

use crate::VmError;

/// A position in untrusted bytes.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The bytecode version, which decides what may follow.
    pub version: u32,
}

/// The error of everything that is not well formed.
pub(super) fn malformed(detail: impl Into<String>) -> VmError {
    VmError::new("MALFORMED", detail)
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8], version: u32) -> Self {
        Self { bytes, at: 0, version }
    }

    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], VmError> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| malformed("unexpected end"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], VmError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| malformed("unexpected end"))
    }

    pub fn byte(&mut self) -> Result<u8, VmError> {
        Ok(self.array::<1>()?[0])
    }

    /// A ULEB128 number in its shortest form, at most `max`.
    pub fn uleb(&mut self, max: u64) -> Result<u64, VmError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if (part << shift) >> shift != part {
                return Err(malformed("number too large"));
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                if (shift > 0 && part == 0) || value > max {
                    return Err(malformed("number too large or not in its shortest form"));
                }
                return Ok(value);
            }
        }
        Err(malformed("number too large"))
    }

    /// An index into a table.
    pub fn index(&mut self) -> Result<u16, VmError> {
        u16::try_from(self.uleb(u64::from(u16::MAX))?).map_err(|_| malformed("index"))
    }

    /// A count of at most `max` things.
    pub fn count(&mut self, max: u64) -> Result<usize, VmError> {
        usize::try_from(self.uleb(max)?).map_err(|_| malformed("count"))
    }

    /// A byte run of at most `max` bytes with its length in front.
    pub fn blob(&mut self, max: u64) -> Result<&'a [u8], VmError> {
        let length = self.count(max)?;
        self.take(length)
    }

    /// `count` things, each at least one byte long.
    pub fn list<T>(
        &mut self,
        max: u64,
        mut read: impl FnMut(&mut Self) -> Result<T, VmError>,
    ) -> Result<Vec<T>, VmError> {
        let count = self.count(max)?;
        let mut list = Vec::new();
        for _ in 0..count {
            list.push(read(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uleb_takes_the_shortest_form_only() {
        let read = |bytes: &[u8]| Reader::new(bytes, 7).uleb(u64::MAX).ok();
        assert_eq!(read(&[0x80, 0x01]), Some(128));
        assert_eq!(read(&[0x80, 0x00]), None);
        assert_eq!(read(&[0xff; 11]), None);
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
            Some(u64::MAX)
        );
        assert_eq!(read(&[0x80]), None);
    }
}
