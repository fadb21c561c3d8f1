//! A provider of credentials on loopback: Vault, a token endpoint and GitHub in one, with a book of what is alive.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
use crate::upstream::{Got, Upstream, Wire, answer};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What a provider is asked with: none of it may ever be inside.
pub const TOKEN: &str = "hvs.the-token-of-the-operator";
pub const CLIENT: &str = "the-secret-of-the-client";
pub const REFRESH: &str = "the-first-refresh-token";

#[derive(Debug)]
pub struct Books {
    /// Values that it has minted, in order.
    pub minted: Vec<String>,
    /// Those of them that are good for something.
    pub alive: BTreeSet<String>,
    /// The refresh token that is good for something.
    pub refresh: String,
    /// Seconds that a value lasts.
    pub life: u64,
    /// Whether nothing is taken back at present.
    pub deaf: bool,
    /// Whether nothing is minted at present.
    pub refuses: bool,
}

pub struct Provider {
    pub server: Upstream,
    pub books: Arc<Mutex<Books>>,
}

impl Provider {
    /// In clear, or with TLS for a name.
    pub fn start(names: &[&str]) -> Provider {
        let books = Arc::new(Mutex::new(Books {
            minted: Vec::new(),
            alive: BTreeSet::new(),
            refresh: REFRESH.into(),
            life: 3600,
            deaf: false,
            refuses: false,
        }));
        let own = books.clone();
        let server = Upstream::start(names, move |got, wire| serve(&mut own.lock().unwrap(), got, wire));
        Provider { server, books }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub fn alive(&self) -> usize {
        self.books.lock().unwrap().alive.len()
    }

    pub fn minted(&self) -> Vec<String> {
        self.books.lock().unwrap().minted.clone()
    }

    pub fn set(&self, change: impl Fn(&mut Books)) {
        change(&mut self.books.lock().unwrap());
    }
}

impl Books {
    fn mint(&mut self, prefix: &str) -> String {
        let value = format!("{prefix}-minted-value-{:03}", self.minted.len());
        self.minted.push(value.clone());
        self.alive.insert(value.clone());
        value
    }
}

fn field(body: &str, name: &str) -> Option<String> {
    let pair = body
        .split('&')
        .find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
    pair.map(str::to_owned)
}

fn serve(books: &mut Books, got: &Got, wire: &mut dyn Wire) -> std::io::Result<()> {
    let body = String::from_utf8_lossy(&got.body).into_owned();
    let text = |v: serde_json::Value| v.to_string().into_bytes();
    let takes_back =
        got.line.starts_with("PUT") || got.line.starts_with("DELETE") || got.path() == "/oauth/revoke";
    if books.deaf && takes_back {
        return answer(wire, "503 Service Unavailable", "", b"{}");
    }
    if books.refuses && !takes_back {
        return answer(
            wire,
            "403 Forbidden",
            "",
            &text(json!({"errors": ["permission denied"]})),
        );
    }
    let bearer = got.header("authorization").unwrap_or_default().to_owned();
    match got.path() {
        "/v1/database/creds/reader" | "/v1/secret/data/key" if got.header("x-vault-token") != Some(TOKEN) => {
            answer(
                wire,
                "403 Forbidden",
                "",
                &text(json!({"errors": ["permission denied"]})),
            )
        }
        "/v1/database/creds/reader" => {
            let value = books.mint("vault");
            let life = books.life;
            let reply = json!({"lease_id": format!("database/creds/reader/{value}"), "lease_duration": life, "data": {"password": value}});
            answer(wire, "200 OK", "", &text(reply))
        }
        "/v1/secret/data/key" => {
            let reply = json!({"lease_id": "", "lease_duration": 0, "data": {"data": {"key": "a-value-kept-in-vault"}, "metadata": {"version": 1}}});
            answer(wire, "200 OK", "", &text(reply))
        }
        "/v1/sys/leases/revoke" => {
            let asked: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let id = asked["lease_id"].as_str().unwrap_or_default();
            let ended = books.alive.remove(id.rsplit('/').next().unwrap_or_default());
            match ended {
                true => answer(wire, "204 No Content", "", b""),
                false => answer(
                    wire,
                    "400 Bad Request",
                    "",
                    &text(json!({"errors": ["lease not found"]})),
                ),
            }
        }
        "/oauth/token" => {
            let refresh = field(&body, "refresh_token");
            if refresh.as_ref().is_some_and(|r| *r != books.refresh) {
                return answer(
                    wire,
                    "400 Bad Request",
                    "",
                    &text(json!({"error": "invalid_grant"})),
                );
            }
            let value = books.mint("oauth");
            let mut reply = json!({"access_token": value, "token_type": "bearer", "expires_in": books.life});
            if refresh.is_some() {
                books.refresh = format!("refresh-token-{}", books.minted.len());
                reply["refresh_token"] = books.refresh.clone().into();
            }
            answer(wire, "200 OK", "", &text(reply))
        }
        "/oauth/revoke" => {
            books.alive.remove(&field(&body, "token").unwrap_or_default());
            answer(wire, "200 OK", "", b"")
        }
        "/app/installations/7/access_tokens" => {
            let value = books.mint("ghs");
            let reply = json!({"token": value, "expires_at": "2099-01-01T00:00:00Z"});
            answer(wire, "201 Created", "", &text(reply))
        }
        "/installation/token" => match books.alive.remove(bearer.trim_start_matches("Bearer ")) {
            true => answer(wire, "204 No Content", "", b""),
            false => answer(wire, "401 Unauthorized", "", b"{}"),
        },
        _ => answer(wire, "404 Not Found", "", b"{}"),
    }
}
