//! The first message of a TLS client, before anything is answered.
//!
//! Shapes after RFC 8446 (4.1.2, 5.1), RFC 6066 (3) and RFC 7301. What TLS stacks disagree about is refused rather than
//! guessed: the gateway's reading of the server name must be the upstream's.
mod cursor;
mod record;

use cursor::Cursor;
use qila_policy::model::HostName;
use record::Message;

/// Most bytes of the connection, record headers included, in which the hello must be complete. Hellos with post-quantum
/// key shares, tickets and ECH stay under 6 KiB.
pub const MAX_HELLO: usize = 16 * 1024;

/// Most extensions in one hello. Browsers send about 20.
pub const MAX_EXTENSIONS: usize = 64;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The beginning of a hello: call again with more bytes.
    Incomplete,
    /// Something other than TLS.
    NotTls,
    /// TLS, but nothing that a client would send; why.
    Malformed(&'static str),
    /// A whole hello.
    Complete(ClientHello),
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name.
    pub sni: Option<HostName>,
    /// The application protocols, in the client's order. GREASE values are kept.
    pub alpn: Vec<Vec<u8>>,
    /// Whether an encrypted hello is offered. Browsers send a meaningless one (GREASE), which looks the same.
    pub ech: bool,
    /// Whether early data follows.
    pub early_data: bool,
}

/// Reads the first bytes of a connection: all that has arrived, from the first one on. Never `Incomplete` from
/// [`MAX_HELLO`] bytes on.
pub fn client_hello(bytes: &[u8]) -> Hello {
    match record::message(bytes) {
        Ok(Message::Partial) if bytes.len() >= MAX_HELLO => Hello::Malformed("the hello is too long"),
        Ok(Message::Partial) => Hello::Incomplete,
        Ok(Message::NotTls) => Hello::NotTls,
        Ok(Message::Whole(body)) => body_of(&body).map_or_else(Hello::Malformed, Hello::Complete),
        Err(why) => Hello::Malformed(why),
    }
}

const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
/// encrypted_client_hello, its outer_extensions, and the draft that came before (encrypted_server_name).
const ENCRYPTED: [u16; 3] = [0xfe0d, 0xfd00, 0xffce];

type Read<T> = Result<T, &'static str>;

fn body_of(body: &[u8]) -> Read<ClientHello> {
    let mut at = Cursor::new(body);
    if at.u8()? != 3 {
        return Err("the hello names no TLS version");
    }
    at.take(1 + 32)?;
    if at.vec8()?.len() > 32 {
        return Err("the session id is too long");
    }
    let suites = at.vec16()?;
    if suites.is_empty() || !suites.len().is_multiple_of(2) {
        return Err("the cipher suites are no list");
    }
    if !at.vec8()?.contains(&0) {
        return Err("the compression methods lack `none`");
    }
    let mut hello = ClientHello {
        sni: None,
        alpn: Vec::new(),
        ech: false,
        early_data: false,
    };
    if at.is_empty() {
        return Ok(hello); // Before TLS 1.3 a hello may end here.
    }
    let mut list = Cursor::new(at.vec16()?);
    if !at.is_empty() {
        return Err("bytes after the extensions");
    }
    let mut seen = Vec::new();
    while !list.is_empty() {
        let kind = list.u16()?;
        let data = list.vec16()?;
        if seen.contains(&kind) {
            return Err("an extension is there twice");
        }
        if seen.len() == MAX_EXTENSIONS {
            return Err("too many extensions");
        }
        seen.push(kind);
        match kind {
            SERVER_NAME => hello.sni = Some(server_name(data)?),
            ALPN => hello.alpn = protocols(data)?,
            EARLY_DATA if !data.is_empty() => return Err("the early data extension is not empty"),
            EARLY_DATA => hello.early_data = true,
            PRE_SHARED_KEY if !list.is_empty() => return Err("the pre-shared key is not last"),
            _ => hello.ech |= ENCRYPTED.contains(&kind),
        }
    }
    Ok(hello)
}

fn server_name(data: &[u8]) -> Read<HostName> {
    let mut at = Cursor::new(data);
    let mut list = Cursor::new(at.vec16()?);
    if list.u8()? != 0 {
        return Err("the server name is of an unknown kind");
    }
    let name = list.vec16()?;
    if !list.is_empty() || !at.is_empty() {
        return Err("more than one server name");
    }
    // RFC 6066 sends no dot at the end; a server may or may not take it off.
    str::from_utf8(name)
        .ok()
        .filter(|text| !text.ends_with('.'))
        .and_then(HostName::parse)
        .ok_or("the server name is no host name")
}

fn protocols(data: &[u8]) -> Read<Vec<Vec<u8>>> {
    let mut at = Cursor::new(data);
    let mut list = Cursor::new(at.vec16()?);
    if list.is_empty() || !at.is_empty() {
        return Err("the protocols are no list");
    }
    let mut all = Vec::new();
    while !list.is_empty() {
        match list.vec8()? {
            [] => return Err("a protocol has no name"),
            name => all.push(name.to_vec()),
        }
    }
    Ok(all)
}

/// The fuzzer's way in: no prefix of a hello is refused, or taken for a different hello, than the whole.
#[doc(hidden)]
pub fn fuzz_hello(data: &[u8]) {
    let whole = client_hello(data);
    assert!(data.len() < MAX_HELLO || whole != Hello::Incomplete);
    for cut in [data.len() / 2, data.len().saturating_sub(1)] {
        let part = client_hello(data.get(..cut).unwrap_or_default());
        assert!(
            part == Hello::Incomplete || part == whole,
            "{part:?} became {whole:?}"
        );
    }
}
