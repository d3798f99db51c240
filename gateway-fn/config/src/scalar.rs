//! The types of single values: for a plain scalar its type in YAML 1.1, as in PyYAML, and for a text the type that Jina
//! guesses.

use serde_json::Value as Json;

use super::node::{Node, Value, unquoted};

/// Whether text is read as the type that it looks like, as Jina does with every text of a Flow file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Typing {
    AsWritten,
    Guessed,
}

impl Node {
    /// Returns the value with the type that Jina guesses.
    pub(super) fn guessed(&self) -> Value {
        match &self.value {
            Value::Text(text) => guess(text),
            value => value.clone(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
            || matches!(&self.value, Value::Text(text) if guess(text) == Value::Null)
    }

    pub(super) fn to_json(&self, typing: Typing) -> Json {
        match typing {
            Typing::AsWritten => json(&self.value, typing),
            Typing::Guessed => json(&self.guessed(), typing),
        }
    }
}

fn json(value: &Value, typing: Typing) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        // JSON has no number for infinity and NaN: they become text.
        Value::Float(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| Json::from(value.to_string()), Json::Number),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(items) => items.iter().map(|item| item.to_json(typing)).collect(),
        Value::Map(entries) => entries
            .iter()
            .map(|(key, node)| (key.text.clone(), node.to_json(typing)))
            .collect(),
    }
}

/// Returns the value of a plain scalar by YAML 1.1. As in Jina `yes` and `no` are booleans, `on` and `off` are text.
pub(super) fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" => Value::Bool(false),
        _ => integer(text)
            .or_else(|| float(text))
            .unwrap_or_else(|| Value::Text(text.to_owned())),
    }
}

/// Returns the value that Jina 3.13 guesses for a text (its `parse_arg`): quotes are removed, `[a, b]` is a list, then
/// come Python's `int` and `float`, null for the empty text, and booleans in upper or lower case.
fn guess(text: &str) -> Value {
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
            return Value::Int(value);
        }
        if let Ok(value) = digits.parse() {
            return Value::Float(value);
        }
    }
    match text.to_ascii_lowercase().as_str() {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::Text(text.to_owned()),
    }
}

/// Removes Python's underscores, which are valid only between two digits.
fn python_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |index: usize| bytes.get(index).is_some_and(u8::is_ascii_digit);
    let fits =
        |index: usize| bytes[index] != b'_' || (index > 0 && digit(index - 1) && digit(index + 1));
    (0..bytes.len()).all(fits).then(|| text.replace('_', ""))
}

fn integer(text: &str) -> Option<Value> {
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
    Some(Value::Int(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    }))
}

/// Rejects a second sign, which Rust's parsers accept and YAML does not.
fn unsigned_digits(digits: &str) -> Option<&str> {
    (!digits.starts_with(['-', '+'])).then_some(digits)
}

/// Reads sexagesimal numbers of YAML 1.1: `1:30` is ninety.
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

fn float(text: &str) -> Option<Value> {
    let looks = text.contains('.') && text.contains(|c: char| c.is_ascii_digit());
    let fits = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"_.+-eE".contains(&byte));
    (looks && fits).then(|| text.replace('_', "").parse().ok().map(Value::Float))?
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
            ("0x1F90", Value::Int(8080)),
            ("017", Value::Int(15)),
            ("0o17", Value::Text("0o17".to_owned())),
            ("0b11", Value::Int(3)),
            ("1_000", Value::Int(1000)),
            ("-5", Value::Int(-5)),
            ("12:30", Value::Int(750)),
            ("1.5", Value::Float(1.5)),
            ("1.0e+3", Value::Float(1000.0)),
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
            ("8080", Value::Int(8080)),
            (" 1_0 ", Value::Int(10)),
            ("_1", Value::Text("_1".to_owned())),
            ("017", Value::Int(17)),
            ("1e5", Value::Float(100_000.0)),
            ("inf", Value::Float(f64::INFINITY)),
            ("'8080'", Value::Int(8080)),
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
                    Value::Int(2),
                    Value::Text("b".to_owned()),
                ]),
            ),
            ("99999999999999999999", Value::Float(1e20)),
            ("'", Value::Text("'".to_owned())),
        ] {
            assert_eq!(guess(text), value, "{text}");
        }
    }
}
