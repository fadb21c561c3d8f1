//! `qila template`: what a daemon makes sandboxes from.
use super::http::{Host, escaped, nothing};
use super::list::text;
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use clap::{Args, Subcommand};
use hyper::Method;
use qila_types::Millis;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// How often a template that is being built is looked at, and how long.
const LOOK: Duration = Duration::from_millis(250);
const BUILT: Duration = Duration::from_secs(30 * 60);

const PUT_HELP: &str = "\
Paths of --directory, --layout and --files are of the host that the daemon runs on.

Examples:
  qila template put py --image docker.io/library/python:3.12 --policy offline
  qila template put web --policy ./policy.yaml --start 'python3 -m http.server 8000' --ready 'curl -s localhost:8000'";

/// `qila template`.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Make a template, or replace it, and wait until it can be used.
    #[command(after_help = PUT_HELP)]
    Put(Box<Put>),
    /// List the templates that you may use.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a template and its policy.
    Show {
        /// Its id, or a name of it.
        template: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a template of yours. Sandboxes made from it go on.
    Remove {
        /// Its id.
        template: String,
    },
}

/// `qila template put`.
#[derive(Debug, Args)]
pub(crate) struct Put {
    /// Its id.
    template: String,
    /// Policy file, or the name of a built-in policy.
    #[arg(long, short = 'p', value_name = "FILE|NAME")]
    policy: String,
    /// Further name by which it is asked for. May be repeated.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Its files are an OCI image's: docker.io/library/python:3.12. Default: the system directories of the daemon's host.
    #[arg(long, value_name = "IMAGE", group = "source")]
    image: Option<String>,
    /// Its files are those of a directory with a root file system.
    #[arg(long, value_name = "DIR", group = "source")]
    directory: Option<String>,
    /// Its files are those of an OCI image layout.
    #[arg(long, value_name = "DIR", group = "source")]
    layout: Option<String>,
    /// Its files are a snapshot's of a sandbox of yours.
    #[arg(long, value_name = "ID", group = "source")]
    snapshot: Option<String>,
    /// Directory whose files a new sandbox has in its home.
    #[arg(long, value_name = "DIR")]
    files: Option<String>,
    /// Run by a shell in every new sandbox.
    #[arg(long, value_name = "COMMAND")]
    start: Option<String>,
    /// Run by a shell until it succeeds; only then a new sandbox is ready.
    #[arg(long, value_name = "COMMAND")]
    ready: Option<String>,
    /// Sandboxes that are kept ready.
    #[arg(long, value_name = "N")]
    pool: Option<u32>,
    /// Module that a Python, kept warm, has imported. May be repeated.
    #[arg(long, value_name = "MODULE")]
    preload: Vec<String>,
    /// Time of a sandbox that is asked for without one, in whole seconds.
    #[arg(long, value_name = "TIME")]
    timeout: Option<Millis>,
    /// Every tenant may use it.
    #[arg(long)]
    public: bool,
    /// Do not wait until it can be used.
    #[arg(long)]
    no_wait: bool,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) async fn template(host: &Host, command: TemplateCommand) -> Result<u8, Fail> {
    match command {
        TemplateCommand::Put(put) => return make(host, &put).await,
        TemplateCommand::List { json } => {
            if !json {
                print(&format!(
                    "{:20}  {:9}  {:9}  NAMES",
                    "TEMPLATE", "STATE", "SOURCE"
                ));
            }
            for template in all(host).await? {
                if json {
                    print(&template.to_string());
                    continue;
                }
                let names = names(&template).join(" ");
                let [id, state] = ["id", "state"].map(|n| text(&template, n));
                print(&harmless(&format!(
                    "{id:20}  {state:9}  {:9}  {names}",
                    source(&template).0
                )));
            }
        }
        TemplateCommand::Show { template, json } => show(&find(host, &template).await?, json),
        TemplateCommand::Remove { template } => {
            let request = host
                .request(Method::DELETE, &format!("/v1/templates/{}", escaped(&template)))
                .body(nothing());
            host.ask(request.map_err(|e| Fail::new(e.to_string()))?).await?;
        }
    }
    Ok(0)
}

