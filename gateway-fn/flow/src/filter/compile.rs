//! The value of `when` -> a tree of tests, or everything that is wrong with it and where.

use std::{collections::BTreeMap, fmt};

use flowgate_proto::{Kind, Value};
use serde_json::{Map, Value as Json};

use super::{
    field::{Field, FieldFault, attribute_names},
    node::{Given, Node, Operator, Test},
};
use crate::pyregex::PyRegex;

/// How deep conditions, and the values in them, may nest.
const MAX_DEPTH: usize = 32;

/// One thing that is wrong with a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFault {
    /// The keys and list indexes inside `when` that lead to it.
    pub path: Vec<String>,
    /// What stands there.
    pub found: String,
    /// What should.
    pub expected: String,
    /// What is wrong with it in particular. May repeat pieces of what stands there, `expected` does not.
    pub detail: Option<String>,
}

impl fmt::Display for FilterFault {
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

pub(super) fn compile(condition: &Json) -> Result<Option<Node>, Vec<FilterFault>> {
    let mut compiler = Compiler::default();
    let root = match condition {
        Json::Null => None,
        Json::Object(entries) => compiler.conjunction(entries),
        other => {
            compiler.fault(
                describe(other),
                "an object of conditions, as {field: {$operator: value}}",
            );
            None
        }
    };
    if compiler.faults.is_empty() {
        Ok(root)
    } else {
        Err(compiler.faults)
    }
}

/// Walks the condition, and goes on after a fault to find the others.
#[derive(Default)]
struct Compiler {
    path: Vec<String>,
    faults: Vec<FilterFault>,
}

impl Compiler {
    /// `{field: …, $or: …, …}` where it stands for itself.
    fn conjunction(&mut self, entries: &Map<String, Json>) -> Option<Node> {
        let mut root = None;
        for node in self.entries(entries) {
            root = Some(match root {
                None => node,
                Some(first @ Node::Test(_)) => Node::All(vec![first, node]),
                // As in docarray: what follows a logical operator becomes part of it, so that
                // `{$or: [a], b: …}` is `a or b`.
                Some(Node::All(nodes)) => Node::All(with(nodes, node)),
                Some(Node::Any(nodes)) => Node::Any(with(nodes, node)),
                Some(Node::NotAll(nodes)) => Node::NotAll(with(nodes, node)),
            });
        }
        root
    }

    fn entries(&mut self, entries: &Map<String, Json>) -> Vec<Node> {
        let nodes = entries.iter().filter_map(|(key, value)| {
            self.inside(key, |this| match key.as_str() {
                "$and" => Some(Node::All(this.parts(value))),
                "$or" => Some(Node::Any(this.parts(value))),
                "$not" => Some(Node::NotAll(this.parts(value))),
                operator if operator.starts_with('$') => {
                    this.fault(quote(operator), one_of(["$and", "$or", "$not"], operator));
                    None
                }
                field => this.field(field, value),
            })
        });
        nodes.collect()
    }

    /// What a logical operator works on: the conditions of a list, or the fields of an object.
    fn parts(&mut self, value: &Json) -> Vec<Node> {
        if self.path.len() > MAX_DEPTH {
            self.fault("deeper nesting", format!("at most {MAX_DEPTH} levels"));
            return Vec::new();
        }
        match value {
            Json::Object(entries) => self.entries(entries),
            Json::Array(conditions) => {
                let nodes = conditions
                    .iter()
                    .enumerate()
                    .filter_map(|(index, condition)| {
                        self.inside(&index.to_string(), |this| this.part(condition))
                    });
                nodes.collect()
            }
            other => {
                self.fault(describe(other), "a list of conditions, or one condition");
                Vec::new()
            }
        }
    }

    fn part(&mut self, condition: &Json) -> Option<Node> {
        let Json::Object(entries) = condition else {
            self.fault(
                describe(condition),
                "a condition, as {field: {$operator: value}}",
            );
            return None;
        };
        self.conjunction(entries)
    }

