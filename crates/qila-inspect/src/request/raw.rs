//! The head as bytes, before any library is lenient with it.
use super::authority::{self, Host};
use super::{MAX_HEAD, MAX_HEADERS, is_bad, is_length};
use memchr::memchr;

/// What the bytes of a request are, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawHead {
    /// The beginning of a head: call again with more bytes.
    Incomplete,
    /// Nothing that is passed on; why.
    Malformed(&'static str),
    /// A whole head.
    Complete {
        /// Its length in bytes, the empty line included.
        len: usize,
    },
}

/// Reads the head of a request: all bytes since the last request ended. Never `Incomplete` from [`MAX_HEAD`] bytes on.
/// For bytes that arrive in pieces there is [`HeadReader`](super::HeadReader).
pub fn raw_head(bytes: &[u8]) -> RawHead {
    match read(bytes) {
        Ok(Some(len)) => RawHead::Complete { len },
        Ok(None) => RawHead::Incomplete,
        Err(why) => RawHead::Malformed(why),
    }
}

type Check<T = ()> = Result<T, &'static str>;
type Authority = (Host, Option<u16>);

/// What the fields say together.
#[derive(Default)]
struct Fields<'a> {
    count: usize,
    host: Option<&'a [u8]>,
    length: bool,
    encoding: bool,
}

/// What the request line says.
struct Line<'a> {
    old: bool,
    authority: Option<&'a [u8]>,
    default: Option<u16>,
}

fn read(bytes: &[u8]) -> Check<Option<usize>> {
    let whole = bytes.get(..MAX_HEAD).unwrap_or(bytes);
    let mut rest = whole;
    let mut request = None;
    let mut fields = Fields::default();
    loop {
        let Some(end) = memchr(b'\n', rest) else {
            // A carriage return at the very end may get its line feed yet.
            plain(rest.strip_suffix(b"\r").unwrap_or(rest))?;
            return if whole.len() == MAX_HEAD {
                Err("a head over 64 KiB")
            } else {
                Ok(None)
            };
        };
        let (line, next) = rest.split_at_checked(end + 1).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r\n") else {
            plain(line.strip_suffix(b"\n").unwrap_or(line))?;
            return Err("a line that ends without a carriage return");
        };
        plain(line)?;
        rest = next;
        match &request {
            None => request = Some(request_line(line)?),
            Some(request) if line.is_empty() => {
                together(request, &fields)?;
                break;
            }
            Some(_) => field(line, &mut fields)?,
        }
    }
    let len = whole.len() - rest.len();
    agrees(whole.get(..len).unwrap_or_default(), len)?;
    Ok(Some(len))
}

/// No control bytes but tab.
pub(super) fn plain(line: &[u8]) -> Check {
    match line.iter().copied().find(|&b| is_bad(b)) {
        None => Ok(()),
        Some(0) => Err("a NUL byte"),
        Some(b'\r') => Err("a carriage return without a line feed"),
        Some(_) => Err("a control byte"),
    }
}

fn request_line(line: &[u8]) -> Check<Line<'_>> {
    if line.is_empty() {
        return Err("an empty line in front of the request");
    }
    if line == b"PRI * HTTP/2.0" {
        return Err("HTTP/2 is not spoken here yet");
    }
    let mut words = line.split(|&b| b == b' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let old = match words.next() {
        Some(b"HTTP/1.1") => false,
        Some(b"HTTP/1.0") => true,
        None => return Err("HTTP/0.9, or no request"),
        Some(_) => return Err("an unknown HTTP version, or spaces in the target"),
    };
    if words.next().is_some() {
        return Err("more than method, target and version");
    }
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) {
        return Err("a method that is no word");
    }
    if !target.iter().all(|b| b.is_ascii_graphic() && *b != b'#') {
        return Err("a target with bytes that belong in none");
    }
    let (authority, default) = match target {
        _ if method == b"CONNECT" => (Some(target), None),
        [b'/', ..] => (None, None),
        b"*" if method == b"OPTIONS" => (None, None),
        _ => {
            let (scheme, after) = target
                .iter()
                .position(|&b| b == b':')
                .and_then(|at| target.split_at_checked(at))
                .unwrap_or_default();
            let default = match scheme {
                _ if scheme.eq_ignore_ascii_case(b"http") => 80,
                _ if scheme.eq_ignore_ascii_case(b"https") => 443,
                _ => return Err("a target that is neither a path nor an address"),
            };
            let Some(after) = after.strip_prefix(b"://") else {
                return Err("a target that is neither a path nor an address");
            };
            (after.split(|b| matches!(b, b'/' | b'?')).next(), Some(default))
        }
    };
    Ok(Line {
        old,
        authority,
        default,
    })
}

fn field<'a>(line: &'a [u8], fields: &mut Fields<'a>) -> Check {
    fields.count += 1;
    if fields.count > MAX_HEADERS {
        return Err("more than 100 header fields");
    }
    if let [b' ' | b'\t', ..] = line {
        return Err("a header field folded over two lines");
    }
    let at = memchr(b':', line).ok_or("a header field without a colon")?;
    let (name, value) = line.split_at_checked(at).unwrap_or_default();
    let value = value.strip_prefix(b":").unwrap_or_default();
    if let [.., b' ' | b'\t'] = name {
        return Err("a space in front of a colon");
    }
    if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
        return Err("a header field whose name is no word");
    }
    // One space is what everyone writes; servers differ on what else they take off these values.
    let exact = value.strip_prefix(b" ").unwrap_or(value);
    // Some servers read an underscore as a dash.
    let is = |known: &[u8]| {
        let same = |(&a, &b): (&u8, &u8)| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-');
        name.len() == known.len() && name.iter().zip(known).all(same)
    };
    if is(b"content-length") || is(b"transfer-encoding") {
        if name.contains(&b'_') {
            return Err("a length field spelled with an underscore");
        }
        if is(b"content-length") {
            if std::mem::replace(&mut fields.length, true) {
                return Err("more than one Content-Length");
            }
            if !is_length(exact) {
                return Err("a Content-Length that is not one plain number");
            }
        } else {
            if std::mem::replace(&mut fields.encoding, true) {
                return Err("more than one Transfer-Encoding");
            }
            if exact != b"chunked" {
                return Err("a Transfer-Encoding other than `chunked`");
            }
        }
    } else if is(b"host") && fields.host.replace(value.trim_ascii()).is_some() {
        return Err("more than one Host field");
    }
    Ok(())
}

/// Checks that need more than one field.
fn together(line: &Line, fields: &Fields) -> Check {
    if fields.length && fields.encoding {
        return Err("both Content-Length and Transfer-Encoding");
    }
    if fields.encoding && line.old {
        return Err("a Transfer-Encoding in HTTP/1.0");
    }
    let host = fields.host.ok_or("no Host field")?;
    let parse = |text| {
        authority::parse(text).map_err(|_| "a host that is neither a name nor a plainly written address")
    };
    let field: Authority = parse(host)?;
    if let Some(named) = line.authority {
        let named = parse(named)?;
        let default = line.default.or(named.1);
        if !authority::agree(&named, &field, default) {
            return Err("the request target and the Host field name different hosts");
        }
    }
    Ok(())
}

/// A second opinion: the parser that the HTTP library uses finds the same end.
fn agrees(head: &[u8], len: usize) -> Check {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::Request::new(&mut fields).parse(head) {
        Ok(httparse::Status::Complete(end)) if end == len => Ok(()),
        _ => Err("a head that parsers read differently"),
    }
}

/// The bytes of a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
