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

    /// Whether the bytes begin as this compression does: by the magic bytes of gzip (RFC 1952, section 2.3.1), zlib (RFC 1950,
    /// section 2.2) and zstd (RFC 8878, section 3.1). JSON, and the frames of gRPC-Web, begin with none of them.
    #[must_use]
    pub fn is_beginning_of(self, bytes: &[u8]) -> bool {
        match (self, bytes) {
            (Self::None, _) => true,
            (Self::Gzip, [0x1f, 0x8b, ..]) => true,
            (Self::Deflate, [method, flags, ..]) => {
                method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
            }
            // A skippable frame may come first.
            (Self::Zstd, [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]) => {
                true
            }
            (Self::Gzip | Self::Deflate | Self::Zstd, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke::compress;

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

    #[test]
    fn compressed_bytes_are_distinguished_from_json() {
        for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
            for content in [&b""[..], b"{}", &[0; 1000]] {
                let bytes = compress(content, compression).expect("compressed");
                assert!(compression.is_beginning_of(&bytes), "{compression:?}");
            }
            for plain in [
                &b""[..],
                b"x",
                b"{\"data\":[]}",
                b"[1]",
                b" {}",
                b"\n{}",
                b"\0\0\0\0\x05",
            ] {
                assert!(
                    !compression.is_beginning_of(plain),
                    "{compression:?} {plain:?}"
                );
            }
        }
        assert!(Compression::Zstd.is_beginning_of(&[0x53, 0x2a, 0x4d, 0x18, 0]));
    }
}
