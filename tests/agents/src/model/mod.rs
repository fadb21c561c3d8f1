//! A model server on loopback that follows a script: what it answers depends only on the conversation it is shown,
//! so an agent that repeats a request gets the same answer.
mod anthropic;
mod http;
mod openai;
mod tls;

use crate::canary::Key;
pub use http::Request;
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// At most this many connections are served in the life of one server.
const MAX_CONNECTIONS: usize = 256;
/// A connection that says nothing for this long is closed.
const IDLE: Duration = Duration::from_secs(120);

/// One turn of the scripted model.
#[derive(Debug, Clone)]
pub enum Turn {
    /// The model calls a tool of the agent's.
    Call {
        /// The tool's name.
        tool: String,
        /// Its arguments.
        args: Value,
    },
    /// The model says this and is done.
    Say(String),
}

impl Turn {
    /// A call of the tool `bash`, which most coding agents have.
    pub fn bash(command: impl Into<String>) -> Turn {
        let args = serde_json::json!({ "command": command.into() });
        Turn::Call {
            tool: "bash".into(),
            args,
        }
    }
}

/// Which API the server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `POST /v1/chat/completions`, key as bearer token.
    OpenAi,
    /// `POST /v1/messages`, key in `x-api-key`.
    Anthropic,
}

impl Dialect {
    /// The name that the real service has, and the certificate is for.
    pub fn host(self) -> &'static str {
        match self {
            Dialect::OpenAi => "api.openai.com",
            Dialect::Anthropic => "api.anthropic.com",
        }
    }

    /// The only path that is served.
    pub fn path(self) -> &'static str {
        match self {
            Dialect::OpenAi => "/v1/chat/completions",
            Dialect::Anthropic => "/v1/messages",
        }
    }

    fn key_of(self, request: &Request) -> Option<&str> {
        match self {
            Dialect::OpenAi => request.header("authorization")?.strip_prefix("Bearer "),
            Dialect::Anthropic => request.header("x-api-key"),
        }
    }

    /// What the agent's tools answered so far, in order.
    pub fn tool_results(self, body: &Value) -> Vec<String> {
        match self {
            Dialect::OpenAi => openai::tool_results(body),
            Dialect::Anthropic => anthropic::tool_results(body),
        }
    }
}

/// What the server saw of one request.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The server name that the client's TLS asked for.
    pub sni: Option<String>,
    /// Method and path.
    pub line: String,
    /// The `Host` header.
    pub host: Option<String>,
    /// Whether the real key was presented.
    pub real_key: bool,
    /// The body; null where it is not JSON.
    pub body: Value,
    /// The status that was answered.
    pub status: u16,
}

type Whole = fn(&str, usize, &str, &Turn) -> Value;
type Events = fn(&str, usize, &str, &Turn) -> Vec<String>;

/// Called with the number of each authorised request before it is answered: the agent is waiting then.
pub type Hook = Box<dyn Fn(usize) + Send + Sync>;

struct Shared {
    dialect: Dialect,
    key: Key,
    turns: Vec<Turn>,
    hook: Hook,
    tls: Arc<rustls::ServerConfig>,
    seen: Mutex<Vec<Exchange>>,
    answered: AtomicUsize,
    stop: AtomicBool,
}

/// The running server; dropping it stops it.
pub struct ModelServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    ca_pem: String,
}

impl ModelServer {
    /// Starts on a free loopback port. Every answer echoes the key it was shown, in a header and in the text: the
    /// gateway has to mask both.
    pub fn start(dialect: Dialect, key: &Key, turns: Vec<Turn>, hook: Hook) -> ModelServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
        let address = listener.local_addr().unwrap();
        let (tls, ca_pem) = tls::server_config(dialect.host());
        let shared = Arc::new(Shared {
            dialect,
            key: key.clone(),
            turns,
            hook,
            tls,
            seen: Mutex::default(),
            answered: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &for_thread));
        ModelServer {
            shared,
            address,
            ca_pem,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate authority that signed its certificate.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Everything it saw so far.
    pub fn seen(&self) -> Vec<Exchange> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// What the agent's tools answered, as the longest conversation shows it.
    pub fn tool_results(&self) -> Vec<String> {
        let all = self
            .seen()
            .into_iter()
            .map(|e| self.shared.dialect.tool_results(&e.body));
        all.max_by_key(Vec::len).unwrap_or_default()
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes `accept`, which looks at `stop`.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().take(MAX_CONNECTIONS) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        // A client that breaks off is not an error of the server's: the scenario judges by what was seen.
        std::thread::spawn(move || drop(serve(stream, &shared)));
    }
}

fn serve(tcp: TcpStream, shared: &Shared) -> std::io::Result<()> {
    tcp.set_read_timeout(Some(IDLE))?;
    tcp.set_nodelay(true)?;
    let session = rustls::ServerConnection::new(Arc::clone(&shared.tls)).map_err(std::io::Error::other)?;
    let mut stream = rustls::StreamOwned::new(session, tcp);
    let mut reader = http::Reader::default();
    while let Some(request) = reader.next(&mut stream)? {
        let sni = stream.conn.server_name().map(str::to_owned);
        let answer = shared.answer(&request, sni);
        for part in &answer {
            stream.write_all(part)?;
            stream.flush()?;
        }
    }
    Ok(())
}

impl Shared {
    /// The answer, in the parts in which it is sent.
    fn answer(&self, request: &Request, sni: Option<String>) -> Vec<Vec<u8>> {
        let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        let real_key = self.dialect.key_of(request) == Some(self.key.expose());
        let path_ok = request.path_only() == self.dialect.path() && request.method == "POST";
        let status = match (path_ok, real_key) {
            (false, _) => 404,
            (true, false) => 401,
            (true, true) => 200,
        };
        self.seen.lock().unwrap().push(Exchange {
            sni,
            line: format!("{} {}", request.method, request.path),
            host: request.header("host").map(str::to_owned),
            real_key,
            body: body.clone(),
            status,
        });
        if status != 200 {
            let error = serde_json::json!({ "type": "error", "error": {
                "type": "authentication_error", "message": "not the key, or not the path" } });
            return http::plain(status, &[], &error);
        }
        (self.hook)(self.answered.fetch_add(1, Ordering::SeqCst));
        let done = self.dialect.tool_results(&body).len();
        let turn = self
            .turns
            .get(done)
            .cloned()
            .unwrap_or_else(|| Turn::Say("Done.".into()));
        let say = format!(
            "Turn {done}; the key you sent is {} and I repeat it.",
            self.key.expose()
        );
        let key = self.key.expose();
        let headers = [("x-echoed-key", key)];
        let stream = body["stream"].as_bool().unwrap_or(false);
        let model = body["model"].as_str().unwrap_or("scripted");
        let (whole, events): (Whole, Events) = match self.dialect {
            Dialect::OpenAi => (openai::whole, openai::events),
            Dialect::Anthropic => (anthropic::whole, anthropic::events),
        };
        if stream {
            http::streamed(&headers, &events(model, done, &say, &turn), key)
        } else {
            http::plain(200, &headers, &whole(model, done, &say, &turn))
        }
    }
}
