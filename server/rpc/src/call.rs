//! What every call has in common: its span, its deadline, its metrics, and that its error has
//! details.
//!
//! It stands right around the services, inside the connection; a call that it refuses has reached
//! no handler.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use opentelemetry::propagation::Extractor;
use ropewalk_broker::Broker;
use ropewalk_broker::metrics::Metrics;
use ropewalk_core::Clock;
use tokio::time::{Instant, Sleep};
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::deadline::timeout_of;
use crate::failure::{Failure, refused_by_transport};
use crate::leading::CallRoute;
use crate::line::ClientLine;
use crate::server::Drain;

/// The methods that metrics and spans name; every other is `other`.
const METHODS: [&str; 31] = [
    "ropewalk.v1.ProducerService/Produce",
    "ropewalk.v1.ProducerService/ProduceStream",
    "ropewalk.v1.ConsumerService/Subscribe",
    "ropewalk.v1.ProducerService/InitProducer",
    "ropewalk.v1.ConsumerService/CommitOffset",
    "ropewalk.v1.ConsumerService/GetCommittedOffsets",
    "ropewalk.v1.ConsumerService/ListOffsets",
    "ropewalk.v1.ConsumerService/SubmitAssignment",
    "ropewalk.v1.AdminService/CreateTopic",
    "ropewalk.v1.AdminService/GetTopic",
    "ropewalk.v1.AdminService/ListTopics",
    "ropewalk.v1.AdminService/UpdateTopic",
    "ropewalk.v1.AdminService/DeleteTopic",
    "ropewalk.v1.AdminService/DeleteRecords",
    "ropewalk.v1.AdminService/GetCluster",
    "ropewalk.v1.AdminService/WatchTopics",
    "ropewalk.v1.AdminService/UpdateBroker",
    "ropewalk.v1.AdminService/RemoveBroker",
    "ropewalk.v1.AdminService/ReassignPartitions",
    "ropewalk.v1.AdminService/TransferLeadership",
    "ropewalk.v1.AdminService/ListConsumerGroups",
    "ropewalk.v1.AdminService/GetConsumerGroup",
    "ropewalk.v1.AdminService/WatchConsumerGroup",
    "ropewalk.v1.AdminService/DeleteConsumerGroup",
    "ropewalk.v1.AdminService/RemoveConsumerGroupMember",
    "ropewalk.v1.AdminService/DeleteCommittedOffsets",
    "grpc.health.v1.Health/Check",
    "grpc.health.v1.Health/Watch",
    "grpc.health.v1.Health/List",
    "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
const OTHER: &str = "other";

fn method_of(path: &str) -> &'static str {
    let path = path.strip_prefix('/').unwrap_or(path);
    METHODS.into_iter().find(|method| *method == path).unwrap_or(OTHER)
}

/// What calls need beside the services.
pub(crate) struct CallContext {
    pub(crate) broker: Arc<Broker>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) drain: Drain,
    /// Begins once health says that the broker does not serve any more.
    pub(crate) told: Drain,
}

/// The services, with what all calls have in common around them.
#[derive(Clone)]
pub(crate) struct CallService {
    pub(crate) routes: Routes,
    pub(crate) context: Arc<CallContext>,
    /// The connection by which calls come.
    pub(crate) line: Arc<ClientLine>,
}

impl Service<Request<Incoming>> for CallService {
    type Response = Response<CallBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let method = method_of(request.uri().path());
        let mut end = CallEnd {
            method,
            begun: self.context.clock.monotonic(),
            context: Arc::clone(&self.context),
            code: Some(Code::Cancelled),
        };
        let deadline = timeout_of(request.headers()).map(|timeout| Instant::now() + timeout);
        let span = span_of(method, request.headers());
        let mut routes = self.routes.clone();
        let route = method
            .starts_with("ropewalk.")
            .then(|| CallRoute::new(Arc::clone(&self.context.broker), request.headers()));
        let mut request = request.map(Body::new);
        if let Some(route) = &route {
            request.extensions_mut().insert(route.clone());
            request.extensions_mut().insert(Arc::clone(&self.line));
        }
        let is_draining = self.context.drain.has_begun() && method.starts_with("ropewalk.");
        let run = async move {
            let handler = routes.call(request);
            let response = if is_draining {
                Failure::draining().into_status().into_http()
            } else if let Some(deadline) = deadline {
                match tokio::time::timeout_at(deadline, handler).await {
                    Ok(Ok(response)) => response,
                    Err(_) => Failure::timed_out().into_status().into_http(),
                }
            } else {
                let Ok(response) = handler.await;
                response
            };
            let mut response = with_details(response);
            if let (Some(route), true) = (&route, response.headers().contains_key("grpc-status")) {
                // An answer without a body has its trailers in front.
                route.hint(response.headers_mut());
            }
            if let Some(code) = code_of(response.headers()) {
                end.code = Some(code);
            }
            let deadline = deadline.map(|at| Box::pin(tokio::time::sleep_until(at)));
            // The services of the contract end their streams themselves. Health and reflection come
            // with tonic: their streams would hold the drain up.
            let mut told = end.context.told.clone();
            let cut: Option<Cut> = match method.starts_with("ropewalk.") {
                true => None,
                false => Some(Box::pin(async move { told.begun().await })),
            };
            Ok(response.map(|body| CallBody { body, deadline, cut, end, route, is_over: false }))
        };
        Box::pin(run.instrument(span))
    }
}

