//! A server that runs for a test.
use crate::client::{Answer, ask};
use crate::fake::Fake;
use qila_api::{Create, Quota, Sandbox, Tenant};
use qila_server::{Config, Minted, mint};
use qila_store::{NewKey, Store};
use secrecy::ExposeSecret;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Running {
    pub at: SocketAddr,
    pub node: Arc<Fake>,
    pub store: Store,
    /// Key of tenant `one`.
    pub key: String,
    pub end: oneshot::Sender<()>,
    pub served: JoinHandle<qila_server::Report>,
    _directory: tempfile::TempDir,
}

pub fn tenant(name: &str) -> Tenant {
    Tenant::parse(name).unwrap()
}

/// As it is by default.
pub async fn start() -> Running {
    with(|_| {}).await
}

/// With what the test wants otherwise.
pub async fn with(change: impl FnOnce(&mut Config)) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("state.db")).unwrap();
    let node = Arc::new(Fake::default());
    let mut config = Config::new(node.clone(), store.clone());
    config.drain = Duration::from_millis(500);
    change(&mut config);
    let (end, ended) = oneshot::channel::<()>();
    let (ready, addresses) = oneshot::channel();
    let served = tokio::spawn(async move {
        let shutdown = async { drop(ended.await) };
        let ready = |addresses: &[SocketAddr]| ready.send(addresses.to_vec()).unwrap();
        qila_server::serve(config, shutdown, ready).await.unwrap()
    });
    let at = addresses.await.unwrap()[0];
    let mut running = Running {
        at,
        node,
        store,
        key: String::new(),
        end,
        served,
        _directory: directory,
    };
    running.key = running.key_of("one", false, None).await;
    running
}

impl Running {
    /// A new key of a tenant, which is made if it is not there.
    pub async fn key_of(&self, whose: &str, admin: bool, expires_ms: Option<u64>) -> String {
        self.store.put_tenant(tenant(whose), Quota::NONE).await.unwrap();
        let Minted { secret, id, hash } = mint().unwrap();
        let key = NewKey {
            id,
            tenant: tenant(whose),
            hash,
            name: "test".into(),
            admin,
            expires_ms,
        };
        self.store.add_key(key).await.unwrap();
        secret.expose_secret().to_owned()
    }

    /// A sandbox of tenant `one`.
    pub fn sandbox(&self) -> Sandbox {
        self.node.make(&tenant("one"), Create::from_template("base"))
    }

    /// As tenant `one`, with JSON if there is any.
    pub async fn ask(&self, method: &str, path: &str, json: &str) -> Answer {
        self.ask_with(method, path, json, &[]).await
    }

    pub async fn ask_with(&self, method: &str, path: &str, json: &str, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str())];
        if !json.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        headers.extend_from_slice(more);
        ask(self.at, method, path, &headers, json.as_bytes()).await
    }
}
