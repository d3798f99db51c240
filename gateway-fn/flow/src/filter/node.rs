//! A compiled condition, evaluated for one document at a time.

use flowgate_proto::{Value, docarray::DocumentProto};

use super::{
    FilterError,
    field::{Field, MissingPart},
    operand::Operand,
};
use crate::pyregex::{ClientPatterns, PyRegex};

/// A tree of conditions. Evaluation stops at the first one that decides the result.
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
    pub(super) right: RightSide,
}

/// The right side of an operator.
#[derive(Debug)]
pub(super) enum RightSide {
    Literal(Value),
    Pattern(PyRegex),
    /// Another field of the same document, written `{field__path}`.
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
    /// Whether a document fulfils the condition.
    pub(super) fn matches(
        &self,
        document: &DocumentProto,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let mut has_result = |nodes: &[Self], result: bool| {
            for node in nodes {
                if node.matches(document, patterns)? == result {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        match self {
            Self::All(nodes) => has_result(nodes, false).map(|has_failed| !has_failed),
            Self::NotAll(nodes) => has_result(nodes, false),
            Self::Any(nodes) => has_result(nodes, true),
            Self::Test(test) => test.matches(document, patterns),
        }
    }
}

impl Test {
    fn matches(
        &self,
        document: &DocumentProto,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let right = match &self.right {
            RightSide::Literal(value) => Operand::new(value),
            RightSide::Pattern(_) => Operand::Text(""),
            RightSide::Placeholder(field) => self.resolve(field, document)?,
        };
        let found = self.resolve(&self.field, document)?;
        match self.operator {
            Operator::Eq | Operator::Neq => {
                self.reject_tensors(found, right)?;
                Ok(found.equals(right) == (self.operator == Operator::Eq))
            }
            Operator::In | Operator::Nin => {
                let is_in = right
                    .contains(found)
                    .map_err(|_| self.incomparable(found, right))?;
                Ok(is_in == (self.operator == Operator::In))
            }
            Operator::Exists => Ok(self.field.exists(found) == right.equals(Operand::Bool(true))),
            _ if matches!(found, Operand::Null) => Ok(false),
            Operator::Regex => self.matches_regex(found, right, patterns),
            Operator::Size => match found.len() {
                Some(len) => Ok(right.equals(Operand::Number(len as f64))),
                None => Err(self.not_applicable(found)),
            },
            Operator::Gt | Operator::Gte | Operator::Lt | Operator::Lte => {
                let order = found
                    .order(right)
                    .map_err(|_| self.incomparable(found, right))?;
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
        let missing = |MissingPart { found, part }| FilterError::MissingPart {
            field: field.text.clone(),
            operator: self.operator.as_str(),
            found,
            part,
        };
        field.resolve(document).map_err(missing)
    }

    /// Python compares arrays element by element, so that the result is neither true nor false.
    fn reject_tensors(&self, found: Operand<'_>, right: Operand<'_>) -> Result<(), FilterError> {
        match (found, right) {
            (Operand::Tensor(_), Operand::Null) | (Operand::Null, Operand::Tensor(_)) => Ok(()),
            (Operand::Tensor(_), _) | (_, Operand::Tensor(_)) => {
                Err(self.incomparable(found, right))
            }
            _ => Ok(()),
        }
    }

    fn matches_regex(
        &self,
        found: Operand<'_>,
        right: Operand<'_>,
        patterns: &mut ClientPatterns,
    ) -> Result<bool, FilterError> {
        let Operand::Text(text) = found else {
            return Err(self.not_applicable(found));
        };
        let result = match (&self.right, right) {
            (RightSide::Pattern(regex), _) => regex.search(text),
            // The pattern comes from the client, so that its time is limited.
            (_, Operand::Text(pattern)) => patterns.search(pattern, text),
            _ => return Err(self.incomparable(found, right)),
        };
        result.map_err(|error| FilterError::Pattern {
            field: self.field.text.clone(),
            operator: self.operator.as_str(),
            reason: error.to_string(),
        })
    }

    fn incomparable(&self, found: Operand<'_>, right: Operand<'_>) -> FilterError {
        FilterError::Incomparable {
            field: self.field.text.clone(),
            operator: self.operator.as_str(),
            found: found.describe(),
            operand: right.describe(),
        }
    }

    fn not_applicable(&self, found: Operand<'_>) -> FilterError {
        FilterError::NotApplicable {
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