/// An error that tonic made itself gets the details that API.md promises.
fn with_details(response: Response<Body>) -> Response<Body> {
    let headers = response.headers();
    if !headers.contains_key("grpc-status") || headers.contains_key("grpc-status-details-bin") {
        return response;
    }
    let failure = Status::from_header_map(headers).as_ref().and_then(refused_by_transport);
    failure.map_or(response, |failure| failure.into_status().into_http())
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get("grpc-status")?.as_bytes()))
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// The span of a call, part of the caller's trace if its metadata carry one.
fn span_of(method: &'static str, headers: &HeaderMap) -> tracing::Span {
    let span = tracing::info_span!("call", otel.name = method, otel.kind = "server", method);
    if !span.is_disabled() && headers.contains_key("traceparent") {
        let parent = opentelemetry::global::get_text_map_propagator(|propagator| {
            propagator.extract(&Headers(headers))
        });
        // It fails only where no exporter is set up, and then nobody misses it.
        let _ = span.set_parent(parent);
    }
    span
}

/// Records a call when it is over, in whatever way.
struct CallEnd {
    method: &'static str,
    begun: Duration,
    context: Arc<CallContext>,
    code: Option<Code>,
}

impl Drop for CallEnd {
    fn drop(&mut self) {
        let took = self.context.clock.monotonic().saturating_sub(self.begun);
        let code = self.code.unwrap_or(Code::Unknown);
        self.context.metrics.rpc_finished(self.method, code_name(code), took);
    }
}

type Cut = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// The body of an answer: it ends at the call's deadline, and tells how the call ended.
pub(crate) struct CallBody {
    body: Body,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Ends the body when there is nothing more to send.
    cut: Option<Cut>,
    end: CallEnd,
    /// Knows who was asked for help.
    route: Option<CallRoute>,
    is_over: bool,
}

impl CallBody {
    fn add_hint(&self, trailers: &mut HeaderMap) {
        if let Some(route) = &self.route {
            route.hint(trailers);
        }
    }

    /// Ends the body here: the trailers that say why.
    fn end_with(&mut self, failure: Failure) -> Result<Frame<Bytes>, Status> {
        self.is_over = true;
        self.body = Body::empty();
        let status = failure.into_status();
        self.end.code = Some(status.code());
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers)?;
        self.add_hint(&mut trailers);
        Ok(Frame::trailers(trailers))
    }
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // First of all, as a body that always has more would never be found waiting.
        let deadline = self.deadline.as_mut().map(|deadline| deadline.as_mut().poll(context));
        if deadline.is_some_and(|polled| polled.is_ready()) {
            return Poll::Ready(Some(self.end_with(Failure::timed_out())));
        }
        let mut polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &mut polled {
            match frame {
                Some(Ok(frame)) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        self.end.code = code_of(trailers).or(self.end.code);
                        self.add_hint(trailers);
                    }
                }
                Some(Err(status)) => self.end.code = Some(status.code()),
                None => self.is_over = true,
            }
            return polled;
        }
        let cut = self.cut.as_mut().map(|cut| cut.as_mut().poll(context));
        if cut.is_some_and(|polled| polled.is_ready()) {
            return Poll::Ready(Some(self.end_with(Failure::draining())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_method_of_the_contract_has_a_name_in_metrics() {
        let files =
            prost_types::FileDescriptorSet::decode(ropewalk_proto::FILE_DESCRIPTOR_SET).unwrap();
        for file in files.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    assert_eq!(method_of(&path), &path[1..]);
                }
            }
        }
        assert_eq!(method_of("/no.Such/Method"), OTHER);
    }
}
