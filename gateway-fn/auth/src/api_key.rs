//! Looks up API keys in constant time. Only their SHA-256 digests are kept.

use std::{io, path::Path};

use flowgate_config::{
    ApiKeyConfig, ApiKeySource, MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest,
};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::{AuthSetupError, fetch};

/// The largest key file: a thousand keys of a thousand bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The accepted keys.
pub(super) struct ApiKeys {
    digests: Vec<[u8; 32]>,
    /// The name of the key of each digest.
    names: Vec<String>,
}

impl ApiKeys {
    /// Collects the keys, and reads the key files.
    pub(super) fn new(config: &[ApiKeyConfig]) -> Result<Self, AuthSetupError> {
        let mut keys = Self {
            digests: Vec::new(),
            names: Vec::new(),
        };
        for ApiKeyConfig { name, source } in config {
            let digests = match source {
                ApiKeySource::Sha256(digest) => vec![*digest],
                ApiKeySource::File(path) => read_key_file(path)?,
            };
            keys.names.extend(digests.iter().map(|_| name.clone()));
            keys.digests.extend(digests);
        }
        if keys.digests.len() > MAX_API_KEYS {
            return Err(AuthSetupError::TooManyKeys { max: MAX_API_KEYS });
        }
        Ok(keys)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Returns the name of a key. Every key is compared in full, so that the time shows neither which one matched nor how
    /// much of it.
    pub(super) fn find_name(&self, presented: &str) -> Option<&str> {
        let presented = sha256_digest(presented.as_bytes());
        let mut found = Choice::from(0);
        let mut found_at = 0_u64;
        for (index, digest) in (0_u64..).zip(&self.digests) {
            let is_equal = digest.ct_eq(&presented);
            found_at.conditional_assign(&index, is_equal);
            found |= is_equal;
        }
        let index = usize::try_from(found_at).ok()?;
        bool::from(found).then(|| self.names[index].as_str())
    }
}

/// Reads the keys of a file: one per line, without empty lines and lines that begin with `#`. Errors name the line and
/// never its text.
fn read_key_file(path: &Path) -> Result<Vec<[u8; 32]>, AuthSetupError> {
    let display = || path.display().to_string();
    let unreadable = |source| AuthSetupError::KeyFile {
        path: display(),
        source,
    };
    let bytes = fetch::read_file(path, MAX_FILE_BYTES).map_err(unreadable)?;
    let bytes = bytes.ok_or_else(|| AuthSetupError::LargeKeyFile {
        path: display(),
        max_bytes: MAX_FILE_BYTES,
    })?;
    let text =
        String::from_utf8(bytes).map_err(|_| unreadable(io::ErrorKind::InvalidData.into()))?;
    let lines = text.lines().map(str::trim).enumerate();
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let digests = keys.map(|(index, key)| {
        let is_valid = key.len() >= MIN_API_KEY_BYTES && is_visible_ascii(key);
        is_valid
            .then(|| sha256_digest(key.as_bytes()))
            .ok_or_else(|| AuthSetupError::KeyLine {
                path: display(),
                line: index + 1,
            })
    });
    let digests: Vec<_> = digests.collect::<Result<_, _>>()?;
    if digests.is_empty() {
        return Err(AuthSetupError::NoKeys { path: display() });
    }
    Ok(digests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, key: &str) -> ApiKeyConfig {
        ApiKeyConfig {
            name: name.to_owned(),
            source: ApiKeySource::Sha256(sha256_digest(key.as_bytes())),
        }
    }

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let name = format!("flowgate-keys-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn a_key_is_found_by_its_whole_text_only() {
        let keys = ApiKeys::new(&[
            named("a", "0123456789abcdef"),
            named("b", "fedcba9876543210"),
        ])
        .expect("valid keys");
        assert_eq!(keys.find_name("0123456789abcdef"), Some("a"));
        assert_eq!(keys.find_name("fedcba9876543210"), Some("b"));
        for unknown in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert_eq!(keys.find_name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_file_has_one_key_per_line() {
        let path = file(
            "good",
            "# the shop\n\n  0123456789abcdef  \nfedcba9876543210\n",
        );
        let keys = ApiKeys::new(&[ApiKeyConfig {
            name: "shop".to_owned(),
            source: ApiKeySource::File(path.clone()),
        }]);
        let keys = keys.expect("a valid file");
        assert_eq!(keys.find_name("0123456789abcdef"), Some("shop"));
        assert_eq!(keys.find_name("fedcba9876543210"), Some("shop"));
        assert_eq!(keys.find_name("# the shop"), None);
        std::fs::remove_file(path).expect("it was there");
    }

    #[test]
    fn a_file_that_is_too_large_is_an_error() {
        let max = usize::try_from(MAX_FILE_BYTES).expect("small");
        let full = format!("0123456789abcdef\n{}", "#".repeat(max - 17));
        let path = file("large", &full);
        assert!(read_key_file(&path).is_ok());
        std::fs::write(&path, full + "\n").expect("written");
        let error = read_key_file(&path).expect_err("too large");
        assert!(
            matches!(error, AuthSetupError::LargeKeyFile { .. }),
            "{error}"
        );
        std::fs::remove_file(path).expect("it was there");
    }

    #[test]
    fn a_short_key_in_a_file_is_named_by_its_line_only() {
        let path = file("short", "0123456789abcdef\nswordfish\n");
        let error = read_key_file(&path).expect_err("too short");
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(!error.to_string().contains("swordfish"), "{error}");
        std::fs::remove_file(path).expect("it was there");
        assert!(matches!(
            read_key_file(Path::new("/no/keys")),
            Err(AuthSetupError::KeyFile { .. })
        ));
    }
}
