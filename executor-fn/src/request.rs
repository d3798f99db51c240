//! What a handler gets: the documents of one request, or of all requests of a no_reduce join, and
//! the parameters meant for this Executor.

use std::{collections::BTreeMap, ops::Range};

use flowgate_proto::{
    DataRequest, DocumentsError, Kind, Struct, docarray::DocumentProto, jina::HeaderProto,
    normalise_all,
};

/// A request to an Executor.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    header: HeaderProto,
    parameters: Struct,
    read: Read,
}

impl Request {
    pub(crate) const fn new(header: HeaderProto, parameters: Struct, read: Read) -> Self {
        Self {
            header,
            parameters,
            read,
        }
    }

    /// The documents. Those of a join stand in reverse order of its parts, the last part's first,
    /// as in Jina 3.13 (recording `grpc/34-no_reduce_b_first`).
    #[must_use]
    pub fn documents(&self) -> &[DocumentProto] {
        &self.read.documents
    }

    /// The documents, to be changed in place.
    pub fn documents_mut(&mut self) -> &mut [DocumentProto] {
        &mut self.read.documents
    }

    /// The documents as the handler's own.
    #[must_use]
    pub fn into_documents(self) -> Vec<DocumentProto> {
        self.read.documents
    }

    /// The documents part by part, in the order in which a join's requests came; one part for a
    /// plain request, `None` when there is no document at all.
    #[must_use]
    pub fn docs_matrix(&self) -> Option<Vec<&[DocumentProto]>> {
        let parts = self.read.parts.iter();
        (!self.documents().is_empty()).then(|| parts.map(|part| self.part(part)).collect())
    }

    /// The parts by the last name in each one's routes: the deployment it comes from, `gateway`
    /// where this is the first, empty without a route. Of several from one place the last counts.
    #[must_use]
    pub fn docs_map(&self) -> BTreeMap<&str, &[DocumentProto]> {
        let parts = self.read.parts.iter();
        parts
            .map(|part| (part.executor.as_str(), self.part(part)))
            .collect()
    }

    fn part(&self, part: &Part) -> &[DocumentProto] {
        self.documents().get(part.range.clone()).unwrap_or_default()
    }

    /// The request's parameters, with those under the Executor's own name merged over them.
    #[must_use]
    pub const fn parameters(&self) -> &Struct {
        &self.parameters
    }

    /// One parameter; `None` when it is absent or null.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Kind> {
        let kind = self.parameters.fields.get(name)?.kind.as_ref()?;
        (!matches!(kind, Kind::NullValue(_))).then_some(kind)
    }

    /// A parameter that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.parameter(name)? {
            Kind::NumberValue(number) => Some(*number),
            _ => None,
        }
    }

    /// A parameter that is text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.parameter(name)? {
            Kind::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// The endpoint that was asked for; it differs from the bound one in a default handler.
    #[must_use]
    pub fn exec_endpoint(&self) -> &str {
        self.header.exec_endpoint.as_deref().unwrap_or_default()
    }

    /// The header of the (first) request.
    #[must_use]
    pub const fn header(&self) -> &HeaderProto {
        &self.header
    }
}

/// Documents read out of one or more requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Read {
    pub(crate) documents: Vec<DocumentProto>,
    parts: Vec<Part>,
    /// Whether reading the requests again gives the same documents: not so where ids had to be made.
    pub(crate) repeatable: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct Part {
    executor: String,
    range: Range<usize>,
}

impl Read {
    /// Decodes and normalises the documents of `requests`.
    pub(crate) fn requests(requests: &[DataRequest]) -> Result<Self, DocumentsError> {
        let mut read = Self::default();
        for request in requests.iter().rev() {
            read.add(request)?;
        }
        read.parts.reverse();
        read.repeatable = read.documents.iter().all(has_ids);
        // All parts at once: what one call may add is bounded, the number of parts is not.
        normalise_all(&mut read.documents);
        Ok(read)
    }

    fn add(&mut self, request: &DataRequest) -> Result<(), DocumentsError> {
        let start = self.documents.len();
        self.documents.extend(request.documents.clone().into_vec()?);
        let route = request.routes.last();
        self.parts.push(Part {
            executor: route
                .map(|route| route.executor.clone())
                .unwrap_or_default(),
            range: start..self.documents.len(),
        });
        Ok(())
    }
}

/// Whether the document and all below it have ids. The depth is prost's limit when decoding.
fn has_ids(document: &DocumentProto) -> bool {
    !document.id.is_empty()
        && document.chunks.iter().all(has_ids)
        && document.matches.iter().all(has_ids)
}