    /// `field: {$operator: value, …}`.
    fn field(&mut self, field: &str, value: &Json) -> Option<Node> {
        let tests = match value {
            Json::Object(tests) if !tests.is_empty() => tests,
            other => {
                self.fault(
                    describe(other),
                    "an operator and its value, as {$eq: value}",
                );
                return None;
            }
        };
        // Parsed here once, so that a bad field is one fault however many operators it has.
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
                "$and" | "$or" | "$not" => format!("{operator} around the field, not below it"),
                _ => one_of(Operator::ALL.map(Operator::as_str), operator),
            };
            self.fault(quote(operator), &expected);
            return None;
        };
        let given = self.given(operator, value)?;
        if field.is_tensor() && !suits_tensor(operator, value) {
            let expected = "$exists, $size, or a comparison with null: a tensor has no other";
            self.fault(quote(operator.as_str()), expected);
            return None;
        }
        Some(Node::Test(Test {
            field,
            operator,
            given,
        }))
    }

    fn given(&mut self, operator: Operator, value: &Json) -> Option<Given> {
        let text = value.as_str();
        if let Some(text) =
            text.filter(|text| text.starts_with('{') && operator != Operator::Exists)
        {
            return self.placeholder(text);
        }
        if let Some(expected) = operator.expects(value) {
            self.fault(describe(value), expected);
            return None;
        }
        if operator == Operator::Regex {
            return self.pattern(text.unwrap_or_default());
        }
        let Some(value) = literal(value, MAX_DEPTH) else {
            self.fault("a deeper value", format!("at most {MAX_DEPTH} levels"));
            return None;
        };
        Some(Given::Literal(value))
    }

    fn placeholder(&mut self, text: &str) -> Option<Given> {
        let name = text
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'))
            .map(str::trim);
        let is_word = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        match name.filter(|name| is_word(name)) {
            Some(name) => self.parse_field(name).map(Given::Placeholder),
            None => {
                self.fault(quote(text), "exactly one placeholder, as {tags__name}");
                None
            }
        }
    }

    fn pattern(&mut self, pattern: &str) -> Option<Given> {
        match PyRegex::new(pattern) {
            Ok(regex) => Some(Given::Pattern(regex)),
            Err(error) => {
                self.fault(quote(pattern), "a regular expression of Python");
                if let Some(fault) = self.faults.last_mut() {
                    fault.detail = Some(error.to_string());
                }
                None
            }
        }
    }

    fn parse_field(&mut self, text: &str) -> Option<Field> {
        let fault = match Field::parse(text) {
            Ok(field) => return Some(field),
            Err(fault) => fault,
        };
        let expected = match &fault {
            FieldFault::UnknownAttribute(name) => {
                format!(
                    "an attribute of a document: {}",
                    one_of(attribute_names(), name)
                )
            }
            FieldFault::UnknownScoreField(name) => {
                one_of(["value", "op_name", "description", "ref_id"], name)
            }
            FieldFault::NoParts => "no `__` behind an attribute that has no parts".to_owned(),
            FieldFault::TooDeep => "a path that fits into a document".to_owned(),
        };
        self.fault(quote(text), &expected);
        None
    }

    fn inside<T>(&mut self, key: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key.to_owned());
        let result = work(self);
        self.path.pop();
        result
    }

    fn fault(&mut self, found: impl Into<String>, expected: impl Into<String>) {
        self.faults.push(FilterFault {
            path: self.path.clone(),
            found: found.into(),
            expected: expected.into(),
            detail: None,
        });
    }
}

impl Operator {
    /// `$ne` is what most people write first; Jina has only `$neq`.
    fn parse(name: &str) -> Option<Self> {
        let name = if name == "$ne" { "$neq" } else { name };
        Self::ALL
            .into_iter()
            .find(|operator| operator.as_str() == name)
    }

    /// What the operator wants, when this is not it.
    fn expects(self, value: &Json) -> Option<&'static str> {
        let (fits, expected) = match self {
            Self::Eq | Self::Neq => (true, ""),
            Self::Gt | Self::Gte | Self::Lt | Self::Lte => (
                !value.is_null() && !value.is_object(),
                "a number, a string, a list or a placeholder",
            ),
            Self::In | Self::Nin => (
                value.is_array() || value.is_string(),
                "a list, a string or a placeholder",
            ),
            Self::Regex => (value.is_string(), "a regular expression"),
            Self::Size => (value.is_number(), "a number or a placeholder"),
            Self::Exists => (value.is_boolean(), "true or false"),
        };
        (!fits).then_some(expected)
    }
}

fn suits_tensor(operator: Operator, value: &Json) -> bool {
    match operator {
        Operator::Exists | Operator::Size => true,
        Operator::Eq | Operator::Neq => value.is_null(),
        _ => false,
    }
}

fn with(mut nodes: Vec<Node>, node: Node) -> Vec<Node> {
    nodes.push(node);
    nodes
}

/// The value as documents hold theirs; `None` when it nests too deep.
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

/// The known names, with the one that was probably meant.
fn one_of<'a>(known: impl IntoIterator<Item = &'a str>, found: &str) -> String {
    let known: Vec<_> = known.into_iter().collect();
    let near = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(name, found), name))
        .min()
        .filter(|(distance, name)| distance * 2 <= name.len().max(found.len()))
        .map(|(_, name)| format!(" (did you mean {name}?)"));
    format!("one of {}{}", known.join(", "), near.unwrap_or_default())
}
