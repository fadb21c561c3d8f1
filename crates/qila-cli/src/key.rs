//! `qila key` and `qila tenant`: who may ask a node, and for how much. They work on its state, whether it runs or not.
use crate::fail::{Fail, chain};
use crate::home::Home;
use crate::policy::print;
use crate::ps::harmless;
use clap::{Args, Subcommand};
use qila_api::{Quota, Tenant};
use qila_server::{Minted, for_e2b, mint};
use qila_store::{NewKey, Store};
use qila_types::{Bytes, Cpus, Millis};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::future::Future;
use std::time::{SystemTime, UNIX_EPOCH};

/// The tenant of whoever names none.
pub(crate) const DEFAULT: &str = "default";
/// Directory of a node's state under `$QILA_HOME`, and its database there.
pub(crate) const SERVE: &str = "serve";
const STATE: &str = "state.db";

/// `qila key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key and print it, this once.
    New {
        /// For this tenant.
        #[arg(long, value_name = "TENANT", default_value = DEFAULT)]
        tenant: String,
        /// What it is for.
        #[arg(long, value_name = "TEXT", default_value = "")]
        name: String,
        /// It may look after tenants, keys and templates of all.
        #[arg(long)]
        admin: bool,
        /// Time after which it ends: `12h`, `30d`. Default: never.
        #[arg(long, value_name = "TIME")]
        expires: Option<Millis>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// List keys, without what is secret of them.
    List {
        /// Only this tenant's.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End a key for good, at once.
    Revoke {
        /// Its id, as `qila key list` prints it.
        key: String,
    },
}

/// `qila tenant`.
#[derive(Debug, Subcommand)]
pub(crate) enum Tenants {
    /// Make a tenant.
    New {
        /// Its name.
        tenant: String,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// List tenants and what they may have.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Change what a tenant may have. What is not named stays.
    Quota {
        /// Its name.
        tenant: String,
        #[command(flatten)]
        quota: QuotaArgs,
    },
    /// Remove a tenant that has nothing any more, and its keys.
    Remove {
        /// Its name.
        tenant: String,
    },
}

/// The most that a tenant may have at once, all of its sandboxes together.
#[derive(Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Sandboxes.
    #[arg(long, value_name = "N")]
    sandboxes: Option<u32>,
    /// Processors: `2`, `0.5`.
    #[arg(long, value_name = "CPUS")]
    cpu: Option<Cpus>,
    /// Memory: `4GiB`.
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Disk: `20GiB`.
    #[arg(long, value_name = "SIZE")]
    disk: Option<Bytes>,
    /// Share of the processors relative to other tenants, when not all can have what they want; 100 is usual.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    weight: Option<u32>,
}

impl QuotaArgs {
    fn over(&self, old: Quota) -> Quota {
        let mib = |bytes: Bytes| bytes.0 >> 20;
        Quota {
            sandboxes: self.sandboxes.unwrap_or(old.sandboxes),
            cpu_milli: self.cpu.map_or(old.cpu_milli, |cpus| cpus.0.into()),
            memory_mib: self.memory.map_or(old.memory_mib, mib),
            disk_mib: self.disk.map_or(old.disk_mib, mib),
            weight: self.weight.unwrap_or(old.weight),
        }
    }
}

/// `qila key`.
pub(crate) fn key(args: &Key) -> Result<u8, Fail> {
    with_store(async |store| match args {
        Key::New {
            tenant,
            name,
            admin,
            expires,
            json,
        } => {
            let minted = new(&store, &named(tenant)?, name, *admin, *expires).await?;
            let secret = minted.secret.expose_secret();
            print(&match json {
                true => json!({"id": minted.id, "key": secret, "e2b_key": for_e2b(&minted.secret).expose_secret()}).to_string(),
                false => secret.to_owned(),
            });
            Ok(0)
        }
        Key::List { tenant, json } => {
            let mut of = store.tenants().await.map_err(failed)?;
            if let Some(tenant) = tenant {
                let wanted = named(tenant)?;
                of.retain(|(tenant, _)| *tenant == wanted);
            }
            if !json {
                print(&format!(
                    "{:18}  {:16}  {:5}  {:8}  NAME",
                    "KEY", "TENANT", "ADMIN", "STATE"
                ));
            }
            for (tenant, _) in of {
                for key in store.keys(&tenant).await.map_err(failed)? {
                    let state = if key.expires_ms.is_some_and(|at| at <= now_ms()) {
                        "ended"
                    } else {
                        "valid"
                    };
                    print(&match json {
                        true => json!({
                            "id": key.id, "tenant": key.tenant.as_str(), "name": key.name, "admin": key.admin,
                            "made_ms": key.made_ms, "expires_ms": key.expires_ms, "state": state,
                        })
                        .to_string(),
                        false => {
                            let admin = if key.admin { "yes" } else { "no" };
                            format!(
                                "{:18}  {:16}  {admin:5}  {state:8}  {}",
                                key.id,
                                key.tenant.as_str(),
                                harmless(&key.name)
                            )
                        }
                    });
                }
            }
            Ok(0)
        }
        Key::Revoke { key } => match store.revoke_key(key).await.map_err(failed)? {
            true => Ok(0),
            false => Err(Fail::new(format!("there is no key `{}`", harmless(key)))
                .hint("qila key list")
                .code(1)),
        },
    })
}

/// `qila tenant`.
pub(crate) fn tenant(args: &Tenants) -> Result<u8, Fail> {
    with_store(async |store| {
        let find = async |name: &str| {
            let wanted = named(name)?;
            let all = store.tenants().await.map_err(failed)?;
            Ok::<_, Fail>((all.into_iter().find(|(tenant, _)| *tenant == wanted), wanted))
        };
        let none = |name: &Tenant| {
            Fail::new(format!("there is no tenant `{name}`"))
                .hint("qila tenant list")
                .code(1)
        };
        match args {
            Tenants::New { tenant, quota } => {
                let (found, tenant) = find(tenant).await?;
                if found.is_some() {
                    return Err(Fail::new(format!("there is a tenant `{tenant}` already"))
                        .hint("qila tenant quota")
                        .code(1));
                }
                store
                    .put_tenant(tenant, quota.over(Quota::NONE))
                    .await
                    .map_err(failed)?;
            }
            Tenants::Quota { tenant, quota } => {
                let (found, tenant) = find(tenant).await?;
                let (_, old) = found.ok_or_else(|| none(&tenant))?;
                store.put_tenant(tenant, quota.over(old)).await.map_err(failed)?;
            }
            Tenants::Remove { tenant } => {
                let tenant = named(tenant)?;
                if !store.remove_tenant(&tenant).await.map_err(failed)? {
                    return Err(none(&tenant));
                }
            }
            Tenants::List { json } => list(&store, *json).await?,
        }
        Ok(0)
    })
}

async fn list(store: &Store, json: bool) -> Result<(), Fail> {
    if !json {
        print(&format!(
            "{:24}  {:>9}  {:>7}  {:>10}  {:>10}  {:>6}",
            "TENANT", "SANDBOXES", "CPUS", "MEMORY", "DISK", "WEIGHT"
        ));
    }
    for (tenant, q) in store.tenants().await.map_err(failed)? {
        let bound = |n: u64| if n == u64::MAX { Value::Null } else { n.into() };
        let sandboxes = if q.sandboxes == u32::MAX {
            Value::Null
        } else {
            q.sandboxes.into()
        };
        let row = json!({
            "tenant": tenant.as_str(), "sandboxes": sandboxes, "cpu_milli": bound(q.cpu_milli),
            "memory_mib": bound(q.memory_mib), "disk_mib": bound(q.disk_mib), "weight": q.weight,
        });
        if json {
            print(&row.to_string());
            continue;
        }
        let sandboxes = if q.sandboxes == u32::MAX {
            "-".to_owned()
        } else {
            q.sandboxes.to_string()
        };
        let cpus = if q.cpu_milli == u64::MAX {
            "-".to_owned()
        } else {
            (q.cpu_milli as f64 / 1000.0).to_string()
        };
        let size = |n: u64| {
            if n == u64::MAX {
                "-".to_owned()
            } else {
                format!("{n}MiB")
            }
        };
        let (memory, disk, weight) = (size(q.memory_mib), size(q.disk_mib), q.weight);
        print(&format!(
            "{:24}  {sandboxes:>9}  {cpus:>7}  {memory:>10}  {disk:>10}  {weight:>6}",
            tenant.as_str()
        ));
    }
    Ok(())
}

/// Makes a key. The first tenant comes into being with its first key.
pub(crate) async fn new(
    store: &Store,
    tenant: &Tenant,
    name: &str,
    admin: bool,
    expires: Option<Millis>,
) -> Result<Minted, Fail> {
    if tenant.as_str() == DEFAULT && store.tenants().await.map_err(failed)?.is_empty() {
        store
            .put_tenant(tenant.clone(), Quota::NONE)
            .await
            .map_err(failed)?;
    }
    let minted = mint().map_err(|e| Fail::new(e.to_string()))?;
    let key = NewKey {
        id: minted.id.clone(),
        tenant: tenant.clone(),
        hash: minted.hash,
        name: name.to_owned(),
        admin,
        expires_ms: expires.map(|Millis(ms)| now_ms().saturating_add(ms)),
    };
    store.add_key(key).await.map_err(failed)?;
    Ok(minted)
}

fn named(tenant: &str) -> Result<Tenant, Fail> {
    Tenant::parse(tenant).map_err(|e| Fail::new(e.to_string()).code(2))
}

/// Opens the state of a node, making it the first time.
pub(crate) fn open(home: &Home) -> Result<Store, Fail> {
    home.subdir(SERVE)?;
    Store::open(&home.path().join(SERVE).join(STATE)).map_err(failed)
}

pub(crate) fn failed(error: qila_store::StoreError) -> Fail {
    Fail::new(chain(&error))
}

fn with_store<F: Future<Output = Result<u8, Fail>>>(work: impl FnOnce(Store) -> F) -> Result<u8, Fail> {
    let store = open(&Home::open()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime
        .map_err(|e| Fail::new(format!("starting: {e}")))?
        .block_on(work(store))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
