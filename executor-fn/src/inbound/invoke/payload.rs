//! The bytes of a payload -> what is asked, and in which form the answer is expected; then the answer's text.

use std::collections::BTreeMap;

use bytes::Bytes;
use flowgate_proto::{
    Compression, DataRequest,
    invoke::{Call, FunctionError, FunctionErrorKind, Invocation, Payload, PayloadError},
    json::{self, EndpointFrom, FieldError, Loc},
};
use prost::Message as _;

use super::{
    Callee,
    fault::{fault, unreadable},
    reply,
};

/// Mistakes of one JSON body that are named; the first ones tell what the rest is about.
const NAMED_MISTAKES: usize = 8;

/// What an invocation asks for.
pub(super) struct Asked {
    work: Work,
    /// Milliseconds since 1970.
    pub(super) deadline: Option<u64>,
    pub(super) trace: BTreeMap<String, String>,
}

enum Work {
    Process(Vec<DataRequest>, Compression),
    Endpoints(Compression),
    Status(Compression),
    /// By hand.
    Json(Box<DataRequest>),
}

impl Asked {
    /// Reads a payload whose requests are `limit` bytes at most when they are decompressed.
    pub(super) fn read(payload: &Bytes, limit: usize) -> Result<Self, FunctionError> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            let text = format!("the payload is no UTF-8: {error}");
            fault(FunctionErrorKind::BadPayload, text)
        })?;
        match Payload::parse(text).map_err(|error| unreadable(&error))? {
            Payload::Invocation(invocation) => Self::of(invocation, limit),
            Payload::Json(text) if text.len() > limit => {
                Err(unreadable(&PayloadError::TooLarge { limit }))
            }
            Payload::Json(text) => Ok(Self {
                work: Work::Json(Box::new(by_hand(text)?)),
                deadline: None,
                trace: BTreeMap::new(),
            }),
        }
    }

    fn of(invocation: Invocation<'_>, limit: usize) -> Result<Self, FunctionError> {
        let encoding = invocation.encoding();
        let work = match invocation.call {
            Call::Process => {
                let requests = invocation.decode_requests(limit);
                let requests = requests.map_err(|error| unreadable(&error))?;
                Work::Process(requests, encoding)
            }
            Call::Endpoints => Work::Endpoints(encoding),
            Call::Status => Work::Status(encoding),
        };
        Ok(Self {
            work,
            deadline: invocation.deadline,
            trace: invocation.trace,
        })
    }

    /// For the log.
    pub(super) const fn name(&self) -> &'static str {
        match self.work {
            Work::Process(..) => "process",
            Work::Endpoints(_) => "endpoints",
            Work::Status(_) => "status",
            Work::Json(_) => "json",
        }
    }

    /// Asks `callee` and writes its answer.
    pub(super) async fn answer(self, callee: &impl Callee) -> Result<String, FunctionError> {
        match self.work {
            Work::Process(requests, encoding) => {
                let answer = callee.process(requests, &self.trace).await?;
                reply::payload(&answer.request.encode_to_vec(), encoding, answer.is_error)
            }
            Work::Endpoints(encoding) => {
                let endpoints = callee.endpoints().await?;
                reply::payload(&endpoints.encode_to_vec(), encoding, false)
            }
            Work::Status(encoding) => {
                let status = callee.status().await?;
                reply::payload(&status.encode_to_vec(), encoding, false)
            }
            Work::Json(request) => {
                let sent = request.clone();
                let answer = callee.process(vec![*request], &self.trace).await?;
                reply::json(&sent, &answer.request)
            }
        }
    }
}

fn by_hand(text: &str) -> Result<DataRequest, FunctionError> {
    let bad = |text| fault(FunctionErrorKind::BadPayload, text);
    let parsed = json::parse(text.as_bytes()).map_err(|error| bad(error.to_string()))?;
    json::read_request(&parsed, EndpointFrom::Body).map_err(|mistakes| bad(named(&mistakes)))
}

/// `body.data.0.text: str type expected; ...`
fn named(mistakes: &[FieldError]) -> String {
    let named = mistakes.iter().take(NAMED_MISTAKES).map(|mistake| {
        let way = mistake.loc.iter().map(|step| match step {
            Loc::Key(key) => key.clone(),
            Loc::Index(index) => index.to_string(),
        });
        let way: Vec<_> = way.collect();
        format!("{}: {}", way.join("."), mistake.msg)
    });
    let mut named: Vec<_> = named.collect();
    if let Some(more @ 1..) = mistakes.len().checked_sub(NAMED_MISTAKES) {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}
