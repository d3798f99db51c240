//! The two gRPC methods that carry documents. They are written by hand because generated services can neither send a
//! trailer after a message (`is-error`) nor answer a message that cannot be decoded.

use std::{
    convert::Infallible,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use flowgate_proto::{
    DECODE_ERROR_PREFIX, DataRequest, DecodeLimits, IS_ERROR_TRAILER,
    jina::{
        DataRequestListProto, jina_data_request_rpc_server, jina_single_data_request_rpc_server,
    },
};
use http::{HeaderMap, HeaderValue, header::HeaderName};
use http_body_util::BodyExt as _;
use prost::{Message as _, Name as _};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tonic::{
    Code, Response, Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, StdError},
    server::{Grpc, NamedService, UnaryService},
};

use super::timeout::grpc_timeout;
use crate::{Answer, CallContext, Service};

/// One of the two methods, for one Executor.
pub(super) struct DataRpc<M> {
    service: Service,
    max_message_bytes: usize,
    decode_limits: DecodeLimits,
    admission: Admission,
    method: PhantomData<fn() -> M>,
}

/// Limits the concurrent requests of both methods.
#[derive(Clone)]
pub(super) struct Admission {
    max_requests: usize,
    permits: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(max_requests: usize) -> Self {
        let max_requests = max_requests.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            max_requests,
            permits: Arc::new(Semaphore::new(max_requests)),
        }
    }

    fn acquire(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.map_err(|_| {
            let text = format!(
                "the Executor already has {} requests in flight, which is its limit",
                self.max_requests
            );
            Status::resource_exhausted(text)
        })
    }
}

/// What differs between the two methods.
pub(super) trait Method: 'static {
    const SERVICE: &'static str;
    const PATH: &'static str;

    /// Decodes the requests of a message.
    fn decode(message: Bytes) -> Result<Vec<DataRequest>, Undecodable>;
}

/// How a Jina 3.13 Executor answers a message that it cannot decode.
pub(super) enum Undecodable {
    /// The Executor sends an answer whose status is an error.
    ErrorAnswer,
    /// The Executor sends this gRPC error.
    Status(Status),
}

/// `process_single_data`.
pub(super) enum ProcessSingleData {}

/// `process_data`: the requests of a no_reduce join.
pub(super) enum ProcessData {}

impl Method for ProcessSingleData {
    const SERVICE: &'static str = jina_single_data_request_rpc_server::SERVICE_NAME;
    const PATH: &'static str = "/jina.JinaSingleDataRequestRPC/process_single_data";

    fn decode(message: Bytes) -> Result<Vec<DataRequest>, Undecodable> {
        // An empty message is an empty request, as in the Gateway. Jina 3.13 answers UNKNOWN, "the buffer is already
        // decompressed".
        let request = DataRequest::decode(message).map_err(|_| Undecodable::ErrorAnswer)?;
        Ok(vec![request])
    }
}

impl Method for ProcessData {
    const SERVICE: &'static str = jina_data_request_rpc_server::SERVICE_NAME;
    const PATH: &'static str = "/jina.JinaDataRequestRPC/process_data";

    fn decode(message: Bytes) -> Result<Vec<DataRequest>, Undecodable> {
        let unknown = |text: String| Undecodable::Status(Status::unknown(text));
        let list = DataRequestListProto::decode(message).map_err(|_| {
            let name = DataRequestListProto::full_name();
            unknown(format!("{DECODE_ERROR_PREFIX}'{name}'"))
        })?;
        if list.requests.is_empty() {
            let text = "Unexpected <class 'IndexError'>: list index out of range";
            return Err(unknown(text.to_owned()));
        }
        Ok(list.requests)
    }
}

impl<M> DataRpc<M> {
    pub(super) const fn new(
        service: Service,
        max_message_bytes: usize,
        decode_limits: DecodeLimits,
        admission: Admission,
    ) -> Self {
        Self {
            service,
            max_message_bytes,
            decode_limits,
            admission,
            method: PhantomData,
        }
    }
}

impl<M> Clone for DataRpc<M> {
    fn clone(&self) -> Self {
        Self::new(
            self.service.clone(),
            self.max_message_bytes,
            self.decode_limits,
            self.admission.clone(),
        )
    }
}

impl<M: Method> NamedService for DataRpc<M> {
    const NAME: &'static str = M::SERVICE;
}

