//! A PEM block -> the private key that it contains, decrypted if it is encrypted: PKCS#8 with PBES2, or the older PEM form
//! with a header `DEK-Info`.

use aes::{Aes128, Aes192, Aes256};
use cbc::{
    Decryptor,
    cipher::{
        BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _, block_padding::Pkcs7,
    },
};
use der::{Decode as _, Tag, Tagged as _, asn1::AnyRef};
use des::TdesEde3;
use md5::{Digest as _, Md5};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

use super::pem::Block;

/// Why a block is not a usable private key. Never contains the key or the password.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyError {
    /// It is encrypted, and there is no password.
    Encrypted,
    /// It cannot be decrypted with the password, or is damaged.
    WrongPassword,
    /// It has a form that is not supported.
    Unsupported(String),
}

/// Returns the key of a block.
pub(super) fn decode(
    block: Block,
    password: Option<&str>,
) -> Result<PrivateKeyDer<'static>, KeyError> {
    let label = block.label.as_str();
    if label == "ENCRYPTED PRIVATE KEY" {
        let password = password.ok_or(KeyError::Encrypted)?;
        return decrypt_pkcs8(&block.der, password);
    }
    let der = match &block.dek_info {
        None => block.der,
        Some(info) => {
            let password = password.ok_or(KeyError::Encrypted)?;
            decrypt_older_form(info, &block.der, password)?
        }
    };
    match label {
        "PRIVATE KEY" => Ok(PrivatePkcs8KeyDer::from(der).into()),
        "RSA PRIVATE KEY" => Ok(PrivatePkcs1KeyDer::from(der).into()),
        "EC PRIVATE KEY" => Ok(PrivateSec1KeyDer::from(der).into()),
        _ => Err(KeyError::Unsupported(
            "a private key of another kind".to_owned(),
        )),
    }
}

fn decrypt_pkcs8(der: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, KeyError> {
    let unsupported = || KeyError::Unsupported("a private key with an older encryption".to_owned());
    let encrypted = EncryptedPrivateKeyInfoRef::try_from(der).map_err(|_| unsupported())?;
    match encrypted.decrypt(password) {
        Ok(key) => Ok(PrivatePkcs8KeyDer::from(key.as_bytes().to_vec()).into()),
        Err(pkcs8::Error::EncryptedPrivateKey(
            pkcs8::pkcs5::Error::NoPbes1CryptSupport
            | pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. }
            | pkcs8::pkcs5::Error::AlgorithmParametersInvalid { .. },
        )) => Err(unsupported()),
        Err(_) => Err(KeyError::WrongPassword),
    }
}

/// Decrypts a key of the older form. `info` is `CIPHER,IV`, the initialization vector in hexadecimal digits.
fn decrypt_older_form(info: &str, encrypted: &[u8], password: &str) -> Result<Vec<u8>, KeyError> {
    let (cipher, iv) = info.split_once(',').unwrap_or((info, ""));
    let decrypt = match cipher.trim() {
        "AES-128-CBC" => decrypt_cbc::<Aes128>,
        "AES-192-CBC" => decrypt_cbc::<Aes192>,
        "AES-256-CBC" => decrypt_cbc::<Aes256>,
        "DES-EDE3-CBC" => decrypt_cbc::<TdesEde3>,
        _ => {
            let what = "a private key that is encrypted with another cipher than AES and 3DES";
            return Err(KeyError::Unsupported(what.to_owned()));
        }
    };
    let iv = hexadecimal(iv.trim()).ok_or(KeyError::WrongPassword)?;
    // A wrong password can leave a valid padding, but hardly a whole ASN.1 sequence.
    decrypt(&iv, encrypted, password)
        .filter(|key| AnyRef::from_der(key).is_ok_and(|key| key.tag() == Tag::Sequence))
        .ok_or(KeyError::WrongPassword)
}

fn decrypt_cbc<C: BlockCipherDecrypt + KeyInit>(
    iv: &[u8],
    encrypted: &[u8],
    password: &str,
) -> Option<Vec<u8>> {
    let key = derive_key(password.as_bytes(), iv.get(..SALT_BYTES)?, C::key_size());
    let decryptor = Decryptor::<C>::new_from_slices(&key, iv).ok()?;
    decryptor.decrypt_padded_vec::<Pkcs7>(encrypted).ok()
}

/// Derives a key as OpenSSL's `EVP_BytesToKey` does, with MD5 and one iteration.
fn derive_key(password: &[u8], salt: &[u8], length: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(length + 16);
    let mut last = Vec::new();
    while key.len() < length {
        let mut digest = Md5::new();
        digest.update(&last);
        digest.update(password);
        digest.update(salt);
        last = digest.finalize().to_vec();
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(&text[start..start + 2], 16).ok())
        .collect()
}

/// The salt is the beginning of the initialization vector.
const SALT_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use rustls::{crypto::ring, sign::SigningKey};
    use std::sync::Arc;

    use super::{super::pem, *};

    /// The keys in `tests/tls` are one RSA key, in the forms in which OpenSSL encrypts it with the password `swordfish`.
    fn decoded(name: &str, password: Option<&str>) -> Result<Arc<dyn SigningKey>, KeyError> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/");
        let path = format!("{directory}{name}.key");
        let mut blocks = pem::read(path.as_ref()).expect("a PEM file");
        let key = decode(blocks.remove(0), password)?;
        let provider = ring::default_provider();
        Ok(provider.key_provider.load_private_key(key).expect("a key"))
    }

    #[test]
    fn keys_that_openssl_encrypted_are_decrypted() {
        let plain = decoded("rsa", None).expect("a key without encryption");
        for name in [
            "pbes2-aes256-sha256",
            "pbes2-aes128-sha512",
            "pbes2-3des-sha1",
            "pbes2-scrypt",
            "older-aes128",
            "older-aes192",
            "older-aes256",
            "older-des3",
        ] {
            let key = decoded(name, Some("swordfish"));
            let key = key.unwrap_or_else(|error| panic!("{name}: {error:?}"));
            assert_eq!(key.public_key(), plain.public_key(), "{name}");
            assert_eq!(decoded(name, None).expect_err(name), KeyError::Encrypted);
            let error = decoded(name, Some("Swordfish")).expect_err(name);
            assert_eq!(error, KeyError::WrongPassword, "{name}");
        }
    }

    #[test]
    fn other_encryptions_are_named_as_unsupported() {
        for name in ["pbes1-3des", "older-camellia128"] {
            let error = decoded(name, Some("swordfish")).expect_err(name);
            assert!(
                matches!(error, KeyError::Unsupported(_)),
                "{name}: {error:?}"
            );
        }
    }

    #[test]
    fn a_damaged_header_is_an_error() {
        for iv in [
            "",
            "0",
            "00",
            "zz",
            "00000000000000000000000000000000000000",
            "\u{e9}\u{e9}",
        ] {
            let result = decrypt_older_form(&format!("AES-128-CBC,{iv}"), &[0; 32], "a");
            assert_eq!(result, Err(KeyError::WrongPassword), "{iv}");
        }
    }
}
