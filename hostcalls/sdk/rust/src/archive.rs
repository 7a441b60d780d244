//! Arguments and results are rkyv archives: structs in C's layout, in which a text or an array is a relative offset to
//! bytes before the struct. An archive is written data first, in the order of the fields, and then the root.

use crate::hostcall::{Refused, Result, RESULT_MIN};

/// Bytes of data that one archive has room for; more is refused.
pub(crate) const LONGEST: usize = 4096;

/// An archive under way.
pub(crate) struct Archive {
    bytes: [u8; LONGEST + 128],
    used: usize,
}

/// Something that a field is to lead to.
#[derive(Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) at: usize,
    pub(crate) count: usize,
}

/// A text, and where it lies if its field has no room for it.
pub(crate) struct Text<'a> {
    text: &'a str,
    at: usize,
}

impl Archive {
    pub(crate) fn new() -> Archive {
        Archive { bytes: [0; LONGEST + 128], used: 0 }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.used]
    }

    /// Reserve bytes, all zero; where they begin.
    pub(crate) fn reserve(&mut self, size: usize, align: usize) -> Result<usize> {
        let start = (self.used + align - 1) & !(align - 1);
        if start > self.bytes.len() || size > self.bytes.len() - start {
            return Err(Refused::because("the data is longer than a guest's archive"));
        }
        self.used = start + size;
        Ok(start)
    }

    pub(crate) fn put(&mut self, data: &[u8], align: usize) -> Result<Piece> {
        let at = self.reserve(data.len(), align)?;
        self.write(at, data);
        Ok(Piece { at, count: data.len() })
    }

    /// A text of up to 8 bytes lies in the field itself, and nothing is put.
    pub(crate) fn put_text<'a>(&mut self, text: &'a str) -> Result<Text<'a>> {
        let at = if text.len() > 8 { self.put(text.as_bytes(), 1)?.at } else { 0 };
        Ok(Text { text, at })
    }

    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        self.bytes[at..at + data.len()].copy_from_slice(data);
    }

    pub(crate) fn write_u32(&mut self, at: usize, value: u32) {
        self.write(at, &value.to_le_bytes());
    }

    pub(crate) fn write_u64(&mut self, at: usize, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    /// A number, or none, in 16 bytes.
    pub(crate) fn write_option(&mut self, at: usize, value: Option<u64>) {
        if let Some(value) = value {
            self.bytes[at] = 1;
            self.write_u64(at + 8, value);
        }
    }

    pub(crate) fn point(&mut self, at: usize, piece: Piece) {
        self.write_u32(at, piece.at.wrapping_sub(at) as u32);
        self.write_u32(at + 4, piece.count as u32);
    }

    pub(crate) fn write_text(&mut self, at: usize, text: Text<'_>) {
        let size = text.text.len();
        if size > 8 {
            self.write_u32(at, (size as u32 & 0x3f) | 0x80 | ((size as u32 & !0x3f) << 2));
            self.write_u32(at + 4, text.at.wrapping_sub(at) as u32);
        } else {
            self.write(at, &[0xff; 8]);
            self.write(at, text.text.as_bytes());
        }
    }
}

pub(crate) fn u32_at(result: &[u8], at: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&result[at..at + 4]);
    u32::from_le_bytes(bytes)
}

pub(crate) fn u64_at(result: &[u8], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&result[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// What the field at `at` leads to.
pub(crate) fn data_at(result: &[u8], at: usize) -> &[u8] {
    let start = at.wrapping_add(u32_at(result, at) as i32 as usize);
    &result[start..start + u32_at(result, at + 4) as usize]
}

/// The bytes of the text in the field at `at`.
pub(crate) fn text_at(result: &[u8], at: usize) -> &[u8] {
    if result[at] & 0xc0 == 0x80 {
        let tagged = u32_at(result, at);
        let start = at.wrapping_add(u32_at(result, at + 4) as i32 as usize);
        &result[start..start + ((tagged & 0x3f) | ((tagged & !0xff) >> 2)) as usize]
    } else {
        let field = &result[at..at + 8];
        &field[..field.iter().position(|byte| *byte == 0xff).unwrap_or(8)]
    }
}

/// A hostcall, as `hostcall!` makes it.
pub(crate) type Hostcall = fn(&[u8], &mut [u8]) -> Result<usize>;

/// A hostcall that brings nothing back.
pub(crate) fn tell(hostcall: Hostcall, arguments: &[u8]) -> Result<()> {
    hostcall(arguments, &mut [0; RESULT_MIN]).map(|_| ())
}

/// A hostcall that brings back a number of 4 bytes, such as a slot.
pub(crate) fn ask_u32(hostcall: Hostcall, arguments: &[u8]) -> Result<u32> {
    let mut result = [0; RESULT_MIN];
    hostcall(arguments, &mut result)?;
    Ok(u32_at(&result, 0))
}

/// A hostcall that brings back a number of 8 bytes.
pub(crate) fn ask_u64(hostcall: Hostcall, arguments: &[u8]) -> Result<u64> {
    let mut result = [0; RESULT_MIN];
    hostcall(arguments, &mut result)?;
    Ok(u64_at(&result, 0))
}
