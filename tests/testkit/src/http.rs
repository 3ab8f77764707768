//! An HTTP server whose handler decides what becomes of each call, and an origin that it can pass one on to. Both are a
//! proxy: to lose a reply is to pass the call on and cut, to send it twice is to pass it on twice.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::future::Future;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use hyper::body::Bytes;
pub use hyper::{Method, StatusCode, Uri};

/// A call, read to its end.
pub type Call = Request<Bytes>;

/// A reply, whole.
pub type Reply = Response<Bytes>;

/// The connection is closed without a reply.
#[derive(Debug, thiserror::Error)]
#[error("cut")]
pub struct Cut;

/// A server on a free port of the loopback. Whoever calls it waits until it is started.
pub struct Server {
    listener: TcpListener,
    pub url: String,
}

impl Server {
    pub async fn bind() -> Self {
        Self::at(([127, 0, 0, 1], 0).into()).await
    }

    /// One at an address where another was.
    pub async fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        Self { listener, url }
    }

    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("it is bound")
    }

    /// Hands each call to `handler`, with `state`, until the task is aborted or its runtime ends.
    pub fn start<S, H, R>(self, state: S, handler: H) -> JoinHandle<()>
    where
        S: Clone + Send + 'static,
        H: Fn(S, Call) -> R + Copy + Send + 'static,
        R: Future<Output = Result<Reply, Cut>> + Send + 'static,
    {
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else { continue };
                let state = state.clone();
                let service = service_fn(move |request| serve(state.clone(), handler, request));
                // A cut connection is what was asked for.
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        })
    }
}

async fn serve<S, H, R>(state: S, handler: H, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut>
where
    H: Fn(S, Call) -> R,
    R: Future<Output = Result<Reply, Cut>>,
{
    let (head, body) = request.into_parts();
    // A caller that dies while it speaks has called nobody.
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    Ok(handler(state, Call::from_parts(head, body)).await?.map(Full::new))
}

/// Where calls are passed on to.
#[derive(Clone)]
pub struct Origin {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

impl Origin {
    /// The server at a URL that has no path.
    pub fn at(url: &str) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url: url.to_owned() }
    }

    /// Passes a call on as it is, and gives the reply as it comes.
    pub async fn pass(&self, call: Call) -> Reply {
        let (mut head, body) = call.into_parts();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("{}{path}", self.url).parse().expect("a URL and a path");
        head.headers.remove(HOST);
        drop_framing(&mut head.headers);
        let call = Request::from_parts(head, Full::new(body));
        let (mut head, body) = self.client.request(call).await.expect("the origin replies").into_parts();
        drop_framing(&mut head.headers);
        Reply::from_parts(head, body.collect().await.expect("a whole reply").to_bytes())
    }
}

/// Drops what is true of one connection, or of a body that may be changed.
fn drop_framing(headers: &mut HeaderMap) {
    for name in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// A header's text; empty where there is none.
pub fn header<'a>(call: &'a Call, name: &str) -> &'a str {
    call.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// A reply of nothing but a status.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Reply::default();
    *reply.status_mut() = status;
    reply
}

/// A reply of JSON.
pub fn json(status: StatusCode, body: impl ToString) -> Reply {
    let mut reply = empty(status).map(|_| body.to_string().into());
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