async fn all(host: &Host) -> Result<Vec<Value>, Fail> {
    let list = host.json(Method::GET, "/v1/templates", None).await?;
    Ok(list.as_array().cloned().unwrap_or_default())
}

fn names(template: &Value) -> Vec<&str> {
    let names = template.get("names").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// What its files are, and which.
fn source(template: &Value) -> (String, String) {
    match template.get("source") {
        Some(Value::String(plain)) => (plain.clone(), String::new()),
        Some(Value::Object(one)) => one
            .iter()
            .next()
            .map(|(kind, which)| (kind.clone(), which.as_str().unwrap_or("").to_owned()))
            .unwrap_or_default(),
        _ => Default::default(),
    }
}

async fn find(host: &Host, wanted: &str) -> Result<Value, Fail> {
    let is_it = |t: &Value| text(t, "id") == wanted || names(t).contains(&wanted);
    let found = all(host).await?.into_iter().find(is_it);
    found.ok_or_else(|| {
        Fail::new(format!("there is no template `{}`", wanted.escape_default()))
            .hint("see `qila template list`")
    })
}

fn show(template: &Value, json: bool) {
    if json {
        print(&template.to_string());
        return;
    }
    let (kind, which) = source(template);
    let time = template
        .get("timeout_s")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let pool = template.get("pool").and_then(Value::as_u64).unwrap_or_default();
    print(&harmless(&format!(
        "template {} · {} · {kind} {which}",
        text(template, "id"),
        text(template, "state")
    )));
    print(&harmless(&format!(
        "names {} · pool {pool} · {time} s",
        names(template).join(" ")
    )));
    if !text(template, "reason").is_empty() {
        print(&harmless(&format!("failed: {}", text(template, "reason"))));
    }
    print("policy:");
    for line in text(template, "policy").lines() {
        print(&harmless(&format!("  {line}")));
    }
}

/// What the daemon is told.
fn body(put: &Put, policy: String) -> Value {
    let mut body = Map::new();
    let sources = [
        ("image", &put.image),
        ("directory", &put.directory),
        ("layout", &put.layout),
        ("snapshot", &put.snapshot),
    ];
    let given = sources
        .into_iter()
        .find_map(|(kind, value)| value.as_ref().map(|v| json!({kind: v})));
    body.insert("source".into(), given.unwrap_or_else(|| json!("host")));
    body.insert("policy".into(), policy.into());
    body.insert("names".into(), json!(put.name));
    body.insert("public".into(), put.public.into());
    for (name, value) in [
        ("files", &put.files),
        ("start", &put.start),
        ("ready", &put.ready),
    ] {
        if let Some(value) = value {
            body.insert(name.into(), value.as_str().into());
        }
    }
    if let Some(pool) = put.pool {
        body.insert("pool".into(), pool.into());
    }
    if let Some(time) = put.timeout {
        body.insert("timeout_s".into(), time.0.div_ceil(1000).into());
    }
    if !put.preload.is_empty() {
        body.insert("zygote".into(), json!({"preload": put.preload}));
    }
    Value::Object(body)
}

async fn make(host: &Host, put: &Put) -> Result<u8, Fail> {
    let policy = super::policy::named(&put.policy)?;
    let path = format!("/v1/templates/{}", escaped(&put.template));
    let mut made = host.json(Method::PUT, &path, Some(&body(put, policy))).await?;
    let until = Instant::now() + BUILT;
    while text(&made, "state") == "building" && !put.no_wait {
        if Instant::now() > until {
            return Err(Fail::new("it is still being built").hint("see `qila template list`"));
        }
        tokio::time::sleep(LOOK).await;
        made = find(host, &put.template).await?;
    }
    if text(&made, "state") == "failed" {
        return Err(Fail::new(format!(
            "the template failed: {}",
            harmless(text(&made, "reason"))
        )));
    }
    print(&match put.json {
        true => made.to_string(),
        false => text(&made, "id").to_owned(),
    });
    Ok(0)
}
