//! What a handler gets: the documents of one request, or of all requests of a `no_reduce` join, and the
//! parameters for this Executor.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use flowgate_proto::{
    DataRequest, DocumentsError, Kind, Struct, docarray::DocumentProto, jina::HeaderProto,
    normalize_shared,
};

use crate::CallContext;

/// A request to an Executor.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    header: HeaderProto,
    parameters: Struct,
    decoded: DecodedRequests,
    context: CallContext,
}

impl Request {
    pub(crate) const fn new(
        header: HeaderProto,
        parameters: Struct,
        decoded: DecodedRequests,
        context: CallContext,
    ) -> Self {
        Self {
            header,
            parameters,
            decoded,
            context,
        }
    }

    /// The documents. Those of a join are in reverse order of its requests, the last request's first, as in
    /// Jina 3.13 (recording `grpc/34-no_reduce_b_first`).
    #[must_use]
    pub fn documents(&self) -> &[DocumentProto] {
        &self.decoded.documents
    }

    /// The documents, for changes in place. The first call copies those of a request from the same process: its sender needs
    /// them unchanged if this handler fails.
    pub fn documents_mut(&mut self) -> &mut [DocumentProto] {
        Arc::make_mut(&mut self.decoded.documents).as_mut_slice()
    }

    /// Takes the documents out of the request, copied as by [`documents_mut`](Self::documents_mut).
    #[must_use]
    pub fn into_documents(self) -> Vec<DocumentProto> {
        Arc::unwrap_or_clone(self.decoded.documents)
    }

    /// The documents of each request of a join, in the order of the requests; one slice for a plain request.
    /// `None` when there are no documents at all.
    #[must_use]
    pub fn docs_matrix(&self) -> Option<Vec<&[DocumentProto]>> {
        let parts = self.decoded.parts.iter();
        (!self.documents().is_empty()).then(|| parts.map(|part| self.part(part)).collect())
    }

    /// The documents of each request of a join. The key is the deployment that the request comes from, which is the
    /// last name in its routes: `gateway` in the first Executor of a Flow, and an empty name without routes. Of several
    /// requests from the same deployment only the last one is returned.
    #[must_use]
    pub fn docs_map(&self) -> BTreeMap<&str, &[DocumentProto]> {
        let parts = self.decoded.parts.iter();
        parts
            .map(|part| (part.deployment.as_str(), self.part(part)))
            .collect()
    }

    fn part(&self, part: &Part) -> &[DocumentProto] {
        self.documents().get(part.range.clone()).unwrap_or_default()
    }

    /// The request's parameters. Those under this Executor's own name are merged over the others.
    #[must_use]
    pub const fn parameters(&self) -> &Struct {
        &self.parameters
    }

    /// The parameter `name`; `None` when it is missing or null.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&Kind> {
        let kind = self.parameters.fields.get(name)?.kind.as_ref()?;
        (!matches!(kind, Kind::NullValue(_))).then_some(kind)
    }

    /// The parameter `name` if it is a number.
    #[must_use]
    pub fn number_parameter(&self, name: &str) -> Option<f64> {
        match self.parameter(name)? {
            Kind::NumberValue(number) => Some(*number),
            _ => None,
        }
    }

    /// The parameter `name` if it is a text.
    #[must_use]
    pub fn text_parameter(&self, name: &str) -> Option<&str> {
        match self.parameter(name)? {
            Kind::StringValue(text) => Some(text),
            _ => None,
        }
    }

    /// The endpoint that the client called. In the default handler this is not `/default`, but whatever the client
    /// sent.
    #[must_use]
    pub fn exec_endpoint(&self) -> &str {
        self.header.exec_endpoint.as_deref().unwrap_or_default()
    }

    /// The header of the request; for a join, the header of its first request.
    #[must_use]
    pub const fn header(&self) -> &HeaderProto {
        &self.header
    }

    /// What accompanies the request: metadata and trace, the deadline, and the invocation if this is a Lambda function.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }
}

/// The decoded documents of one or more requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct DecodedRequests {
    /// Shared with a request that has decoded documents.
    pub(crate) documents: Arc<Vec<DocumentProto>>,
    parts: Vec<Part>,
    /// Whether decoding the requests again gives the same documents. Not so when ids had to be generated.
    pub(crate) is_repeatable: bool,
}

/// Where the documents of one request are among all documents.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    deployment: String,
    range: Range<usize>,
}

impl DecodedRequests {
    /// Decodes and normalizes the documents of `requests`.
    pub(crate) fn decode(requests: &[DataRequest]) -> Result<Self, DocumentsError> {
        let mut decoded = Self::default();
        for request in requests.iter().rev() {
            decoded.add(request)?;
        }
        decoded.parts.reverse();
        decoded.is_repeatable = decoded.documents.iter().all(has_ids);
        // One call for all requests: it limits the memory that it adds per call, and nothing limits the number of requests.
        normalize_shared(&mut decoded.documents);
        Ok(decoded)
    }

    fn add(&mut self, request: &DataRequest) -> Result<(), DocumentsError> {
        let start = self.documents.len();
        let documents = request.documents.decode()?;
        if start == 0 {
            self.documents = documents;
        } else if !documents.is_empty() {
            Arc::make_mut(&mut self.documents).extend(Arc::unwrap_or_clone(documents));
        }
        let route = request.routes.last();
        self.parts.push(Part {
            deployment: route
                .map(|route| route.executor.clone())
                .unwrap_or_default(),
            range: start..self.documents.len(),
        });
        Ok(())
    }
}

/// Whether the document and all its chunks and matches have ids. prost's decoding limits the depth.
fn has_ids(document: &DocumentProto) -> bool {
    !document.id.is_empty()
        && document.chunks.iter().all(has_ids)
        && document.matches.iter().all(has_ids)
}
