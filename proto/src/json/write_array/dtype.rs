//! numpy's element types: their names, their sizes, and one element's bytes as JSON.

use super::ArrayError;
use crate::json::writer::Writer;

/// An element type.
#[derive(Clone, Copy)]
pub(super) struct Dtype {
    element: Element,
    order: Order,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// What an element is; the numbers are sizes in bytes.
#[derive(Clone, Copy)]
enum Element {
    Bool,
    Int(usize),
    Unsigned(usize),
    Float(usize),
    /// UTF-32 in as many bytes, filled up with zeros.
    Text(usize),
}

impl Dtype {
    /// The type of a name such as `<f4`, or `float32`.
    pub(super) fn parse(dtype: &str) -> Result<Self, ArrayError> {
        let (order, name) = match dtype.strip_prefix('>') {
            Some(name) => (Order::Big, name),
            None => (Order::Little, dtype.trim_start_matches(['<', '=', '|'])),
        };
        let element = element(name).ok_or_else(|| ArrayError::Dtype {
            dtype: dtype.to_owned(),
        })?;
        Ok(Self { element, order })
    }

    /// Bytes of one element; never 0.
    pub(super) const fn size(self) -> usize {
        match self.element {
            Element::Bool => 1,
            Element::Int(size)
            | Element::Unsigned(size)
            | Element::Float(size)
            | Element::Text(size) => size,
        }
    }

    /// Writes one element of [`Dtype::size`] bytes.
    pub(super) fn write(self, bytes: &[u8], out: &mut Writer) {
        match self.element {
            Element::Bool => out.boolean(bytes.iter().any(|&b| b != 0)),
            Element::Int(size) => out.integer(sign_extended(self.bits(bytes), size)),
            Element::Unsigned(_) => out.integer(self.bits(bytes)),
            Element::Float(2) => out.double(half(self.bits(bytes) as u16)),
            Element::Float(4) => {
                out.double(f64::from(f32::from_bits(self.bits(bytes) as u32)));
            }
            Element::Float(_) => out.double(f64::from_bits(self.bits(bytes))),
            Element::Text(_) => out.text(&self.text(bytes)),
        }
    }

    /// One element as a coordinate; `None` when it cannot be one.
    pub(super) fn index(self, bytes: &[u8]) -> Option<usize> {
        match self.element {
            Element::Int(size) => sign_extended(self.bits(bytes), size).try_into().ok(),
            Element::Unsigned(_) => self.bits(bytes).try_into().ok(),
            Element::Bool | Element::Float(_) | Element::Text(_) => None,
        }
    }

    /// Up to eight bytes as a number.
    fn bits(self, bytes: &[u8]) -> u64 {
        let add = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        match self.order {
            Order::Little => bytes.iter().rev().fold(0, add),
            Order::Big => bytes.iter().fold(0, add),
        }
    }

    fn text(self, bytes: &[u8]) -> String {
        let letters = bytes.chunks_exact(4).map(|four| {
            char::from_u32(self.bits(four) as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        });
        let text: String = letters.collect();
        text.trim_end_matches('\0').to_owned()
    }
}

fn element(name: &str) -> Option<Element> {
    Some(match name {
        "b1" | "?" | "bool" => Element::Bool,
        "i1" | "int8" => Element::Int(1),
        "i2" | "int16" => Element::Int(2),
        "i4" | "int32" => Element::Int(4),
        "i8" | "int64" => Element::Int(8),
        "u1" | "uint8" => Element::Unsigned(1),
        "u2" | "uint16" => Element::Unsigned(2),
        "u4" | "uint32" => Element::Unsigned(4),
        "u8" | "uint64" => Element::Unsigned(8),
        "f2" | "float16" => Element::Float(2),
        "f4" | "float32" => Element::Float(4),
        "f8" | "float64" => Element::Float(8),
        text => {
            let letters: u32 = text.strip_prefix('U')?.parse().ok()?;
            let size = usize::try_from(letters).ok()?.checked_mul(4)?;
            return (size > 0).then_some(Element::Text(size));
        }
    })
}

const fn sign_extended(bits: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size;
    ((bits << unused) as i64) >> unused
}

/// An IEEE 754 half: one bit of sign, five of exponent, ten of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match (bits >> 10) & 0x1f {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(i32::from(exponent) - 15),
    }
}
