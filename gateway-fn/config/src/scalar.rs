//! The types of single values: YAML 1.1's for plain scalars, as PyYAML has them, and Jina's guess for text.

use super::node::{Node, Value, unquoted};

/// A plain scalar's value by YAML 1.1. As in Jina `yes` and `no` are booleans, `on` and `off` are text.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" => Value::Bool(false),
        _ => whole(text)
            .or_else(|| real(text))
            .unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

/// Jina 3.13's guess of what a text stands for (its `parse_arg`): text in quotes is what the quotes hold, `[a, b]`
/// is a list, then Python's `int` and `float`, nothing for the empty text, booleans in any case.
pub(super) fn guess(text: &str) -> Value {
    let text = unquoted(text);
    if text.starts_with('[') && text.ends_with(']') {
        let inner = text.replace(['[', ']'], "");
        let items = inner.split(',').filter(|_| !inner.trim().is_empty());
        return Value::List(
            items
                .map(|item| Node::new(guess_single(unquoted(item.trim())), None))
                .collect(),
        );
    }
    guess_single(text)
}

fn guess_single(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    if let Some(digits) = python_digits(text.trim()) {
        if let Ok(value) = digits.parse() {
            return Value::Whole(value);
        }
        if let Ok(value) = digits.parse() {
            return Value::Real(value);
        }
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::Text(text.to_owned()),
    }
}

/// The text without Python's underscores, which may stand between two digits only.
fn python_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let fits =
        |index: usize| bytes[index] != b'_' || (index > 0 && digit(index - 1) && digit(index + 1));
    (0..bytes.len()).all(fits).then(|| text.replace('_', ""))
}

fn whole(text: &str) -> Option<Value> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let first = unsigned.chars().next().filter(char::is_ascii_digit)?;
    let digits = unsigned.replace('_', "");
    let magnitude = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(unsigned_digits(hex)?, 16).ok()
    } else if let Some(binary) = digits.strip_prefix("0b") {
        i64::from_str_radix(unsigned_digits(binary)?, 2).ok()
    } else if digits.contains(':') {
        base_60(&digits)
    } else if first == '0' {
        i64::from_str_radix(&digits, 8).ok()
    } else {
        digits.parse().ok()
    }?;
    Some(Value::Whole(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    }))
}

/// Rust's parsers accept a sign here, YAML does not.
fn unsigned_digits(digits: &str) -> Option<&str> {
    (!digits.starts_with(['-', '+'])).then_some(digits)
}

/// YAML 1.1 reads `1:30` as ninety.
fn base_60(digits: &str) -> Option<i64> {
    let mut parts = digits.split(':');
    let first = parts.next().filter(|part| !part.starts_with('0'))?;
    parts.try_fold(first.parse::<i64>().ok()?, |sum, part| {
        let part: i64 = part
            .parse()
            .ok()
            .filter(|value| part.len() <= 2 && (0..60).contains(value))?;
        sum.checked_mul(60)?.checked_add(part)
    })
}

fn real(text: &str) -> Option<Value> {
    let looks = text.contains('.') && text.contains(|c: char| c.is_ascii_digit());
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"_.+-eE".contains(&byte));
    (looks && fits).then(|| text.replace('_', "").parse().ok().map(Value::Real))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_have_the_types_of_yaml_1_1() {
        for (text, value) in [
            ("", Value::Null),
            ("~", Value::Null),
            ("Null", Value::Null),
            ("yes", Value::Bool(true)),
            ("No", Value::Bool(false)),
            ("on", Value::Text("on".to_owned())),
            ("OFF", Value::Text("OFF".to_owned())),
            ("y", Value::Text("y".to_owned())),
            ("0x1F90", Value::Whole(8080)),
            ("017", Value::Whole(15)),
            ("0o17", Value::Text("0o17".to_owned())),
            ("0b11", Value::Whole(3)),
            ("1_000", Value::Whole(1000)),
            ("-5", Value::Whole(-5)),
            ("12:30", Value::Whole(750)),
            ("1.5", Value::Real(1.5)),
            ("1.0e+3", Value::Real(1000.0)),
            ("1.2.3", Value::Text("1.2.3".to_owned())),
            ("2020-01-02", Value::Text("2020-01-02".to_owned())),
            ("09", Value::Text("09".to_owned())),
            ("0x-5", Value::Text("0x-5".to_owned())),
        ] {
            assert_eq!(plain(text), value, "{text}");
        }
    }

    #[test]
    fn text_is_guessed_as_jina_does() {
        let list = |items: &[Value]| {
            Value::List(
                items
                    .iter()
                    .map(|item| Node::new(item.clone(), None))
                    .collect(),
            )
        };
        for (text, value) in [
            ("8080", Value::Whole(8080)),
            (" 1_0 ", Value::Whole(10)),
            ("_1", Value::Text("_1".to_owned())),
            ("017", Value::Whole(17)),
            ("1e5", Value::Real(100_000.0)),
            ("inf", Value::Real(f64::INFINITY)),
            ("'8080'", Value::Whole(8080)),
            ("\"x\"", Value::Text("x".to_owned())),
            ("", Value::Null),
            ("''", Value::Null),
            ("TRUE", Value::Bool(true)),
            ("False", Value::Bool(false)),
            ("yes", Value::Text("yes".to_owned())),
            ("[]", list(&[])),
            (
                "[a, 2, 'b']",
                list(&[
                    Value::Text("a".to_owned()),
                    Value::Whole(2),
                    Value::Text("b".to_owned()),
                ]),
            ),
            ("99999999999999999999", Value::Real(1e20)),
            ("'", Value::Text("'".to_owned())),
        ] {
            assert_eq!(guess(text), value, "{text}");
        }
    }
}
