//! A scripted HTTP server on the loopback: it answers each request with the next bytes of its script.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What one connection gets.
#[derive(Debug, Clone)]
pub enum Reply {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// Nothing: the request is read and the connection left open.
    Silence,
}

impl Reply {
    /// A whole HTTP reply.
    pub fn http(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut reply = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            reply.push_str(&format!("{name}: {value}\r\n"));
        }
        reply.push_str("connection: close\r\n\r\n");
        reply.push_str(body);
        Self::Bytes(reply.into_bytes())
    }

    /// The same reply, cut off `missing` bytes before its end.
    pub fn cut(self, missing: usize) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes[..bytes.len() - missing].to_vec()),
            Self::Silence => Self::Silence,
        }
    }
}

/// One server; it ends with the test's runtime.
#[derive(Debug)]
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers one request per reply, and refuses connections after the last.
    pub async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback has a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            let mut open = Vec::new();
            for reply in replies {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let request = read_request(&mut stream).await;
                seen.lock().expect("no holder panics").push(request);
                match reply {
                    Reply::Bytes(bytes) => {
                        // The client may have hung up; that is its own affair.
                        let _ = stream.write_all(&bytes).await;
                        let _ = stream.shutdown().await;
                    }
                    Reply::Silence => open.push(stream),
                }
            }
            if !open.is_empty() {
                std::future::pending::<()>().await;
            }
        });
        Self { url, requests }
    }

    /// The requests so far, head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no holder panics").clone()
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8_192];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse().expect("a length is a number"));
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return text,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}
