//! An answer's JSON, in HTTP's form or in WebSocket's, becomes a data request again.

use super::{
    FieldError, Json, coerce,
    coerce::Mapping,
    field_error::{Flaw, Flaws, Path},
    read_document::{self, Author},
    read_struct::{MESSAGE_DEPTH, structure},
};
use crate::{
    DataRequest, Documents, Struct, Timestamp,
    jina::{HeaderProto, RouteProto, StatusProto, status_proto::ExceptionProto},
};

/// Reads what [`super::write_http`] or [`super::write_websocket`] wrote, or Jina 3.13.
///
/// What JSON does not hold is lost: the element types of arrays but for integer, float, boolean and
/// text; the `cls_name` of arrays; NaN in a `Struct`, which comes back as text; over HTTP the
/// nanoseconds of times, and whether endpoint and target are empty or absent.
///
/// # Errors
/// All values of a wrong type, each with its place from `body` on.
pub fn read_answer(answer: &Json) -> Result<DataRequest, Vec<FieldError>> {
    let mut reader = Reader {
        flaws: Flaws::default(),
    };
    let answer = reader.answer(answer);
    if reader.flaws.is_empty() {
        Ok(answer)
    } else {
        Err(reader.flaws.into_vec())
    }
}

struct Reader {
    flaws: Flaws,
}

/// An object of the answer, and its place.
struct Fields<'a> {
    values: Mapping<'a>,
    path: &'a Path<'a>,
}

impl Fields<'_> {
    /// The value under either spelling of a key; `null` is as good as none.
    fn get(&self, key: &str) -> Option<&Json> {
        let value = self.values.get(key);
        let value = value.or_else(|| self.values.get(&camel_case(key)));
        value.filter(|value| **value != Json::Null)
    }
}

fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

impl Reader {
    fn answer(&mut self, value: &Json) -> DataRequest {
        let path = Path::BODY;
        let mut answer = DataRequest::default();
        let Some(from) = self.fields(value, &path) else {
            return answer;
        };
        if let Some(value) = from.get("header") {
            answer.header = self.header(value, &path.key("header")).unwrap_or_default();
        }
        answer.parameters = self.parameters(&from).into();
        answer.routes = self.list(&from, "routes", Self::route);
        answer.documents = self.documents(&from);
        answer
    }

    fn parameters(&mut self, from: &Fields<'_>) -> Option<Struct> {
        let path = from.path.key("parameters");
        let value = from.get("parameters")?;
        structure(value, MESSAGE_DEPTH, &path, &mut self.flaws)
    }

    fn fields<'a>(&mut self, value: &'a Json, path: &'a Path<'a>) -> Option<Fields<'a>> {
        let values = self.flaws.take(path, Mapping::of_fields(value))?;
        Some(Fields { values, path })
    }

    fn documents(&mut self, from: &Fields<'_>) -> Documents {
        let path = from.path.key("data");
        let Some(value) = from.get("data") else {
            return Documents::default();
        };
        read_document::documents(value, Author::Ourselves, &path, &mut self.flaws).into()
    }

    fn header(&mut self, value: &Json, path: &Path<'_>) -> Option<HeaderProto> {
        let from = self.fields(value, path)?;
        Some(HeaderProto {
            request_id: self.text(&from, "request_id").unwrap_or_default(),
            status: self.status(&from),
            exec_endpoint: self.text(&from, "exec_endpoint"),
            target_executor: self.text(&from, "target_executor"),
            timeout: self.field(&from, "timeout", coerce::unsigned),
        })
    }

    fn route(&mut self, value: &Json, path: &Path<'_>) -> Option<RouteProto> {
        let from = self.fields(value, path)?;
        Some(RouteProto {
            executor: self.text(&from, "executor").unwrap_or_default(),
            start_time: self.field(&from, "start_time", time),
            end_time: self.field(&from, "end_time", time),
            status: self.status(&from),
        })
    }

    fn status(&mut self, from: &Fields<'_>) -> Option<StatusProto> {
        let path = from.path.key("status");
        let from = self.fields(from.get("status")?, &path)?;
        let code = self.field(&from, "code", coerce::unsigned);
        Some(StatusProto {
            code: code
                .and_then(|code| code.try_into().ok())
                .unwrap_or_default(),
            description: self.text(&from, "description").unwrap_or_default(),
            exception: self.exception(&from),
        })
    }

    fn exception(&mut self, from: &Fields<'_>) -> Option<ExceptionProto> {
        let path = from.path.key("exception");
        let from = self.fields(from.get("exception")?, &path)?;
        Some(ExceptionProto {
            name: self.text(&from, "name").unwrap_or_default(),
            args: self.list(&from, "args", Self::item_text),
            stacks: self.list(&from, "stacks", Self::item_text),
            executor: self.text(&from, "executor").unwrap_or_default(),
        })
    }

    fn field<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&Json) -> Result<T, Flaw>,
    ) -> Option<T> {
        let value = from.get(key)?;
        self.flaws.take(&from.path.key(key), read(value))
    }

    fn text(&mut self, from: &Fields<'_>, key: &str) -> Option<String> {
        self.field(from, key, coerce::text)
    }

    fn item_text(&mut self, value: &Json, path: &Path<'_>) -> Option<String> {
        self.flaws.take(path, coerce::text(value))
    }

    fn list<T>(
        &mut self,
        from: &Fields<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Json, &Path<'_>) -> Option<T>,
    ) -> Vec<T> {
        let path = from.path.key(key);
        match from.get(key) {
            None => Vec::new(),
            Some(Json::List(items)) => {
                let items = items.iter().enumerate();
                items
                    .filter_map(|(i, item)| read(self, item, &path.index(i)))
                    .collect()
            }
            Some(_) => {
                self.flaws.add(&path, &Flaw::List);
                Vec::new()
            }
        }
    }
}

fn time(value: &Json) -> Result<Timestamp, Flaw> {
    let text = value.as_str().ok_or(Flaw::Time)?;
    text.parse().map_err(|_| Flaw::Time)
}
