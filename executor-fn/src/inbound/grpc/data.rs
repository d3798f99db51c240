//! The two methods that carry documents, by hand, for two things that generated services cannot do:
//! a trailer behind a message (`is-error`), and an answer to bytes that are no message.

use std::{
    convert::Infallible,
    marker::PhantomData,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes};
use flowgate_proto::{
    DECODE_ERROR_PREFIX, DataRequest, IS_ERROR_TRAILER,
    jina::{
        DataRequestListProto, jina_data_request_rpc_server, jina_single_data_request_rpc_server,
    },
};
use http::{HeaderValue, header::HeaderName};
use http_body_util::BodyExt as _;
use prost::{Message as _, Name as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{
    Response, Status,
    body::Body,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::{BoxFuture, StdError},
    server::{Grpc, NamedService, UnaryService},
};

use crate::{Answer, Service};

/// One of the two methods on an Executor.
pub(super) struct DataRpc<M> {
    service: Service,
    max_message_bytes: usize,
    admission: Admission,
    method: PhantomData<fn() -> M>,
}

/// Places for requests, which both methods share.
#[derive(Clone)]
pub(super) struct Admission {
    most: usize,
    places: Arc<Semaphore>,
}

impl Admission {
    pub(super) fn new(most: usize) -> Self {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            most,
            places: Arc::new(Semaphore::new(most)),
        }
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            let text = format!("the Executor has {} requests under way already", self.most);
            Status::resource_exhausted(text)
        })
    }
}

/// What tells the two methods apart.
pub(super) trait Method: 'static {
    const SERVICE: &'static str;
    const PATH: &'static str;

    /// The requests in a message.
    fn read(message: Bytes) -> Result<Vec<DataRequest>, Unreadable>;
}

/// How a Jina 3.13 Executor answers a message that it cannot read.
pub(super) enum Unreadable {
    /// As an Executor error.
    Answered,
    /// As the call's failure.
    Refused(Status),
}

/// `process_single_data`.
pub(super) enum Single {}

/// `process_data`: the requests of a no_reduce join.
pub(super) enum Parts {}

impl Method for Single {
    const SERVICE: &'static str = jina_single_data_request_rpc_server::SERVICE_NAME;
    const PATH: &'static str = "/jina.JinaSingleDataRequestRPC/process_single_data";

    fn read(message: Bytes) -> Result<Vec<DataRequest>, Unreadable> {
        // One of no bytes is a request without anything, as the Gateway takes it too. Jina 3.13
        // complains of a buffer that is decompressed already.
        let request = DataRequest::decode(message).map_err(|_| Unreadable::Answered)?;
        Ok(vec![request])
    }
}

impl Method for Parts {
    const SERVICE: &'static str = jina_data_request_rpc_server::SERVICE_NAME;
    const PATH: &'static str = "/jina.JinaDataRequestRPC/process_data";

    fn read(message: Bytes) -> Result<Vec<DataRequest>, Unreadable> {
        let refused = |text: String| Unreadable::Refused(Status::unknown(text));
        let list = DataRequestListProto::decode(message).map_err(|_| {
            let name = DataRequestListProto::full_name();
            refused(format!("{DECODE_ERROR_PREFIX}'{name}'"))
        })?;
        if list.requests.is_empty() {
            let text = "Unexpected <class 'IndexError'>: list index out of range";
            return Err(refused(text.to_owned()));
        }
        Ok(list.requests)
    }
}

impl<M> DataRpc<M> {
    pub(super) const fn new(
        service: Service,
        max_message_bytes: usize,
        admission: Admission,
    ) -> Self {
        Self {
            service,
            max_message_bytes,
            admission,
            method: PhantomData,
        }
    }
}

impl<M> Clone for DataRpc<M> {
    fn clone(&self) -> Self {
        let admission = self.admission.clone();
        Self::new(self.service.clone(), self.max_message_bytes, admission)
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
        let place = match self.admission.place() {
            Ok(place) => place,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        let rpc = self.clone();
        Box::pin(async move {
            // Answers are never compressed, as with Jina; requests may be.
            let mut grpc = Grpc::new(Raw(rpc.service.clone()))
                .accept_compressed(CompressionEncoding::Gzip)
                .accept_compressed(CompressionEncoding::Deflate)
                .max_decoding_message_size(rpc.max_message_bytes);
            Ok(finished(grpc.unary(rpc, request).await, place))
        })
    }
}

impl<M: Method> UnaryService<Bytes> for DataRpc<M> {
    type Response = DataRequest;
    type Future = BoxFuture<Response<DataRequest>, Status>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let service = self.service.clone();
        Box::pin(async move {
            let answer = match M::read(request.into_inner()) {
                Ok(requests) => service.process(requests).await,
                Err(Unreadable::Answered) => service.undecodable(),
                Err(Unreadable::Refused(status)) => return Err(status),
            };
            Ok(marked(answer))
        })
    }
}

/// Put beside a response whose trailers are to say `is-error`.
#[derive(Clone)]
struct IsError;

fn marked(answer: Answer) -> Response<DataRequest> {
    let mut response = Response::new(answer.request);
    if answer.is_error {
        response.extensions_mut().insert(IsError);
    }
    response
}

/// The response as a Jina peer expects it: what it may compress with, and `is-error` as a trailer.
/// `place` is given back when it is sent.
fn finished(
    mut response: http::Response<Body>,
    place: OwnedSemaphorePermit,
) -> http::Response<Body> {
    let encodings = HeaderValue::from_static("identity, deflate, gzip");
    let accepted = HeaderName::from_static("grpc-accept-encoding");
    response.headers_mut().insert(accepted, encodings);
    let is_error = response.extensions_mut().remove::<IsError>().is_some();
    response.map(|body| {
        Body::new(body.map_frame(move |mut frame| {
            let _held = &place;
            if is_error && let Some(trailers) = frame.trailers_mut() {
                trailers.insert(IS_ERROR_TRAILER, HeaderValue::from_static("true"));
            }
            frame
        }))
    })
}

/// Takes messages as bytes and counts what goes over the wire.
struct Raw(Service);

impl Codec for Raw {
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

impl Encoder for Raw {
    type Item = DataRequest;
    type Error = Status;

    fn encode(&mut self, answer: DataRequest, buf: &mut EncodeBuf<'_>) -> Result<(), Status> {
        self.0.traffic().sent(answer.encoded_len());
        let encoded = answer.encode(buf);
        encoded.map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let message = buf.copy_to_bytes(buf.remaining());
        self.0.traffic().received(message.len());
        Ok(Some(message))
    }
}
