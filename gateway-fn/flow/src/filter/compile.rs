//! Compiles the value of `when` into a tree of tests, or reports all its errors with their places.

use std::{collections::BTreeMap, fmt};

use flowgate_proto::{Kind, Value};
use serde_json::{Map, Value as Json};

use super::{
    field::{Field, FieldError, MAX_PATH_PARTS, attribute_names},
    node::{Node, Operator, RightSide, Test},
};
use crate::pyregex::PyRegex;

/// The levels that conditions may nest, where each logical operator and each item of its list is one; and the levels of
/// lists and objects in a value.
const MAX_DEPTH: usize = 32;

/// An error in a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterSyntaxError {
    /// The keys and list indexes that lead to it inside `when`.
    pub path: Vec<String>,
    /// The value found.
    pub found: String,
    /// What is allowed.
    pub expected: String,
    /// More on the error. It may repeat parts of the value found; `expected` does not.
    pub detail: Option<String>,
}

impl fmt::Display for FilterSyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        write!(f, "found {}, expected {}", self.found, self.expected)?;
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

pub(super) fn compile(condition: &Json) -> Result<Option<Node>, Vec<FilterSyntaxError>> {
    let mut compiler = Compiler::default();
    let root = match condition {
        Json::Null => None,
        Json::Object(entries) => compiler.conjunction(entries),
        other => {
            compiler.error(
                describe(other),
                "an object of conditions, like {field: {$operator: value}}",
            );
            None
        }
    };
    if compiler.errors.is_empty() {
        Ok(root)
    } else {
        Err(compiler.errors)
    }
}

/// Compiles a condition, and continues after an error to find the others.
#[derive(Default)]
struct Compiler {
    path: Vec<String>,
    errors: Vec<FilterSyntaxError>,
}

impl Compiler {
    /// Compiles an object of conditions, `{field: …, $or: …, …}`, that is not the operand of a logical operator.
    fn conjunction(&mut self, entries: &Map<String, Json>) -> Option<Node> {
        let mut root = None;
        for node in self.entries(entries) {
            root = Some(match root {
                None => node,
                Some(first @ Node::Test(_)) => Node::All(vec![first, node]),
                // As in docarray, a condition that follows a logical operator becomes its operand: `{$or: [a], b: …}`
                // means `a or b`, whereas `{b: …, $or: [a]}` means `b and a`.
                Some(Node::All(nodes)) => Node::All(push(nodes, node)),
                Some(Node::Any(nodes)) => Node::Any(push(nodes, node)),
                Some(Node::NotAll(nodes)) => Node::NotAll(push(nodes, node)),
            });
        }
        root
    }

    fn entries(&mut self, entries: &Map<String, Json>) -> Vec<Node> {
        let nodes = entries.iter().filter_map(|(key, value)| {
            self.inside(key, |this| match key.as_str() {
                "$and" => Some(Node::All(this.operands(value))),
                "$or" => Some(Node::Any(this.operands(value))),
                "$not" => Some(Node::NotAll(this.operands(value))),
                operator if operator.starts_with('$') => {
                    this.error(quote(operator), one_of(["$and", "$or", "$not"], operator));
                    None
                }
                field => this.field(field, value),
            })
        });
        nodes.collect()
    }

    /// Compiles the operands of a logical operator: the conditions of a list, or the fields of an object.
    fn operands(&mut self, value: &Json) -> Vec<Node> {
        if self.path.len() > MAX_DEPTH {
            self.error(
                format!("nesting level {}", self.path.len()),
                format!(
                    "at most {MAX_DEPTH} levels (each $and, $or and $not is one, and each item of its list)"
                ),
            );
            return Vec::new();
        }
        match value {
            Json::Object(entries) => self.entries(entries),
            Json::Array(conditions) => {
                let nodes = conditions
                    .iter()
                    .enumerate()
                    .filter_map(|(index, condition)| {
                        self.inside(&index.to_string(), |this| this.operand(condition))
                    });
                nodes.collect()
            }
            other => {
                self.error(describe(other), "a list of conditions, or one condition");
                Vec::new()
            }
        }
    }

    fn operand(&mut self, condition: &Json) -> Option<Node> {
        let Json::Object(entries) = condition else {
            self.error(
                describe(condition),
                "a condition, like {field: {$operator: value}}",
            );
            return None;
        };
        self.conjunction(entries)
    }

    /// Compiles `field: {$operator: value, …}`.
    fn field(&mut self, field: &str, value: &Json) -> Option<Node> {
        let tests = match value {
            Json::Object(tests) if !tests.is_empty() => tests,
            other => {
                self.error(
                    describe(other),
                    "an operator and its value, like {$eq: value}",
                );
                return None;
            }
        };
        // Parsed before its operators too, so that an invalid field is one error however many operators it has.
        self.parse_field(field)?;
        let mut nodes: Vec<_> = tests
            .iter()
            .filter_map(|(operator, value)| {
                self.inside(operator, |this| this.test(field, operator, value))
            })
            .collect();
        match nodes.len() {
            1 => nodes.pop(),
            _ => Some(Node::All(nodes)),
        }
    }

    fn test(&mut self, field: &str, operator: &str, value: &Json) -> Option<Node> {
        let field = Field::parse(field).ok()?;
        let Some(operator) = Operator::parse(operator) else {
            let expected = match operator {
                "$and" | "$or" | "$not" => format!(
                    "a comparison such as $eq ({operator} belongs above the field, like {{{operator}: {{field: …}}}})"
                ),
                _ => one_of(Operator::ALL.map(Operator::as_str), operator),
            };
            self.error(quote(operator), &expected);
            return None;
        };
        let right = self.right_side(operator, value)?;
        if field.is_tensor() && !applies_to_tensor(operator, value) {
            let expected =
                "$exists, $size, or $eq/$neq with null: a tensor allows no other operator";
            self.error(quote(operator.as_str()), expected);
            return None;
        }
        Some(Node::Test(Test {
            field,
            operator,
            right,
        }))
    }

