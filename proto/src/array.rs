//! numpy's element types: their names and sizes, and how to read one element from bytes.

/// numpy's limit on the number of dimensions.
pub(crate) const MAX_DIMENSIONS: usize = 32;

/// The type of an array's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dtype {
    kind: Kind,
    order: Order,
}

/// One element of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Element {
    /// Dtype `?`.
    Bool(bool),
    /// Dtypes `i1` to `i8`.
    Int(i64),
    /// Dtypes `u1` to `u8`.
    Unsigned(u64),
    /// Dtypes `f2`, `f4` and `f8`, all exact as a double.
    Float(f64),
    /// Dtype `U` with a length. Invalid code points become U+FFFD.
    Text(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

/// The kind of an element, with its size in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bool,
    Int(usize),
    Unsigned(usize),
    Float(usize),
    /// UTF-32, padded with zeros to this size.
    Text(usize),
}

impl Dtype {
    /// `<f4`
    pub(crate) const LITTLE_F32: Self = Self {
        kind: Kind::Float(4),
        order: Order::Little,
    };

    /// `<f8`
    pub(crate) const LITTLE_F64: Self = Self {
        kind: Kind::Float(8),
        order: Order::Little,
    };

    /// Parses a name such as `<f4` or `float32`. Returns `None` for unsupported types: complex numbers,
    /// dates, objects.
    #[must_use]
    pub fn parse(dtype: &str) -> Option<Self> {
        let (order, name) = match dtype.strip_prefix('>') {
            Some(name) => (Order::Big, name),
            None => (Order::Little, dtype.trim_start_matches(['<', '=', '|'])),
        };
        parse_kind(name).map(|kind| Self { kind, order })
    }

    /// Returns the size of one element in bytes; never zero.
    #[must_use]
    pub const fn size(self) -> usize {
        match self.kind {
            Kind::Bool => 1,
            Kind::Int(size) | Kind::Unsigned(size) | Kind::Float(size) | Kind::Text(size) => size,
        }
    }

    /// Whether the elements are numbers. Booleans are, as in numpy.
    #[must_use]
    pub const fn is_number(self) -> bool {
        !matches!(self.kind, Kind::Text(_))
    }

    /// Reads one element of [`Dtype::size`] bytes.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Element {
        match self.kind {
            Kind::Bool => Element::Bool(bytes.iter().any(|&b| b != 0)),
            Kind::Int(size) => Element::Int(sign_extend(self.bits(bytes), size)),
            Kind::Unsigned(_) => Element::Unsigned(self.bits(bytes)),
            Kind::Float(2) => Element::Float(half_to_double(self.bits(bytes) as u16)),
            Kind::Float(4) => Element::Float(f32::from_bits(self.bits(bytes) as u32).into()),
            Kind::Float(_) => Element::Float(f64::from_bits(self.bits(bytes))),
            Kind::Text(_) => Element::Text(self.text(bytes)),
        }
    }

    /// Combines up to eight bytes into a number, in the type's byte order.
    fn bits(self, bytes: &[u8]) -> u64 {
        let add = |bits: u64, byte: &u8| bits << 8 | u64::from(*byte);
        match self.order {
            Order::Little => bytes.iter().rev().fold(0, add),
            Order::Big => bytes.iter().fold(0, add),
        }
    }

    fn text(self, bytes: &[u8]) -> String {
        let characters = bytes.chunks_exact(4).map(|four| {
            char::from_u32(self.bits(four) as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
        });
        let text: String = characters.collect();
        text.trim_end_matches('\0').to_owned()
    }
}

fn parse_kind(name: &str) -> Option<Kind> {
    Some(match name {
        "b1" | "?" | "bool" => Kind::Bool,
        "i1" | "int8" => Kind::Int(1),
        "i2" | "int16" => Kind::Int(2),
        "i4" | "int32" => Kind::Int(4),
        "i8" | "int64" => Kind::Int(8),
        "u1" | "uint8" => Kind::Unsigned(1),
        "u2" | "uint16" => Kind::Unsigned(2),
        "u4" | "uint32" => Kind::Unsigned(4),
        "u8" | "uint64" => Kind::Unsigned(8),
        "f2" | "float16" => Kind::Float(2),
        "f4" | "float32" => Kind::Float(4),
        "f8" | "float64" => Kind::Float(8),
        text => {
            let characters: u32 = text.strip_prefix('U')?.parse().ok()?;
            let size = usize::try_from(characters).ok()?.checked_mul(4)?;
            return (size > 0).then_some(Kind::Text(size));
        }
    })
}

const fn sign_extend(bits: u64, size: usize) -> i64 {
    let unused = 64 - 8 * size;
    ((bits << unused) as i64) >> unused
}

/// Converts an IEEE 754 half: one bit of sign, five of exponent, ten of fraction.
fn half_to_double(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match (bits >> 10) & 0x1f {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(i32::from(exponent) - 15),
    }
}

/// Returns the number of bytes of an array, or of its elements when `element_size` is 1; `None` when
/// a `usize` overflows.
pub(crate) fn size_of(shape: &[u32], element_size: usize) -> Option<usize> {
    let mut lengths = shape.iter();
    lengths.try_fold(element_size, |size, &n| size.checked_mul(n as usize))
}

/// Returns how many lists may be written at most for an array of this shape, which has a dimension of zero.
pub(crate) fn empty_lists(shape: &[u32]) -> Option<usize> {
    let outer: Vec<u32> = shape.iter().copied().take_while(|&n| n > 0).collect();
    size_of(&outer, outer.len() + 1)
}
