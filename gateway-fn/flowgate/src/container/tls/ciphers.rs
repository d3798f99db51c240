//! A list of cipher suites in OpenSSL's notation -> the suites of TLS 1.2 among ours that it selects. Ours are all modern
//! ones (ECDHE with AES-GCM or ChaCha20), so a list can only narrow them. As with OpenSSL, it leaves TLS 1.3 unchanged.

use rustls::SupportedCipherSuite;

/// What is wrong with a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CipherError {
    pub(super) found: String,
    pub(super) expected: String,
}

/// Returns the suites that the list selects, with all of TLS 1.3.
pub(super) fn select(
    list: &str,
    available: &[SupportedCipherSuite],
) -> Result<Vec<SupportedCipherSuite>, CipherError> {
    // uvicorn's default. OpenSSL's group of this name has no suite that is still secure.
    let list = if list.trim() == "TLSv1" {
        "DEFAULT"
    } else {
        list
    };
    let mut selected = [Choice::NotSelected; SUITES.len()];
    for item in list
        .split([':', ',', ' ', ';'])
        .filter(|item| !item.is_empty())
    {
        apply(item, &mut selected)?;
    }
    let is_selected = |suite: &SupportedCipherSuite| {
        let name = suite.suite().as_str().unwrap_or_default();
        let index = SUITES.iter().position(|suite| suite.id == name);
        suite.tls13().is_some() || index.is_some_and(|index| selected[index] == Choice::Selected)
    };
    let suites: Vec<_> = available.iter().copied().filter(is_selected).collect();
    if suites.iter().all(|suite| suite.tls13().is_some()) {
        let names: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        return Err(CipherError {
            found: "no cipher suite that is supported".to_owned(),
            expected: format!("at least one of {}", names.join(":")),
        });
    }
    Ok(suites)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    NotSelected,
    Selected,
    /// By `!`: nothing later in the list selects it again.
    Excluded,
}

/// Applies one item of the list.
fn apply(item: &str, selected: &mut [Choice; SUITES.len()]) -> Result<(), CipherError> {
    let invalid = |expected: &str| CipherError {
        found: format!("{item:?}"),
        expected: expected.to_owned(),
    };
    if let Some(command) = item.strip_prefix('@') {
        // The highest levels demand larger keys than the others.
        let is_met = ["STRENGTH", "SECLEVEL=0", "SECLEVEL=1", "SECLEVEL=2"].contains(&command);
        return is_met
            .then_some(())
            .ok_or_else(|| invalid("@STRENGTH, or @SECLEVEL up to 2"));
    }
    let (operator, group) = match item.split_at_checked(1) {
        Some((operator @ ("!" | "-" | "+"), group)) => (operator, group),
        _ => ("", item),
    };
    let is_exclusion = ["!", "-"].contains(&operator);
    if is_exclusion && !group.split('+').all(is_known) {
        return Err(invalid("a known group or cipher suite to exclude"));
    }
    for (suite, choice) in SUITES.iter().zip(selected) {
        if *choice == Choice::Excluded || !group.split('+').all(|word| suite.is_in(word)) {
            continue;
        }
        match operator {
            "!" => *choice = Choice::Excluded,
            "-" => *choice = Choice::NotSelected,
            // Only the order.
            "+" => {}
            _ => *choice = Choice::Selected,
        }
    }
    Ok(())
}

/// A cipher suite of TLS 1.2.
struct Suite {
    /// OpenSSL's name.
    name: &'static str,
    /// The name in the standards.
    id: &'static str,
    /// OpenSSL's groups that not all suites are in.
    groups: &'static [&'static str],
}

impl Suite {
    fn is_in(&self, word: &str) -> bool {
        self.name == word
            || self.id == word
            || self.groups.contains(&word)
            || GROUPS_OF_ALL.contains(&word)
    }
}

/// Whether OpenSSL has this word; names of single suites have a hyphen.
fn is_known(word: &str) -> bool {
    let groups = SUITES.iter().flat_map(|suite| suite.groups);
    word.contains(['-', '_'])
        || GROUPS_OF_ALL.contains(&word)
        || GROUPS_OF_NONE.contains(&word)
        || groups.into_iter().any(|group| *group == word)
}

const SUITES: [Suite; 6] = [
    Suite {
        name: "ECDHE-ECDSA-AES256-GCM-SHA384",
        id: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        groups: &[
            "AES",
            "AES256",
            "AESGCM",
            "FIPS",
            "ECDSA",
            "aECDSA",
            "SUITEB128",
            "SUITEB192",
        ],
    },
    Suite {
        name: "ECDHE-ECDSA-AES128-GCM-SHA256",
        id: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        groups: &[
            "AES",
            "AES128",
            "AESGCM",
            "FIPS",
            "ECDSA",
            "aECDSA",
            "SUITEB128",
            "SUITEB128ONLY",
        ],
    },
    Suite {
        name: "ECDHE-ECDSA-CHACHA20-POLY1305",
        id: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        groups: &["CHACHA20", "ECDSA", "aECDSA"],
    },
    Suite {
        name: "ECDHE-RSA-AES256-GCM-SHA384",
        id: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        groups: &["AES", "AES256", "AESGCM", "FIPS", "aRSA"],
    },
    Suite {
        name: "ECDHE-RSA-AES128-GCM-SHA256",
        id: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        groups: &["AES", "AES128", "AESGCM", "FIPS", "aRSA"],
    },
    Suite {
        name: "ECDHE-RSA-CHACHA20-POLY1305",
        id: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        groups: &["CHACHA20", "aRSA"],
    },
];

