//! What is sent to a provider.
use crate::hidden::Hidden;
use crate::url::Url;

/// One request, to be sent as it is: no redirect is to be followed, and no more than [`crate::MAX_REPLY`] read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Where.
    pub url: Url,
    /// Method.
    pub method: &'static str,
    /// Headers beside `host` and `content-length`.
    pub headers: Vec<(&'static str, Hidden)>,
    /// Body.
    pub body: Hidden,
}

impl Call {
    pub(crate) fn new(method: &'static str, url: Url) -> Call {
        Call {
            url,
            method,
            headers: vec![
                ("accept", "application/json".into()),
                ("user-agent", concat!("qila/", env!("CARGO_PKG_VERSION")).into()),
            ],
            body: "".into(),
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Call {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn json(self, value: &serde_json::Value) -> Call {
        let mut call = self.header("content-type", "application/json");
        call.body = value.to_string().as_str().into();
        call
    }

    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Call {
        let pairs: Vec<zeroize::Zeroizing<String>> = fields
            .iter()
            .map(|(name, value)| zeroize::Zeroizing::new(format!("{}={}", *form(name), *form(value))))
            .collect();
        let mut text = zeroize::Zeroizing::new(String::new());
        for pair in &pairs {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(pair);
        }
        let mut call = self.header("content-type", "application/x-www-form-urlencoded");
        call.body = text.as_str().into();
        call
    }
}

/// As `application/x-www-form-urlencoded` writes it.
pub(crate) fn form(text: &str) -> zeroize::Zeroizing<String> {
    use std::fmt::Write;
    let mut out = zeroize::Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}
