//! The body of a client's request becomes a data request; or all that is wrong with it at once, in
//! the order and the words of FastAPI over pydantic 1.10.

use super::{
    FieldError, Json, coerce,
    coerce::Mapping,
    field_error::{Flaw, Flaws, Path},
    read_document::{self, Author},
    read_struct::{MESSAGE_DEPTH, structure},
};
use crate::{
    DataRequest, Documents, Struct, docarray::DocumentProto, document, fresh_id, jina::HeaderProto,
};

/// Where a request's exec endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointFrom<'a> {
    /// From the body's `exec_endpoint` or `execEndpoint`, else it is `/`: `POST /post`, WebSocket.
    Body,
    /// From the route, whatever the body says: CRUD and exposed endpoints.
    Path(&'a str),
}

/// Reads the body of a request: `data`, `parameters`, `target_executor`, and the endpoint where it
/// comes from the body. Documents are settled ([`crate::normalise`]), and the request has a fresh id.
///
/// A body that is not there at all is read as [`Json::Null`].
///
/// # Errors
/// All that is wrong with the body, each with its place from `body` on.
pub fn read_request(
    body: &Json,
    endpoint: EndpointFrom<'_>,
) -> Result<DataRequest, Vec<FieldError>> {
    let mut flaws = Flaws::default();
    let request = match body {
        Json::Null => {
            flaws.add(&Path::BODY, &Flaw::Missing);
            None
        }
        body => flaws
            .take(&Path::BODY, Mapping::of_fields(body))
            .map(|fields| request(&fields, endpoint, &mut flaws)),
    };
    match request {
        Some(request) if flaws.is_empty() => Ok(request),
        _ => Err(flaws.into_vec()),
    }
}

fn request(fields: &Mapping<'_>, endpoint: EndpointFrom<'_>, flaws: &mut Flaws) -> DataRequest {
    let documents = fields
        .get("data")
        .filter(|data| **data != Json::Null)
        .and_then(|data| documents(data, &Path::BODY.key("data"), flaws));
    let target_executor = target_executor(fields, flaws);
    let parameters = parameters(fields, flaws);
    let exec_endpoint = match endpoint {
        EndpointFrom::Path(path) => path.to_owned(),
        EndpointFrom::Body => exec_endpoint(fields, flaws),
    };
    let header = HeaderProto {
        request_id: fresh_id(),
        exec_endpoint: Some(exec_endpoint).filter(|endpoint| !endpoint.is_empty()),
        target_executor,
        ..Default::default()
    };
    DataRequest {
        header,
        parameters: parameters.into(),
        documents: documents.map(settled).unwrap_or_default(),
        ..Default::default()
    }
}

fn settled(mut documents: Vec<DocumentProto>) -> Documents {
    document::settle_all(&mut documents);
    documents.into()
}

/// The value under either spelling of a key; the camelCase one wins.
fn either<'a>(fields: &'a Mapping<'_>, camel: &str, snake: &str) -> Option<&'a Json> {
    fields.get(camel).or_else(|| fields.get(snake))
}

fn target_executor(fields: &Mapping<'_>, flaws: &mut Flaws) -> Option<String> {
    let value = either(fields, "targetExecutor", "target_executor")?;
    if *value == Json::Null {
        return None;
    }
    let target = flaws.take(&Path::BODY.key("targetExecutor"), coerce::text(value))?;
    Some(target).filter(|target| !target.is_empty())
}

/// The parameters; an empty object is as good as none, as it is to Jina.
fn parameters(fields: &Mapping<'_>, flaws: &mut Flaws) -> Option<Struct> {
    let value = fields.get("parameters")?;
    if *value == Json::Null {
        return None;
    }
    let path = Path::BODY.key("parameters");
    structure(value, MESSAGE_DEPTH, &path, flaws).filter(|held| !held.fields.is_empty())
}

fn exec_endpoint(fields: &Mapping<'_>, flaws: &mut Flaws) -> String {
    let endpoint = match either(fields, "execEndpoint", "exec_endpoint") {
        None => Ok("/".to_owned()),
        Some(Json::Null) => Err(Flaw::Null),
        Some(value) => coerce::text(value),
    };
    flaws
        .take(&Path::BODY.key("execEndpoint"), endpoint)
        .unwrap_or_default()
}

/// `data` is a list of documents, or an object with such a list under `docs`. If it is neither, what
/// speaks against either is told.
fn documents(data: &Json, path: &Path<'_>, flaws: &mut Flaws) -> Option<Vec<DocumentProto>> {
    let mut against_list = Flaws::default();
    let list = read_document::documents(data, Author::Client, path, &mut against_list);
    if against_list.is_empty() {
        return Some(list);
    }
    let mut against_object = Flaws::default();
    let object = documents_by_name(data, path, &mut against_object);
    if against_object.is_empty() {
        return object;
    }
    flaws.append(against_list);
    flaws.append(against_object);
    None
}

/// The list under `docs`. Lists under other names are read as well, and passed over.
fn documents_by_name(
    data: &Json,
    path: &Path<'_>,
    flaws: &mut Flaws,
) -> Option<Vec<DocumentProto>> {
    let lists = flaws.take(path, Mapping::of(data))?;
    let mut documents = None;
    for (name, value) in lists.entries() {
        let Some(name) = flaws.take(&path.key("__key__"), name) else {
            continue;
        };
        let list = read_document::documents(value, Author::Client, &path.key(&name), flaws);
        if name == "docs" {
            documents = Some(list);
        }
    }
    if lists.is_empty() {
        return Some(Vec::new());
    }
    if documents.is_none() && flaws.is_empty() {
        flaws.add(&path.key("docs"), &Flaw::Missing);
    }
    documents
}