const GROUPS_OF_ALL: &[&str] = &[
    "ALL", "DEFAULT", "ECDH", "ECDHE", "EECDH", "HIGH", "TLSv1.2", "kECDHE", "kEECDH",
];

/// OpenSSL's groups that contain none of our suites.
const GROUPS_OF_NONE: &[&str] = &[
    "3DES",
    "ADH",
    "AECDH",
    "AESCCM",
    "AESCCM8",
    "ARIA",
    "ARIA128",
    "ARIA256",
    "ARIAGCM",
    "CAMELLIA",
    "CAMELLIA128",
    "CAMELLIA256",
    "CBC",
    "COMPLEMENTOFALL",
    "COMPLEMENTOFDEFAULT",
    "DES",
    "DH",
    "DHE",
    "DSS",
    "EDH",
    "EXP",
    "EXPORT",
    "EXPORT40",
    "EXPORT56",
    "GOST89MAC",
    "GOST94",
    "IDEA",
    "KRB5",
    "LOW",
    "MD5",
    "MEDIUM",
    "NULL",
    "PSK",
    "RC2",
    "RC4",
    "RSA",
    "SEED",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA384",
    "SRP",
    "SSLv2",
    "SSLv3",
    "TLSv1",
    "TLSv1.0",
    "aDH",
    "aDSS",
    "aECDH",
    "aGOST",
    "aGOST01",
    "aNULL",
    "aPSK",
    "aSRP",
    "eNULL",
    "kDH",
    "kDHE",
    "kDHEPSK",
    "kDHd",
    "kDHr",
    "kECDH",
    "kECDHEPSK",
    "kECDHe",
    "kECDHr",
    "kEDH",
    "kGOST",
    "kPSK",
    "kRSA",
    "kRSAPSK",
    "kSRP",
];

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::ALL_CIPHER_SUITES;

    use super::*;

    /// Returns the suites of TLS 1.2, in short form.
    fn selected(list: &str) -> Result<Vec<String>, CipherError> {
        let suites = select(list, ALL_CIPHER_SUITES)?;
        assert_eq!(
            suites
                .iter()
                .filter(|suite| suite.tls13().is_some())
                .count(),
            3
        );
        let suites = suites.iter().filter(|suite| suite.tls13().is_none());
        Ok(suites
            .filter_map(|suite| suite.suite().as_str())
            .map(|name| {
                let (key, cipher) = name["TLS_ECDHE_".len()..]
                    .split_once("_WITH_")
                    .expect("both");
                format!("{key} {}", &cipher[..7])
            })
            .collect())
    }

    #[test]
    fn lists_select_what_openssl_selects() {
        let all = selected("DEFAULT").expect("suites");
        assert_eq!(all.len(), 6);
        for list in [
            "TLSv1",
            "ALL",
            "HIGH:!aNULL:!MD5",
            "ECDHE+AESGCM:ECDHE+CHACHA20:!RC4",
            "EECDH:@STRENGTH",
        ] {
            assert_eq!(selected(list), Ok(all.clone()), "{list}");
        }
        for (list, expected) in [
            ("ECDHE-RSA-AES256-GCM-SHA384", &["RSA AES_256"][..]),
            (
                "ECDHE-RSA-AES256-SHA:ECDHE-ECDSA-CHACHA20-POLY1305",
                &["ECDSA CHACHA2"],
            ),
            ("AES256", &["ECDSA AES_256", "RSA AES_256"]),
            ("HIGH:!AES", &["ECDSA CHACHA2", "RSA CHACHA2"]),
            ("!AES:HIGH:AES128", &["ECDSA CHACHA2", "RSA CHACHA2"]),
            ("ALL,-AES256,-CHACHA20", &["ECDSA AES_128", "RSA AES_128"]),
            ("ALL !aRSA !CHACHA20 +AES256 !AES128", &["ECDSA AES_256"]),
        ] {
            assert_eq!(
                selected(list),
                Ok(expected.iter().map(ToString::to_string).collect()),
                "{list}"
            );
        }
    }

    #[test]
    fn lists_that_cannot_be_honoured_are_errors() {
        for (list, found) in [
            ("AES256-SHA:DHE-RSA-AES128-SHA", "no cipher suite"),
            ("", "no cipher suite"),
            ("HIGH:@SECLEVEL=4", "SECLEVEL=4"),
            ("HIGH:!AES265", "!AES265"),
        ] {
            let error = selected(list).expect_err(list);
            assert!(error.found.contains(found), "{list}: {error:?}");
        }
    }
}
