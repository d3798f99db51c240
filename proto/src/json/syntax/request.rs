//! Parses the body of a client's request and converts its documents one by one, so that the memory of a request is
//! that of its documents.

use super::{ParseError, Parsed, Parser, keep_last_of_each_key};
use crate::{
    decode_limits::Budget,
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

impl Parser<'_> {
    pub(super) fn parse_request(&mut self) -> Parsed<RequestBody> {
        self.skip_whitespace();
        if self.peek() == Some(b'{')
            && let Some(body) = self.parse_converting()?
        {
            return Ok(body);
        }
        // An unusual or invalid body is parsed again as a whole, so that all of its errors are found.
        self.offset = 0;
        self.budget = Budget::new(self.limits);
        Ok(RequestBody {
            json: self.parse_document()?,
            documents: None,
            budget: self.budget,
        })
    }

    /// Parses an object whose `data` is a list of valid documents; returns `None` for any other body.
    fn parse_converting(&mut self) -> Parsed<Option<RequestBody>> {
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
            entries.push((key, value));
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
        entries: Vec<(Box<str>, Json)>,
        documents: Option<Vec<DocumentProto>>,
    ) -> Parsed<Option<RequestBody>> {
        self.skip_whitespace();
        if self.offset < self.text.len() {
            return Err(ParseError::new("Extra data", self.offset));
        }
        let data = entries.iter().filter(|(key, _)| **key == *"data").count();
        Ok((data <= 1).then(|| RequestBody {
            json: Json::Object(keep_last_of_each_key(entries).into()),
            documents,
            budget: self.budget,
        }))
    }

    /// Parses a list of documents; returns `None` as soon as one is invalid.
    fn parse_documents(&mut self) -> Parsed<Option<Vec<DocumentProto>>> {
        self.offset += 1;
        self.skip_whitespace();
        let mut documents = Vec::new();
        if self.eat(b']') {
            return Ok(Some(documents));
        }
        loop {
            let value = self.parse_value(DOCUMENT_DEPTH)?;
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
            self.skip_whitespace();
            if self.eat(b']') {
                return Ok(Some(documents));
            }
            self.expect(b',', "Expecting ',' delimiter")?;
            self.skip_whitespace();
        }
    }
}
