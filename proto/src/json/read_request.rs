//! Converts the body of a client's request to a data request, or reports all of its errors at once, in the
//! order and the words of FastAPI and pydantic 1.10.

use super::{
    FieldError, Json, RequestBody, coerce,
    coerce::Mapping,
    field_error::{FieldErrors, Path, ValueError},
    read_document::{JsonSource, read_documents},
    read_struct::{MAX_MESSAGE_DEPTH, read_struct},
};
use crate::{
    DataRequest, Documents, LimitExceeded, Struct, docarray::DocumentProto, document, generate_id,
    jina::HeaderProto,
};

/// Why a body is not a request.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadError {
    /// All errors in the body, each with its path from `body`: 422.
    Invalid(Vec<FieldError>),
    /// The documents exceed a limit: 413.
    TooLarge(LimitExceeded),
}

/// Where a request's exec endpoint comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointFrom<'a> {
    /// The body's `exec_endpoint` or `execEndpoint`, `/` by default: `POST /post`, WebSocket.
    Body,
    /// The HTTP route; the body's value is ignored: CRUD and exposed endpoints.
    Path(&'a str),
}

/// Reads the body of a request: `data`, `parameters`, `target_executor`, and the endpoint with
/// [`EndpointFrom::Body`]. Documents are normalized as on decoding ([`crate::normalize`]), and the request
/// gets a new id.
///
/// For a missing body pass [`Json::Null`].
///
/// # Errors
/// When the body is invalid or exceeds a limit.
pub fn read_request<'m>(
    body: impl Into<RequestBody<'m>>,
    endpoint: EndpointFrom<'_>,
) -> Result<DataRequest, ReadError> {
    let RequestBody {
        json,
        documents,
        budget,
        document_bytes,
    } = body.into();
    let mut errors = FieldErrors::new(budget);
    let request = match &json {
        Json::Null => {
            errors.add(&Path::BODY, &ValueError::Missing);
            None
        }
        body => errors
            .check_with(&Path::BODY, |budget| {
                Mapping::with_string_keys(body, budget)
            })
            .map(|fields| build_request(&fields, documents, endpoint, &mut errors)),
    };
    let converted = errors.budget().taken().saturating_sub(budget.taken());
    match (request, errors.exceeded()) {
        (_, Some(exceeded)) => Err(ReadError::TooLarge(exceeded)),
        (Some(request), None) if errors.is_empty() => {
            // The tree ends here.
            errors.budget().settle(document_bytes + converted);
            Ok(request)
        }
        _ => Err(ReadError::Invalid(errors.into_vec())),
    }
}

fn build_request(
    fields: &Mapping<'_>,
    documents: Option<Vec<DocumentProto>>,
    endpoint: EndpointFrom<'_>,
    errors: &mut FieldErrors<'_>,
) -> DataRequest {
    let documents = documents.or_else(|| {
        let data = fields.get("data").filter(|data| **data != Json::Null)?;
        read_data(data, &Path::BODY.key("data"), errors)
    });
    let target_executor = read_target_executor(fields, errors);
    let parameters = read_parameters(fields, errors);
    let exec_endpoint = match endpoint {
        EndpointFrom::Path(path) => path.to_owned(),
        EndpointFrom::Body => read_exec_endpoint(fields, errors),
    };
    let header = HeaderProto {
        request_id: generate_id(),
        exec_endpoint: Some(exec_endpoint).filter(|endpoint| !endpoint.is_empty()),
        target_executor,
        ..Default::default()
    };
    DataRequest {
        header,
        parameters: parameters.into(),
        documents: documents.map(normalized).unwrap_or_default(),
        ..Default::default()
    }
}

fn normalized(mut documents: Vec<DocumentProto>) -> Documents {
    document::normalize_decoded(&mut documents);
    documents.into()
}

/// Returns the value under either spelling of a key; camelCase takes precedence.
fn get_either<'a>(fields: &'a Mapping<'_>, camel: &str, snake: &str) -> Option<&'a Json> {
    fields.get(camel).or_else(|| fields.get(snake))
}

fn read_target_executor(fields: &Mapping<'_>, errors: &mut FieldErrors<'_>) -> Option<String> {
    let value = get_either(fields, "targetExecutor", "target_executor")?;
    if *value == Json::Null {
        return None;
    }
    let target = errors.check(&Path::BODY.key("targetExecutor"), coerce::string(value))?;
    Some(target).filter(|target| !target.is_empty())
}

/// Reads the parameters. An empty object is treated as missing, as in Jina.
fn read_parameters(fields: &Mapping<'_>, errors: &mut FieldErrors<'_>) -> Option<Struct> {
    let value = fields.get("parameters")?;
    if *value == Json::Null {
        return None;
    }
    let path = Path::BODY.key("parameters");
    read_struct(value, MAX_MESSAGE_DEPTH, &path, errors).filter(|object| !object.fields.is_empty())
}

fn read_exec_endpoint(fields: &Mapping<'_>, errors: &mut FieldErrors<'_>) -> String {
    let endpoint = match get_either(fields, "execEndpoint", "exec_endpoint") {
        None => Ok("/".to_owned()),
        Some(Json::Null) => Err(ValueError::NullNotAllowed),
        Some(value) => coerce::string(value),
    };
    errors
        .check(&Path::BODY.key("execEndpoint"), endpoint)
        .unwrap_or_default()
}

/// Reads `data`: a list of documents, or an object with such a list under `docs`. When it is neither, the
/// errors of both forms are reported.
fn read_data(
    data: &Json,
    path: &Path<'_>,
    errors: &mut FieldErrors<'_>,
) -> Option<Vec<DocumentProto>> {
    let mut list_errors = FieldErrors::new(errors.budget());
    let list = read_documents(data, JsonSource::Client, path, &mut list_errors);
    if list_errors.is_empty() {
        *errors.budget_mut() = list_errors.budget();
        return Some(list);
    }
    drop(list);
    let mut object_errors = FieldErrors::new(errors.budget());
    let object = read_named_lists(data, path, &mut object_errors);
    if object_errors.is_empty() {
        *errors.budget_mut() = object_errors.budget();
        return object;
    }
    errors.append(list_errors);
    errors.append(object_errors);
    None
}

/// Reads the list under `docs`. Lists under other names are validated and ignored.
fn read_named_lists(
    data: &Json,
    path: &Path<'_>,
    errors: &mut FieldErrors<'_>,
) -> Option<Vec<DocumentProto>> {
    let lists = errors.check_with(path, |budget| Mapping::from_value(data, budget))?;
    let mut documents = None;
    for (name, value) in lists.entries() {
        let Some(name) = errors.check(&path.key("__key__"), name) else {
            continue;
        };
        let list = read_documents(value, JsonSource::Client, &path.key(&name), errors);
        if name == "docs" {
            documents = Some(list);
        }
    }
    if lists.is_empty() {
        return Some(Vec::new());
    }
    if documents.is_none() && errors.is_empty() {
        errors.add(&path.key("docs"), &ValueError::Missing);
    }
    documents
}