    fn right_side(&mut self, operator: Operator, value: &Json) -> Option<RightSide> {
        let text = value.as_str();
        if let Some(text) =
            text.filter(|text| text.starts_with('{') && operator != Operator::Exists)
        {
            return self.placeholder(text);
        }
        if let Some(expected) = operator.check_value(value) {
            self.error(describe(value), expected);
            return None;
        }
        if operator == Operator::Regex {
            return self.pattern(text.unwrap_or_default());
        }
        let Some(value) = literal(value, MAX_DEPTH) else {
            self.error(
                format!("a value of more than {MAX_DEPTH} levels"),
                format!("at most {MAX_DEPTH} levels of lists and objects"),
            );
            return None;
        };
        Some(RightSide::Literal(value))
    }

    fn placeholder(&mut self, text: &str) -> Option<RightSide> {
        let name = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .map(str::trim);
        let is_word = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match name.filter(|name| is_word(name)) {
            Some(name) => self.parse_field(name).map(RightSide::Placeholder),
            None => {
                self.error(quote(text), "exactly one placeholder, like {tags__name}");
                None
            }
        }
    }

    fn pattern(&mut self, pattern: &str) -> Option<RightSide> {
        match PyRegex::new(pattern) {
            Ok(regex) => Some(RightSide::Pattern(regex)),
            Err(error) => {
                self.error(quote(pattern), "a Python regular expression");
                if let Some(last) = self.errors.last_mut() {
                    last.detail = Some(error.to_string());
                }
                None
            }
        }
    }

    fn parse_field(&mut self, text: &str) -> Option<Field> {
        let error = match Field::parse(text) {
            Ok(field) => return Some(field),
            Err(error) => error,
        };
        let expected = match &error {
            FieldError::UnknownAttribute(name) => {
                format!(
                    "an attribute of a document: {}",
                    one_of(attribute_names(), name)
                )
            }
            FieldError::UnknownScoreField(name) => {
                one_of(["value", "op_name", "description", "ref_id"], name)
            }
            FieldError::NoParts => {
                "the attribute without `__`: it has no parts to select".to_owned()
            }
            FieldError::TooDeep => format!("a path of at most {MAX_PATH_PARTS} parts"),
        };
        self.error(quote(text), &expected);
        None
    }

    fn inside<T>(&mut self, key: &str, compile: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = compile(self);
        self.path.pop();
        result
    }

    fn error(&mut self, found: impl Into<String>, expected: impl Into<String>) {
        self.errors.push(FilterSyntaxError {
            path: self.path.clone(),
            found: found.into(),
            expected: expected.into(),
            detail: None,
        });
    }
}

impl Operator {
    /// `$ne`, a common mistake, is accepted for `$neq`, the only name in Jina.
    fn parse(name: &str) -> Option<Self> {
        let name = if name == "$ne" { "$neq" } else { name };
        Self::ALL
            .into_iter()
            .find(|operator| operator.as_str() == name)
    }

    /// Returns the values that are allowed, if this one is not.
    fn check_value(self, value: &Json) -> Option<&'static str> {
        let (is_allowed, expected) = match self {
            Self::Eq | Self::Neq => (true, ""),
            Self::Gt | Self::Gte | Self::Lt | Self::Lte => (
                !value.is_null() && !value.is_object(),
                "a number, a string, true or false, a list or a placeholder",
            ),
            Self::In | Self::Nin => (
                value.is_array() || value.is_string(),
                "a list, a string or a placeholder",
            ),
            Self::Regex => (value.is_string(), "a regular expression"),
            Self::Size => (value.is_number(), "a number or a placeholder"),
            Self::Exists => (value.is_boolean(), "true or false"),
        };
        (!is_allowed).then_some(expected)
    }
}

fn applies_to_tensor(operator: Operator, value: &Json) -> bool {
    match operator {
        Operator::Exists | Operator::Size => true,
        Operator::Eq | Operator::Neq => value.is_null(),
        _ => false,
    }
}

fn push(mut nodes: Vec<Node>, node: Node) -> Vec<Node> {
    nodes.push(node);
    nodes
}

/// Converts a value to the type of values in documents. Returns `None` if it nests too deep.
fn literal(value: &Json, depth: usize) -> Option<Value> {
    Some(match value {
        Json::Null => Value::from(Kind::NullValue(0)),
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => Value::from(number.as_f64()?),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => {
            let depth = depth.checked_sub(1)?;
            let values: Option<Vec<_>> = items.iter().map(|item| literal(item, depth)).collect();
            Value::from(values?)
        }
        Json::Object(members) => {
            let depth = depth.checked_sub(1)?;
            let member =
                |(key, value): (&String, &Json)| Some((key.clone(), literal(value, depth)?));
            let fields: Option<BTreeMap<_, _>> = members.iter().map(member).collect();
            Value::from(fields?)
        }
    })
}

fn describe(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(truth) => truth.to_string(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quote(text),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(object) if object.is_empty() => "an empty object".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    format!("`{short}{dots}`")
}

/// Lists the known names, and suggests the most similar one.
fn one_of<'a>(known: impl IntoIterator<Item = &'a str>, found: &str) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let similar = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, found), name))
        .min()
        .filter(|(distance, name)| distance * 2 <= name.len().max(found.len()))
        .map(|(_, name)| format!(" (did you mean {name}?)"));
    format!("one of {}{}", known.join(", "), similar.unwrap_or_default())
}
