//! A compiled condition, asked about one document.

use flowgate_proto::{Value, docarray::DocumentProto};

use super::{
    FilterError,
    field::{DeadEnd, Field},
    operand::Operand,
};
use crate::pyregex::{ClientPatterns, PyRegex};

/// Conditions as a tree; a part that decides ends the question, later parts are not asked.
#[derive(Debug)]
pub(super) enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    NotAll(Vec<Self>),
    Test(Test),
}

/// One operator on one field.
#[derive(Debug)]
pub(super) struct Test {
    pub(super) field: Field,
    pub(super) operator: Operator,
    pub(super) given: Given,
}

/// What the operator is given to work with.
#[derive(Debug)]
pub(super) enum Given {
    Literal(Value),
    Pattern(PyRegex),
    /// `{field__path}`: another field of the same document.
    Placeholder(Field),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Eq,
    Neq,
    Gt,
    Gte,
    Lt,
    Lte,
    In,
    Nin,
    Regex,
    Size,
    Exists,
}

impl Node {
    pub(super) fn admits(
        &self,
        document: &DocumentProto,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let mut first = |nodes: &[Self], wanted: bool| {
            for node in nodes {
                if node.admits(document, patterns)? == wanted {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self {
            Self::All(nodes) => first(nodes, false).map(|refused| !refused),
            Self::NotAll(nodes) => first(nodes, false),
            Self::Any(nodes) => first(nodes, true),
            Self::Test(test) => test.admits(document, patterns),
        }
    }
}

impl Test {
    fn admits(
        &self,
        document: &DocumentProto,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let given = match &self.given {
            Given::Literal(value) => Operand::of(value),
            Given::Pattern(_) => Operand::Text(""),
            Given::Placeholder(field) => self.resolve(field, document)?,
        };
        let found = self.resolve(&self.field, document)?;
        match self.operator {
            Operator::Eq | Operator::Neq => {
                self.refuse_tensors(found, given)?;
                Ok(found.equals(given) == (self.operator == Operator::Eq))
            }
            Operator::In | Operator::Nin => {
                let is_in = given
                    .contains(found)
                    .map_err(|_| self.incomparable(found, given))?;
                Ok(is_in == (self.operator == Operator::In))
            }
            Operator::Exists => Ok(self.field.exists(found) == given.equals(Operand::Bool(true))),
            _ if matches!(found, Operand::Null) => Ok(false),
            Operator::Regex => self.matches(found, given, patterns),
            Operator::Size => match found.len() {
                Some(len) => Ok(given.equals(Operand::Number(len as f64))),
                None => Err(self.unsuited(found)),
            },
            Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => {
                let order = found
                    .order(given)
                    .map_err(|_| self.incomparable(found, given))?;
                Ok(order.is_some_and(|order| match self.operator {
                    Operator::Gt => order.is_gt(),
                    Operator::Gte => order.is_ge(),
                    Operator::Lt => order.is_lt(),
                    _ => order.is_le(),
                }))
            }
        }
    }

    fn resolve<'a>(
        &self,
        field: &Field,
        document: &'a DocumentProto,
    ) -> Result<Operand<'a>, FilterError> {
        let dead_end = |DeadEnd { found, part }| FilterError::DeadEnd {
            field: field.text.clone(),
            operator: self.operator.as_str(),
            found,
            part,
        };
        field.resolve(document).map_err(dead_end)
    }

    /// An array is compared element by element in Python, which is neither true nor false.
    fn refuse_tensors(&self, found: Operand<'_>, given: Operand<'_>) -> Result<(), FilterError> {
        match (found, given) {
            (Operand::Tensor(_), Operand::Null) | (Operand::Null, Operand::Tensor(_)) => Ok(()),
            (Operand::Tensor(_), _) | (_, Operand::Tensor(_)) => {
                Err(self.incomparable(found, given))
            }
            _ => Ok(()),
        }
    }

    fn matches(
        &self,
        found: Operand<'_>,
        given: Operand<'_>,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let Operand::Text(text) = found else {
            return Err(self.unsuited(found));
        };
        let result = match (&self.given, given) {
            (Given::Pattern(regex), _) => regex.search(text),
            // The pattern is the client's own: it must not be able to burn the Gateway's time.
            (_, Operand::Text(pattern)) => patterns.search(pattern, text),
            _ => return Err(self.incomparable(found, given)),
        };
        result.map_err(|error| FilterError::Pattern {
            field: self.field.text.clone(),
            operator: self.operator.as_str(),
            reason: error.to_string(),
        })
    }

    fn incomparable(&self, found: Operand<'_>, given: Operand<'_>) -> FilterError {
        FilterError::Incomparable {
            field: self.field.text.clone(),
            operator: self.operator.as_str(),
            found: found.describe(),
            given: given.describe(),
        }
    }

    fn unsuited(&self, found: Operand<'_>) -> FilterError {
        FilterError::Unsuited {
            field: self.field.text.clone(),
            operator: self.operator.as_str(),
            found: found.describe(),
        }
    }
}

impl Operator {
    pub(super) const ALL: [Self; 11] = [
        Self::Eq,
        Self::Neq,
        Self::Gt,
        Self::Gte,
        Self::Lt,
        Self::Lte,
        Self::In,
        Self::Nin,
        Self::Regex,
        Self::Size,
        Self::Exists,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "$eq",
            Self::Neq => "$neq",
            Self::Gt => "$gt",
            Self::Gte => "$gte",
            Self::Lt => "$lt",
            Self::Lte => "$lte",
            Self::In => "$in",
            Self::Nin => "$nin",
            Self::Regex => "$regex",
            Self::Size => "$size",
            Self::Exists => "$exists",
        }
    }
}