impl<M, B> tonic::codegen::Service<http::Request<B>> for DataRpc<M>
where
    M: Method,
    B: http_body_util::BodyExt<Error: Into<StdError> + Send> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != M::PATH {
            return Box::pin(async { Ok(Status::unimplemented("Method not found!").into_http()) });
        }
        let permit = match self.admission.acquire() {
            Ok(permit) => permit,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let rpc = self.clone();
        Box::pin(async move {
            // As in Jina, requests may be compressed and answers never are.
            let mut grpc = Grpc::new(BytesCodec(rpc.service.clone()))
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Deflate)
                .max_decoding_message_size(rpc.max_message_bytes);
            let response = grpc.unary(rpc, request).await;
            Ok(finish_response(response, permit))
        })
    }
}

impl<M: Method> UnaryService<Bytes> for DataRpc<M> {
    type Response = DataRequest;
    type Future = BoxFuture<Response<DataRequest>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let service = self.service.clone();
        let limits = self.decode_limits;
        let (metadata, _, message) = request.into_parts();
        let context = context(metadata.into_headers());
        Box::pin(async move {
            let answer = match M::decode(message) {
                Ok(mut requests) => {
                    set_limits(&mut requests, limits)?;
                    service.process_in(requests, context).await
                }
                Err(Undecodable::ErrorAnswer) => service.undecodable(),
                Err(Undecodable::Status(status)) => return Err(status),
            };
            Ok(into_response(answer))
        })
    }
}

/// The headers of a call that belong to gRPC itself, beside `grpc-…`.
const TRANSPORT_HEADERS: [HeaderName; 2] = [http::header::CONTENT_TYPE, http::header::TE];

/// The context of a call with these headers.
fn context(mut headers: HeaderMap) -> CallContext {
    let timeout = grpc_timeout(&headers);
    for name in TRANSPORT_HEADERS {
        headers.remove(name);
    }
    for name in ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding"] {
        headers.remove(name);
    }
    CallContext::default()
        .with_metadata(headers)
        .with_deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
}

/// Sets the limits of the requests' documents.
///
/// # Errors
/// RESOURCE_EXHAUSTED, when a request exceeds them.
fn set_limits(requests: &mut [DataRequest], limits: DecodeLimits) -> Result<(), Status> {
    for request in requests {
        let checked = request.set_decode_limits(limits);
        let checked = checked.and_then(|()| request.documents.check_limits());
        checked.map_err(|exceeded| Status::resource_exhausted(exceeded.to_string()))?;
    }
    Ok(())
}

/// The extension of a response that gets the trailer `is-error`.
#[derive(Clone)]
struct IsError;

fn into_response(answer: Answer) -> Response<DataRequest> {
    let mut response = Response::new(answer.request);
    if answer.is_error {
        response.extensions_mut().insert(IsError);
    }
    response
}

/// Adds what a Jina client expects: the accepted encodings as a header, and `is-error` as a trailer. Releases `permit`
/// when the body has been sent.
fn finish_response(
    mut response: http::Response<Body>,
    permit: OwnedSemaphorePermit,
) -> http::Response<Body> {
    let encodings = HeaderValue::from_static("identity, deflate, gzip");
    let accepted = HeaderName::from_static("grpc-accept-encoding");
    response.headers_mut().insert(accepted, encodings);
    correct_code(response.headers_mut());
    let is_error = response.extensions_mut().remove::<IsError>().is_some();
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            let _held = &permit;
            if is_error && let Some(trailers) = frame.trailers_mut() {
                trailers.insert(IS_ERROR_TRAILER, HeaderValue::from_static("true"));
            }
            frame
        }))
    })
}

/// Reports a message over the limit as RESOURCE_EXHAUSTED, as gRPC's libraries do. tonic has OUT_OF_RANGE for it, unless it is
/// compressed. No other failure here has this code.
fn correct_code(headers: &mut HeaderMap) {
    let code = |code: Code| HeaderValue::from(code as i32);
    if let Some(status) = headers.get_mut("grpc-status")
        && *status == code(Code::OutOfRange)
    {
        *status = code(Code::ResourceExhausted);
    }
}

/// Leaves request messages undecoded, and counts the bytes of requests and answers.
struct BytesCodec(Service);

impl Codec for BytesCodec {
    type Encode = DataRequest;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(self.0.clone())
    }

    fn decoder(&mut self) -> Self {
        Self(self.0.clone())
    }
}

impl Encoder for BytesCodec {
    type Item = DataRequest;
    type Error = Status;

    fn encode(&mut self, answer: DataRequest, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.0.traffic().add_sent(answer.encoded_len());
        let encoded = answer.encode(buf);
        encoded.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let message = buf.copy_to_bytes(buf.remaining());
        self.0.traffic().add_received(message.len());
        Ok(Some(message))
    }
}
