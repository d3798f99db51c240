//! API keys, kept as digests -> the name of the one that a caller presents, found in a time that tells nothing of it.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use flowgate_config::{
    ApiKeyConfig, ApiKeySource, MAX_API_KEYS, MIN_API_KEY_BYTES, is_visible_ascii, sha256_digest,
};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::AuthError;

/// Bytes of a key file: a thousand keys of a thousand bytes.
const MOST_FILE_BYTES: u64 = 1 << 20;

/// The keys that open.
pub(super) struct ApiKeys {
    digests: Vec<[u8; 32]>,
    /// Of each digest.
    names: Vec<String>,
}

impl ApiKeys {
    /// Reads the files among the keys.
    pub(super) fn new(config: &[ApiKeyConfig]) -> Result<Self, AuthError> {
        let mut keys = Self {
            digests: Vec::new(),
            names: Vec::new(),
        };
        for ApiKeyConfig { name, source } in config {
            let digests = match source {
                ApiKeySource::Sha256(digest) => vec![*digest],
                ApiKeySource::File(path) => of_file(path)?,
            };
            keys.names.extend(digests.iter().map(|_| name.clone()));
            keys.digests.extend(digests);
        }
        if keys.digests.len() > MAX_API_KEYS {
            return Err(AuthError::TooManyKeys { most: MAX_API_KEYS });
        }
        Ok(keys)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// The name of a key. All are compared in full, so that neither which one matched nor how far one did shows in the
    /// time.
    pub(super) fn name(&self, presented: &str) -> Option<&str> {
        let presented = sha256_digest(presented.as_bytes());
        let mut found = Choice::from(0);
        let mut at = 0_u64;
        for (index, digest) in (0_u64..).zip(&self.digests) {
            let same = digest.ct_eq(&presented);
            at.conditional_assign(&index, same);
            found |= same;
        }
        let index = usize::try_from(at).ok()?;
        bool::from(found).then(|| self.names[index].as_str())
    }
}

/// One key a line; empty lines and those that begin with `#` are none. Faults name the line, not what stands there.
fn of_file(path: &Path) -> Result<Vec<[u8; 32]>, AuthError> {
    let unreadable = |source| AuthError::KeyFile {
        path: path.display().to_string(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    // One more tells a file that is too large.
    file.take(MOST_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MOST_FILE_BYTES {
        return Err(AuthError::LargeKeyFile {
            path: path.display().to_string(),
            most: MOST_FILE_BYTES,
        });
    }
    let text =
        String::from_utf8(bytes).map_err(|_| unreadable(io::ErrorKind::InvalidData.into()))?;
    let lines = text.lines().map(str::trim).enumerate();
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let digests: Result<Vec<_>, _> = keys
        .map(|(index, key)| {
            let fits = key.len() >= MIN_API_KEY_BYTES && is_visible_ascii(key);
            fits.then(|| sha256_digest(key.as_bytes()))
                .ok_or_else(|| AuthError::KeyLine {
                    path: path.display().to_string(),
                    line: index + 1,
                })
        })
        .collect();
    digests.and_then(|digests| match digests.is_empty() {
        true => Err(AuthError::NoKeys {
            path: path.display().to_string(),
        }),
        false => Ok(digests),
    })
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
    fn a_key_is_found_by_all_of_it_only() {
        let keys = ApiKeys::new(&[
            named("a", "0123456789abcdef"),
            named("b", "fedcba9876543210"),
        ])
        .expect("they serve");
        assert_eq!(keys.name("0123456789abcdef"), Some("a"));
        assert_eq!(keys.name("fedcba9876543210"), Some("b"));
        for none in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789ABCDEF",
        ] {
            assert_eq!(keys.name(none), None, "{none}");
        }
    }

    #[test]
    fn a_file_has_one_key_a_line() {
        let path = file(
            "good",
            "# the shop\n\n  0123456789abcdef  \nfedcba9876543210\n",
        );
        let keys = ApiKeys::new(&[ApiKeyConfig {
            name: "shop".to_owned(),
            source: ApiKeySource::File(path.clone()),
        }]);
        let keys = keys.expect("the file serves");
        assert_eq!(keys.name("0123456789abcdef"), Some("shop"));
        assert_eq!(keys.name("fedcba9876543210"), Some("shop"));
        assert_eq!(keys.name("# the shop"), None);
        std::fs::remove_file(path).expect("it was there");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused_and_not_cut() {
        let most = usize::try_from(MOST_FILE_BYTES).expect("small");
        let full = format!("0123456789abcdef\n{}", "#".repeat(most - 17));
        let path = file("large", &full);
        assert!(of_file(&path).is_ok());
        std::fs::write(&path, full + "\n").expect("written");
        let error = of_file(&path).expect_err("too large");
        assert!(matches!(error, AuthError::LargeKeyFile { .. }), "{error}");
        std::fs::remove_file(path).expect("it was there");
    }

    #[test]
    fn a_short_key_in_a_file_is_named_by_its_line_only() {
        let path = file("short", "0123456789abcdef\nswordfish\n");
        let error = of_file(&path).expect_err("too short");
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(!error.to_string().contains("swordfish"), "{error}");
        std::fs::remove_file(path).expect("it was there");
        assert!(matches!(
            of_file(Path::new("/no/keys")),
            Err(AuthError::KeyFile { .. })
        ));
    }
}
