//! What an upstream would make of bytes that a gateway sent: read the way each kind of server reads them.
//! A request is smuggled if any server could see one that the gateway did not decide on.

/// How a server finds the end of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View {
    /// By anything that looks like a chunked coding.
    Chunked,
    /// By the first length.
    First,
    /// By the last length.
    Last,
}

/// Whether any reading of the bytes holds a request whose line names `path`.
pub fn asks_for(bytes: &[u8], path: &str) -> bool {
    [View::Chunked, View::First, View::Last]
        .into_iter()
        .any(|view| lines(bytes, view).iter().any(|l| l.contains(path)))
}

/// Request lines, in order, at most 64.
fn lines(mut rest: &[u8], view: View) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < 64 {
        // A lenient server skips empty lines between requests.
        while let Some((b'\r' | b'\n', tail)) = rest.split_first() {
            rest = tail;
        }
        let Some((head, body)) = head(rest) else { break };
        let mut all = head
            .split(|&b| b == b'\n')
            .map(|l| String::from_utf8_lossy(l).trim_end().to_owned());
        let Some(line) = all.next() else { break };
        found.push(line);
        let mut fields: Vec<String> = Vec::new();
        for field in all {
            match fields.last_mut().filter(|_| field.starts_with([' ', '\t'])) {
                Some(last) => *last = format!("{last} {}", field.trim()),
                None => fields.push(field),
            }
        }
        let Some(after) = body_end(&fields, body, view) else {
            break;
        };
        rest = after;
    }
    found
}

fn head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let strict = bytes
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map(|at| (at, at + 4));
    let lenient = bytes.windows(2).position(|w| w == b"\n\n").map(|at| (at, at + 2));
    let (end, next) = match (strict, lenient) {
        (Some(a), Some(b)) => a.min(b),
        (a, b) => a.or(b)?,
    };
    Some((bytes.get(..end)?, bytes.get(next..)?))
}

fn body_end<'a>(fields: &[String], body: &'a [u8], view: View) -> Option<&'a [u8]> {
    let coding = fields.iter().find(|f| {
        let lower = f.to_ascii_lowercase();
        lower.contains("transfer-encoding") && lower.contains("chunked")
    });
    let mut lengths = fields.iter().filter_map(|f| {
        let (name, value) = f.split_once(':')?;
        name.trim()
            .eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    // A server that reads the standard's own spelling always takes it; the others matter where it is spelled strangely.
    let plain = coding.is_some_and(|f| f.eq_ignore_ascii_case("transfer-encoding: chunked"));
    let first = lengths.next();
    let ambiguous = first.is_some() || !plain;
    match (coding, view) {
        (Some(_), View::Chunked) => chunks(body),
        (Some(_), _) if !ambiguous => chunks(body),
        (_, View::Last) => body.get(lengths.next_back().or(first).unwrap_or(0)..),
        _ => body.get(first.unwrap_or(0)..),
    }
}

fn chunks(mut body: &[u8]) -> Option<&[u8]> {
    loop {
        let end = body.iter().position(|&b| b == b'\n')?;
        let text = String::from_utf8_lossy(body.get(..end)?).into_owned();
        let size = usize::from_str_radix(text.trim().split(';').next()?.trim(), 16).ok()?;
        body = body.get(end + 1..)?;
        if size == 0 {
            let trailer = body.iter().position(|&b| b == b'\n')?;
            return body.get(trailer + 1..);
        }
        body = body.get(size..)?;
        let crlf = body.iter().position(|&b| b == b'\n')?;
        body = body.get(crlf + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::asks_for;

    #[test]
    fn a_body_is_no_request() {
        let sound =
            b"POST /ok HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET /no HTTP/1.1\r\nGET /ok2 HTTP/1.1\r\n\r\n";
        assert!(!asks_for(sound, "/no"));
        assert!(asks_for(sound, "/ok2"));
        let chunked = b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n15\r\n\r\n\r\nGET /no HTTP/1.1\r\r\n0\r\n\r\n";
        assert!(!asks_for(chunked, "/no"));
    }

    #[test]
    fn every_ambiguity_is_seen() {
        let cl_te = b"POST /ok HTTP/1.1\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /no HTTP/1.1\r\nX: y\r\n\r\n";
        assert!(asks_for(cl_te, "/no"));
        let twice =
            b"POST /ok HTTP/1.1\r\nContent-Length: 22\r\nContent-Length: 0\r\n\r\nGET /no HTTP/1.1\r\n\r\nxx";
        assert!(asks_for(twice, "/no"));
        let strange = b"POST /ok HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\nGET /no HTTP/1.1\r\n\r\n";
        assert!(asks_for(strange, "/no"));
    }
}
