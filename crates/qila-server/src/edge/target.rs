//! For which port of which sandbox a request is, if for any.
use crate::problem::Problem;
use axum::extract::Request;
use http::header;

/// The port that is meant where only E2B's header for the sandbox is there.
const E2B_DEFAULT: u16 = 49_983;

/// A port of a sandbox, as the request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub id: String,
    pub port: u16,
}

/// None: the request is for the server itself. Headers go before the host.
pub(crate) fn of(request: &Request, domain: Option<&str>) -> Result<Option<Target>, Problem> {
    let text = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or(""))
    };
    let pairs = [
        ("qila-sandbox", "qila-port", None),
        ("e2b-sandbox-id", "e2b-sandbox-port", Some(E2B_DEFAULT)),
    ];
    for (name, port, default) in pairs {
        let Some(id) = text(name) else { continue };
        let port = match text(port) {
            Some(digits) => number(digits),
            None => default,
        };
        let port = port.ok_or_else(|| Problem::invalid(format!("{name} without a port from 1 to 65535")))?;
        return Ok(Some(Target {
            id: id.to_owned(),
            port,
        }));
    }
    let host = request
        .uri()
        .authority()
        .map(|a| a.as_str())
        .or_else(|| text(header::HOST.as_str()));
    Ok(host.and_then(|host| from_host(host, domain)))
}

/// `PORT-ID.DOMAIN`, with or without the server's own port behind it.
fn from_host(host: &str, domain: Option<&str>) -> Option<Target> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let (label, rest) = name.split_once('.')?;
    if rest != "localhost" && Some(rest) != domain {
        return None;
    }
    let (port, id) = label.split_once('-')?;
    Some(Target {
        id: id.to_owned(),
        port: number(port)?,
    })
}

fn number(digits: &str) -> Option<u16> {
    let sound = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|&port| sound && port != 0)
}

/// Whether a text can be the end of a host name.
pub(crate) fn is_domain(text: &str) -> bool {
    let label =
        |l: &str| !l.is_empty() && l.len() <= 63 && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    text.len() <= 180 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn at(headers: &[(&str, &str)]) -> Option<(String, u16)> {
        let mut request = Request::builder().uri("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let target = of(&request.body(Body::empty()).unwrap(), Some("example.org")).ok()?;
        target.map(|t| (t.id, t.port))
    }

    #[test]
    fn a_host_of_the_right_form_is_a_port_and_others_are_not() {
        let is = |host: &str| at(&[("host", host)]);
        assert_eq!(is("8080-abc.localhost"), Some(("abc".into(), 8080)));
        assert_eq!(is("8080-a-b.localhost:3000"), Some(("a-b".into(), 8080)));
        assert_eq!(is("8080-ABC.Example.Org."), Some(("abc".into(), 8080)));
        for host in [
            "localhost:3000",
            "127.0.0.1:3000",
            "abc.localhost",
            "0-abc.localhost",
            "70000-abc.localhost",
            "+80-abc.localhost",
            "80-abc.example.com",
            "80-abc.evil.example.org",
            "80-abc",
            "[::1]:3000",
            "",
        ] {
            assert_eq!(is(host), None, "{host}");
        }
    }

    #[test]
    fn headers_go_before_the_host() {
        let both = [
            ("host", "80-a.localhost"),
            ("e2b-sandbox-id", "b"),
            ("e2b-sandbox-port", "81"),
        ];
        assert_eq!(at(&both), Some(("b".into(), 81)));
        assert_eq!(at(&[("e2b-sandbox-id", "b")]), Some(("b".into(), 49_983)));
        assert_eq!(
            at(&[("qila-sandbox", "b"), ("qila-port", "5")]),
            Some(("b".into(), 5))
        );
        let request = |name: &str| Request::builder().header(name, "b").body(Body::empty()).unwrap();
        assert!(of(&request("qila-sandbox"), None).is_err(), "no port");
    }
}
