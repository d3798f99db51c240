//! Parses the body of a client's request and converts its documents one by one, so that the memory of a request is
//! that of its documents.

use super::{Entry, ParseError, Parsed, Parser, push};
use crate::{
    docarray::DocumentProto,
    json::{
        Json,
        field_error::{FieldErrors, Path},
        read_document::read_client_document,
        request_body::RequestBody,
    },
};

/// How deep a document is nested in the body: in the list under `data`.
const DOCUMENT_DEPTH: usize = 2;

/// Documents, and the memory that they take.
type List = (Vec<DocumentProto>, usize);

impl<'m> Parser<'_, 'm> {
    pub(super) fn parse_request(&mut self) -> Parsed<RequestBody<'m>> {
        self.skip_whitespace();
        if self.peek() == Some(b'{')
            && let Some(body) = self.parse_converting()?
        {
            return Ok(body);
        }
        // An unusual or invalid body is parsed again as a whole, so that all of its errors are found.
        self.offset = 0;
        self.budget = self.limits;
        Ok(RequestBody {
            json: self.parse_document()?,
            documents: None,
            budget: self.budget,
            document_bytes: 0,
        })
    }

    /// Parses an object whose `data` is a list of valid documents; returns `None` for any other body.
    fn parse_converting(&mut self) -> Parsed<Option<RequestBody<'m>>> {
        self.offset += 1;
        self.skip_whitespace();
        let (mut entries, mut documents) = (Vec::new(), None);
        if self.eat(b'}') {
            return self.finish(entries, documents);
        }
        loop {
            let key = self.parse_key()?;
            let value = if *key == *"data" && self.peek() == Some(b'[') {
                let Some(list) = self.parse_documents()? else {
                    return Ok(None);
                };
                if documents.replace(list).is_some() {
                    return Ok(None);
                }
                Json::List(Box::default())
            } else {
                self.parse_value(1)?
            };
            push(&mut entries, (key, value), &mut self.budget)?;
            self.skip_whitespace();
            if self.eat(b'}') {
                return self.finish(entries, documents);
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }

    fn finish(
        &mut self,
        entries: Vec<Entry>,
        documents: Option<List>,
    ) -> Parsed<Option<RequestBody<'m>>> {
        self.skip_whitespace();
        if self.offset < self.text.len() {
            return Err(ParseError::new("Extra data", self.offset));
        }
        let data = entries.iter().filter(|(key, _)| **key == *"data").count();
        if data > 1 {
            return Ok(None);
        }
        let (documents, document_bytes) = documents.unzip();
        Ok(Some(RequestBody {
            json: self.finish_object(entries)?,
            documents,
            budget: self.budget,
            document_bytes: document_bytes.unwrap_or_default(),
        }))
    }

    /// Parses a list of documents; returns `None` as soon as one is invalid.
    fn parse_documents(&mut self) -> Parsed<Option<List>> {
        self.offset += 1;
        self.skip_whitespace();
        let (mut documents, mut bytes) = (Vec::new(), 0);
        if self.eat(b']') {
            return Ok(Some((documents, bytes)));
        }
        loop {
            let before = self.budget.taken();
            let value = self.parse_value(DOCUMENT_DEPTH)?;
            let parsed = self.budget.taken();
            let mut errors = FieldErrors::new(self.budget);
            let path = Path::BODY.key("data");
            let document = read_client_document(&value, &path.index(documents.len()), &mut errors);
            if let Some(error) = errors.exceeded() {
                return Err(ParseError::exceeded(error));
            }
            self.budget = errors.budget();
            let Some(document) = document.filter(|_| errors.is_empty()) else {
                return Ok(None);
            };
            documents.push(document);
            bytes += self.budget.taken() - parsed;
            drop(value);
            self.budget.give_back(parsed - before);
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(Some((documents, bytes)));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }
}
