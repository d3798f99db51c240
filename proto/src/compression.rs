//! The names of compression: Jina's spelling and the documents', to what travels in `grpc-encoding`.

use std::str::FromStr;

/// How requests inside the Flow are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all: `none`, Jina's `NoCompression`.
    #[default]
    None,
    /// `gzip`, Jina's `Gzip`.
    Gzip,
    /// zlib, which gRPC calls `deflate`; Jina's `Deflate`.
    Deflate,
    /// `zstd`, which Jina does not know: for Lambda invocations only.
    Zstd,
}

/// A compression nobody here knows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{0:?} is no compression: expected none, gzip, deflate (or NoCompression, Gzip, Deflate) or zstd"
)]
pub struct UnknownCompression(pub String);

impl FromStr for Compression {
    type Err = UnknownCompression;

    /// Any case serves; Jina itself insists on `NoCompression`, `Gzip`, `Deflate`.
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
    /// Its name in lower case, as `FromStr` reads it and an invocation's payload carries it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        }
    }

    /// tonic's value for it; `None` for no compression. A gRPC peer of Jina's understands no zstd, so it is sent gzip.
    #[must_use]
    pub const fn encoding(self) -> Option<tonic::codec::CompressionEncoding> {
        match self {
            Self::None => None,
            Self::Gzip | Self::Zstd => Some(tonic::codec::CompressionEncoding::Gzip),
            Self::Deflate => Some(tonic::codec::CompressionEncoding::Deflate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_serve_in_any_case() {
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
