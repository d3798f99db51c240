//! One call of the data method: the request's own buffers, with a route inserted before the documents, as Jina's
//! Executors write it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_TYPE, HeaderName},
};
use http_body_util::BodyExt as _;
use hyper::{
    Request,
    body::{Body, Frame, Incoming},
};

/// A gRPC message starts with a flag for compression and its length in 4 bytes.
const HEAD_BYTES: usize = 5;

/// `RouteProto { executor: "echo", start_time, end_time }` as field 3 of the request.
const ROUTE: &[u8] =
    b"\x1a\x1a\x0a\x04echo\x12\x08\x08\x80\xf8\xa9\xc6\x06\x10\x01\x1a\x08\x08\x80\xf8\xa9\xc6\x06\x10\x02";

/// Smaller messages leave as one frame.
const SMALL_BYTES: usize = 16 * 1024;

/// The key of the field `data`. The fields with lower numbers precede it.
const DATA_KEY: u8 = 0x22;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The chunks of a response and the trailer `grpc-status: 0`.
#[derive(Debug)]
pub(super) struct Answer {
    chunks: VecDeque<Bytes>,
    has_ended: bool,
}

/// Reads the request and returns it as the response. A compressed message is returned unchanged.
pub(super) async fn echo(request: Request<Incoming>) -> Response<Answer> {
    let encoding = request.headers().get(&GRPC_ENCODING).cloned();
    let mut body = request.into_body();
    let mut chunks = VecDeque::with_capacity(4);
    // A request that is cut off gets what has arrived, which its client no longer reads.
    while let Some(Ok(frame)) = body.frame().await {
        chunks.extend(frame.into_data().ok().filter(|chunk| !chunk.is_empty()));
    }
    insert_route(&mut chunks);
    let mut response = Response::new(Answer {
        chunks,
        has_ended: false,
    });
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(encoding) = encoding {
        headers.insert(&GRPC_ENCODING, encoding);
    }
    response
}

/// Inserts the route before the documents, if the first chunk is an uncompressed message that reaches to them.
fn insert_route(chunks: &mut VecDeque<Bytes>) {
    let chunk_count = chunks.len();
    let Some(first) = chunks.front_mut() else {
        return;
    };
    let Some(start) = documents_start(first) else {
        return;
    };
    let Some(size) = first.get(1..HEAD_BYTES).map(|mut bytes| bytes.get_u32()) else {
        return;
    };
    let is_small = first.len() < SMALL_BYTES && chunk_count == 1;
    let capacity = if is_small { first.len() } else { start };
    let mut head = BytesMut::with_capacity(capacity + ROUTE.len());
    head.put_u8(0);
    head.put_u32(size + ROUTE.len() as u32);
    head.put_slice(first.get(HEAD_BYTES..start).unwrap_or_default());
    head.put_slice(ROUTE);
    first.advance(start);
    if is_small {
        head.put_slice(first);
        chunks.clear();
    }
    chunks.push_front(head.freeze());
}

/// Returns where the field `data` starts.
fn documents_start(first: &[u8]) -> Option<usize> {
    if *first.first()? != 0 {
        return None;
    }
    let mut rest = first.get(HEAD_BYTES..)?;
    while *rest.first()? != DATA_KEY {
        // All fields before the documents are messages.
        rest.advance(1);
        let length = varint(&mut rest)?;
        rest = rest.get(length..)?;
    }
    Some(first.len() - rest.len())
}

fn varint(rest: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..28).step_by(7) {
        let byte = *rest.first()?;
        rest.advance(1);
        value |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let answer = self.get_mut();
        if let Some(chunk) = answer.chunks.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if std::mem::replace(&mut answer.has_ended, true) {
            return Poll::Ready(None);
        }
        let status = [(GRPC_STATUS.clone(), HeaderValue::from_static("0"))];
        Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter(status)))))
    }
}
