//! PEM files -> their blocks. The headers of the older PEM form are read too, because they say how a key is encrypted.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The bytes of a PEM file. A bundle of all public certificate authorities has a quarter of a megabyte.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One `-----BEGIN LABEL-----` block.
pub(super) struct Block {
    pub(super) label: String,
    /// The header `DEK-Info`: the cipher and its initialization vector, if the block is encrypted in the older form.
    pub(super) dek_info: Option<String>,
    pub(super) der: Vec<u8>,
}

impl Block {
    pub(super) fn is_certificate(&self) -> bool {
        ["CERTIFICATE", "X509 CERTIFICATE"].contains(&self.label.as_str())
    }

    pub(super) fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }
}

/// Why a file has no blocks.
#[derive(Debug, thiserror::Error)]
pub(super) enum PemError {
    #[error("a file that cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error("a file of more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error("an empty file")]
    Empty,
    #[error("a file that is not PEM: `-----BEGIN` is missing")]
    NotPem,
    #[error("a PEM block without its end")]
    Unfinished,
    #[error("a PEM block whose base64 is damaged")]
    Base64,
}

/// Reads the blocks of a file; there is at least one.
pub(super) fn read(path: &Path) -> Result<Vec<Block>, PemError> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(PemError::TooLarge);
    }
    parse(&String::from_utf8_lossy(&bytes))
}

fn parse(text: &str) -> Result<Vec<Block>, PemError> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(label) = between_dashes(line, "BEGIN ") {
            blocks.push(block(label, &mut lines)?);
        }
    }
    match (blocks.is_empty(), text.trim().is_empty()) {
        (false, _) => Ok(blocks),
        (true, true) => Err(PemError::Empty),
        (true, false) => Err(PemError::NotPem),
    }
}

/// Reads a block after its first line, up to its last.
fn block<'a>(label: &str, lines: &mut impl Iterator<Item = &'a str>) -> Result<Block, PemError> {
    let mut base64 = String::new();
    let mut dek_info = None;
    for line in lines {
        if between_dashes(line, "END ") == Some(label) {
            let der = STANDARD.decode(base64).map_err(|_| PemError::Base64)?;
            return Ok(Block {
                label: label.to_owned(),
                dek_info,
                der,
            });
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("DEK-Info") => {
                dek_info = Some(value.trim().to_owned());
            }
            Some(_) => {}
            None => base64.push_str(line),
        }
    }
    Err(PemError::Unfinished)
}

fn between_dashes<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?
        .strip_prefix(start)?
        .strip_suffix("-----")
}

/// Names the kinds of these blocks, for errors.
pub(super) fn describe(blocks: &[Block]) -> &'static str {
    let has = |is: fn(&Block) -> bool| blocks.iter().any(is);
    if has(Block::is_private_key) {
        "a private key"
    } else if has(Block::is_certificate) {
        "a certificate"
    } else if has(|block| block.label.ends_with("CERTIFICATE REQUEST")) {
        "a certificate request"
    } else if has(|block| block.label.ends_with("PUBLIC KEY")) {
        "a public key"
    } else {
        "PEM blocks of other kinds"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_between_other_text() {
        let text = "Bag Attributes: x\r\n-----BEGIN A B-----\r\nAAEC\r\nAw==\r\n-----END A B-----\r\n\r\ntext\n\
                    -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAEC\n\
                    -----END RSA PRIVATE KEY-----";
        let blocks = parse(text).expect("two blocks");
        let [first, second] = blocks.as_slice() else {
            panic!("{} blocks", blocks.len())
        };
        assert_eq!(
            (first.label.as_str(), first.der.as_slice()),
            ("A B", &[0, 1, 2, 3][..])
        );
        assert_eq!(second.der, [0, 1, 2]);
        assert_eq!(second.dek_info.as_deref(), Some("AES-128-CBC,00"));
    }

    #[test]
    fn text_without_blocks_is_an_error() {
        let error = |text: &str| match parse(text) {
            Ok(_) => panic!("{text:?} is read"),
            Err(error) => error.to_string(),
        };
        assert_eq!(error(" \n"), "an empty file");
        assert!(error("\u{30}\u{82}").contains("not PEM"));
        assert!(error("-----BEGIN A-----\nAAEC\n-----END B-----").contains("without its end"));
        assert!(error("-----BEGIN A-----\nA*\n-----END A-----").contains("base64"));
    }
}
