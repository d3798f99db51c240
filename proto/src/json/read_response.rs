//! Converts the JSON of a response, in HTTP's or WebSocket's style, back to a data request.

use super::{
    FieldError, Json, coerce,
    coerce::Mapping,
    field_error::{FieldErrors, Path, ValueError},
    read_document::{JsonSource, read_documents},
    read_struct::{MAX_MESSAGE_DEPTH, read_struct},
};
use crate::{
    DataRequest, Documents, Struct, Timestamp,
    decode_limits::{Budget, DecodeLimits},
    jina::{HeaderProto, RouteProto, StatusProto, status_proto::ExceptionProto},
};

/// Reads a response of [`super::write_http`], [`super::write_websocket`] or Jina 3.13.
///
/// Information that JSON does not have is lost: element types of arrays other than integer, float, boolean
/// and string; the `cls_name` of arrays; NaN in a `Struct`, which becomes text; in HTTP's style also the
/// nanoseconds of times, and whether endpoint and target are empty or absent.
///
/// # Errors
/// All values of a wrong type, each with its path from `body`.
pub fn read_response(response: &Json) -> Result<DataRequest, Vec<FieldError>> {
    let mut reader = Reader {
        errors: FieldErrors::new(Budget::new(DecodeLimits::default())),
    };
    let response = reader.read_response(response);
    if reader.errors.is_empty() {
        Ok(response)
    } else {
        Err(reader.errors.into_vec())
    }
}

struct Reader {
    errors: FieldErrors<'static>,
}

/// An object of the response, and its path.
struct Fields<'a> {
    values: Mapping<'a>,
    path: &'a Path<'a>,
}

impl Fields<'_> {
    /// Returns the value under either spelling of a key; `null` is treated as missing.
    fn get(&self, key: &str) -> Option<&Json> {
        let value = self.values.get(key);
        let value = value.or_else(|| self.values.get(&to_camel_case(key)));
        value.filter(|value| **value != Json::Null)
    }
}

fn to_camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut characters = word.chars();
        camel.extend(characters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(characters.as_str());
    }
    camel
}

impl Reader {
    fn read_response(&mut self, value: &Json) -> DataRequest {
        let path = Path::BODY;
        let mut response = DataRequest::default();
        let Some(from) = self.read_fields(value, &path) else {
            return response;
        };
        if let Some(value) = from.get("header") {
            response.header = self
                .read_header(value, &path.key("header"))
                .unwrap_or_default();
        }
        response.parameters = self.read_parameters(&from).into();
        response.routes = self.read_list(&from, "routes", Self::read_route);
        response.documents = self.read_documents(&from);
        response
    }

    fn read_parameters(&mut self, from: &Fields<'_>) -> Option<Struct> {
        let path = from.path.key("parameters");
        let value = from.get("parameters")?;
        read_struct(value, MAX_MESSAGE_DEPTH, &path, &mut self.errors)
    }

    fn read_fields<'a>(&mut self, value: &'a Json, path: &'a Path<'a>) -> Option<Fields<'a>> {
        let values = self
            .errors
            .check_with(path, |budget| Mapping::with_string_keys(value, budget))?;
        Some(Fields { values, path })
    }

    fn read_documents(&mut self, from: &Fields<'_>) -> Documents {
        let path = from.path.key("data");
        let Some(value) = from.get("data") else {
            return Documents::default();
        };
        read_documents(value, JsonSource::Gateway, &path, &mut self.errors).into()
    }

    fn read_header(&mut self, value: &Json, path: &Path<'_>) -> Option<HeaderProto> {
        let from = self.read_fields(value, path)?;
        Some(HeaderProto {
            request_id: self.read_text(&from, "request_id").unwrap_or_default(),
            status: self.read_status(&from),
            exec_endpoint: self.read_text(&from, "exec_endpoint"),
            target_executor: self.read_text(&from, "target_executor"),
            timeout: self.read_field(&from, "timeout", coerce::uint32),
        })
    }

    fn read_route(&mut self, value: &Json, path: &Path<'_>) -> Option<RouteProto> {
        let from = self.read_fields(value, path)?;
        Some(RouteProto {
            executor: self.read_text(&from, "executor").unwrap_or_default(),
            start_time: self.read_field(&from, "start_time", parse_time),
            end_time: self.read_field(&from, "end_time", parse_time),
            status: self.read_status(&from),
        })
    }

    fn read_status(&mut self, from: &Fields<'_>) -> Option<StatusProto> {
        let path = from.path.key("status");
        let from = self.read_fields(from.get("status")?, &path)?;
        let code = self.read_field(&from, "code", coerce::uint32);
        Some(StatusProto {
            code: code
                .and_then(|code| code.try_into().ok())
                .unwrap_or_default(),
            description: self.read_text(&from, "description").unwrap_or_default(),
            exception: self.read_exception(&from),
        })
    }

    fn read_exception(&mut self, from: &Fields<'_>) -> Option<ExceptionProto> {
        let path = from.path.key("exception");
        let from = self.read_fields(from.get("exception")?, &path)?;
        Some(ExceptionProto {
            name: self.read_text(&from, "name").unwrap_or_default(),
            args: self.read_list(&from, "args", Self::read_item_text),
            stacks: self.read_list(&from, "stacks", Self::read_item_text),
            executor: self.read_text(&from, "executor").unwrap_or_default(),
        })
    }

    fn read_field<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&Json) -> Result<T, ValueError>,
    ) -> Option<T> {
        self.errors
            .read_field((from.path, key), from.get(key), read)
    }

    fn read_text(&mut self, from: &Fields<'_>, key: &str) -> Option<String> {
        self.read_field(from, key, coerce::string)
    }

    fn read_item_text(&mut self, value: &Json, path: &Path<'_>) -> Option<String> {
        self.errors.check(path, coerce::string(value))
    }

    fn read_list<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Json, &Path<'_>) -> Option<T>,
    ) -> Vec<T> {
        let path = from.path.key(key);
        let Some(value) = from.get(key) else {
            return Vec::new();
        };
        let Some(items) = value.items() else {
            self.errors.add(&path, &ValueError::NotAList);
            return Vec::new();
        };
        let items = items.into_iter().enumerate();
        items
            .filter_map(|(i, item)| read(self, &item, &path.index(i)))
            .collect()
    }
}

fn parse_time(value: &Json) -> Result<Timestamp, ValueError> {
    let text = value.as_str().ok_or(ValueError::InvalidTime)?;
    text.parse().map_err(|_| ValueError::InvalidTime)
}
