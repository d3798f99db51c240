//! Compares patterns with recordings of Python 3.10's `re`. `recorded.tsv` has a line of texts, then for each pattern the
//! results of `search` and `match` for each text, or the error.

use super::{ClientPatterns, PyRegex, RegexError};

const RECORDED: &str = include_str!("recorded.tsv");

/// Patterns that differ. Flowgate accepts Python 3.11's syntax and look-behinds of any width, and its `\\B` matches an
/// empty text. It rejects the ASCII flag, names of characters, repeats of lookarounds, and counts beyond 65535. Two
/// errors for invalid flags have another text.
const DIFFERENT: &[&str] = &[
    "(?>a)",
    "a++",
    "(?<=a+)b",
    r"\B",
    r"(?a:\w)",
    r"\N{DIGIT ONE}",
    r"[\N]",
    "(?=a)*b",
    "a{99999999999}",
    "(?i-i:a)",
    "(?z)",
];

fn json(text: &str) -> String {
    serde_json::from_str(text).expect("a JSON string")
}

#[test]
fn patterns_match_as_in_python() {
    let mut lines = RECORDED.lines();
    let texts = lines
        .next()
        .and_then(|line| line.split_once('\t'))
        .expect("texts")
        .1;
    let texts: Vec<String> = serde_json::from_str(texts).expect("JSON");
    let mut wrong = Vec::new();
    for line in lines {
        let fields: Vec<_> = line.split('\t').collect();
        let pattern = json(fields[0]);
        if DIFFERENT.contains(&pattern.as_str()) {
            continue;
        }
        match (PyRegex::new(&pattern), fields[1]) {
            (Err(error), "error") if error.to_string() == json(fields[2]) => {}
            (Ok(found), bits) if bits != "error" => {
                let anchored = PyRegex::anchored(&pattern).expect("a valid pattern");
                let bits = |regex: &PyRegex| -> String {
                    let is_found =
                        |text: &String| regex.search(text).expect("a result within the limit");
                    texts
                        .iter()
                        .map(|text| if is_found(text) { '1' } else { '0' })
                        .collect()
                };
                if bits(&found) != fields[1] || bits(&anchored) != fields[2] {
                    wrong.push(format!(
                        "{pattern}: {} {}, not {} {}",
                        bits(&found),
                        bits(&anchored),
                        fields[1],
                        fields[2]
                    ));
                }
            }
            (actual, _) => wrong.push(format!("{pattern}: {actual:?}, not {}", fields[2])),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn python_3_11_syntax_is_accepted() {
    for (pattern, text, found) in [
        ("(?>a*)a", "aaa", false),
        ("a*+a", "aaa", false),
        ("a++b", "aab", true),
    ] {
        let regex = PyRegex::new(pattern).expect("valid");
        assert_eq!(regex.search(text), Ok(found), "{pattern}");
    }
}

#[test]
fn the_time_of_a_pattern_is_limited() {
    let exponential = PyRegex::anchored(r"(a*)*\1b").expect("valid");
    let text = "a".repeat(60);
    assert_eq!(
        exponential.search(&text),
        Err(RegexError::TooManySteps { max_steps: 50_000 })
    );
    let text = "a".repeat(100_000);
    assert_eq!(
        ClientPatterns::default().search("a", &text),
        Err(RegexError::TextTooLong {
            bytes: 100_000,
            max_bytes: 8192
        })
    );
}

#[test]
fn the_time_of_all_patterns_of_a_request_is_limited() {
    let searches = |pattern: &dyn Fn(usize) -> String, text: &str| {
        let mut patterns = ClientPatterns::default();
        let is_ok = |number: &usize| patterns.search(&pattern(*number), text).is_ok();
        (0..20_000).take_while(is_ok).count()
    };
    let ordinary = searches(&|_| "^a+$".to_owned(), "aaa");
    assert_eq!(ordinary, 20_000, "a large request");
    let different = searches(&|number| format!("a{number}"), "aaa");
    assert!((100..1_000).contains(&different), "{different}");
    // Each takes some thousand steps.
    let slow = searches(&|_| r"(a*)*\1b".to_owned(), &"a".repeat(10));
    assert!((100..1_000).contains(&slow), "{slow}");
}

#[test]
fn the_size_of_a_pattern_is_limited() {
    let long = "a".repeat(5000);
    let deep = "(".repeat(2000) + &")".repeat(2000);
    let too_long = RegexError::PatternTooLong {
        bytes: 5000,
        max_bytes: 4096,
    };
    assert_eq!(PyRegex::new(&long).err(), Some(too_long));
    for large in [deep.as_str(), r"(?:\w{1000}){1000}", "a{99999999999}"] {
        assert_eq!(
            PyRegex::new(large).err(),
            Some(RegexError::Unsupported),
            "{large}"
        );
    }
}

#[test]
fn the_limits_of_clients_are_lower_than_those_of_the_flow() {
    let long = "a".repeat(1000);
    assert!(PyRegex::new(&long).is_ok());
    assert_eq!(
        PyRegex::anchored(&long).err(),
        Some(RegexError::PatternTooLong {
            bytes: 1000,
            max_bytes: 512
        })
    );
    let large = r"(?i)\w{60}";
    assert!(PyRegex::new(large).is_ok());
    assert_eq!(
        PyRegex::anchored(large).err(),
        Some(RegexError::Unsupported)
    );
}

proptest::proptest! {
    #[test]
    fn nothing_panics(pattern in r"[a-c()\[\]{}?*+|^$.\\PixmsL:=!<>#1-9,\-é ]{0,24}", text in "[a-c\n]{0,8}") {
        if let Ok(regex) = PyRegex::new(&pattern) {
            let _ = regex.search(&text);
        }
    }
}
