//! The compression algorithms, with their names in Jina, Flowgate and gRPC.

use std::str::FromStr;

/// How requests between Gateway and Executors are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// No compression: `none`, Jina's `NoCompression`.
    #[default]
    None,
    /// `gzip`, Jina's `Gzip`.
    Gzip,
    /// zlib, named `deflate` in gRPC; Jina's `Deflate`.
    Deflate,
    /// `zstd`, which Jina does not support: for Lambda invocations only.
    Zstd,
}

/// The name of a compression that is not supported.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "compression {0:?} is not supported: expected none, gzip, deflate (or NoCompression, Gzip, Deflate) or zstd"
)]
pub struct UnknownCompression(pub String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    /// Parses a name in any letter case. Jina itself requires `NoCompression`, `Gzip`, `Deflate`.
    fn from_str(name: &str) -> Result<Self, UnknownCompression> {
        match name.to_ascii_lowercase().as_str() {
            "none" | "nocompression" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            _ => Err(UnknownCompression(name.to_owned())),
        }
    }
}

impl Compression {
    /// Returns the lower-case name, as an invocation's payload has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_parsed_in_any_case() {
        for (name, compression) in [
            ("none", Compression::None),
            ("NoCompression", Compression::None),
            ("GZIP", Compression::Gzip),
            ("Deflate", Compression::Deflate),
            ("zstd", Compression::Zstd),
        ] {
            assert_eq!(name.parse(), Ok(compression), "{name}");
        }
        assert!("zip".parse::<Compression>().is_err());
    }
}
