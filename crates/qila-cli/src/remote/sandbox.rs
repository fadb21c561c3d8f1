//! `qila sandbox`: sandboxes of a daemon, one operation each.
use super::http::{Host, escaped};
use super::list::{sandboxes, text};
use super::{copy, exec};
use crate::fail::Fail;
use crate::policy::print;
use clap::Subcommand;
use hyper::Method;
use qila_types::Millis;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

const EXEC_HELP: &str = "\
Exit status: the command's own; 128+N if signal N ended it; 127 if it is not found, 126 if it cannot be executed, 125 otherwise.

Examples:
  export QILA_HOST=http://127.0.0.1:3000 QILA_API_KEY=…
  id=$(qila sandbox create)
  qila sandbox exec $id -- python3 -c 'print(1)'
  qila sandbox cp ./src $id:src";

/// `qila sandbox`.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// Make a sandbox and print its id.
    Create {
        /// Template, by name or id.
        #[arg(default_value = "base")]
        template: String,
        /// Time after which it ends.
        #[arg(long, value_name = "TIME")]
        timeout: Option<Millis>,
        /// Variable of every process in it. May be repeated.
        #[arg(long, short = 'e', value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// Print all that is known of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List sandboxes.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Run a command in one.
    #[command(after_help = EXEC_HELP)]
    Exec {
        /// The sandbox: its id, or the first characters of it.
        sandbox: String,
        /// Variable of this command. May be repeated.
        #[arg(long, short = 'e', value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// The command and its arguments.
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "CMD"
        )]
        command: Vec<String>,
    },
    /// Copy files and directories: one of the two is `ID:PATH`.
    Cp {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// List a directory in one.
    Ls {
        /// `ID:PATH`, or `ID` for its home.
        path: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make one stand still.
    Pause {
        /// The sandbox.
        sandbox: String,
    },
    /// Let one go on.
    Resume {
        /// The sandbox.
        sandbox: String,
    },
    /// Set the time that one has, from now.
    Timeout {
        /// The sandbox.
        sandbox: String,
        /// The time.
        time: Millis,
    },
    /// Make another with the files of one, and print its id.
    Fork {
        /// The sandbox.
        sandbox: String,
    },
    /// Keep the files of one, and print the snapshot's id.
    Snapshot {
        /// The sandbox.
        sandbox: String,
        /// A name for the snapshot.
        #[arg(long)]
        name: Option<String>,
    },
    /// End the programs of one and give it the files of a snapshot of its own.
    Rollback {
        /// The sandbox.
        sandbox: String,
        /// The snapshot.
        snapshot: String,
    },
    /// End one.
    Kill {
        /// The sandbox.
        sandbox: String,
    },
}

/// A sandbox that was made.
pub(crate) struct Made {
    pub id: String,
    pub tier: String,
    all: Value,
}

fn words(list: &[String]) -> Result<Vec<(String, String)>, Fail> {
    let split = |w: &String| {
        let pair = w.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned()));
        pair.ok_or_else(|| Fail::new(format!("--env {w}: NAME=VALUE is wanted")).code(2))
    };
    list.iter().map(split).collect()
}

/// Makes one.
pub(crate) async fn create(
    host: &Host,
    template: &str,
    timeout: Option<Millis>,
    env: &[String],
) -> Result<Made, Fail> {
    let env: BTreeMap<String, String> = words(env)?.into_iter().collect();
    let mut body = json!({"template": template, "environment": env});
    if let (Some(time), Some(object)) = (timeout, body.as_object_mut()) {
        object.insert("timeout_ms".into(), time.0.into());
    }
    let all = host.json(Method::POST, "/v1/sandboxes", Some(&body)).await?;
    Ok(Made {
        id: text(&all, "id").to_owned(),
        tier: text(&all, "tier").to_owned(),
        all,
    })
}

/// Ends one.
pub(crate) async fn end(host: &Host, id: &str) -> Result<(), Fail> {
    host.json(Method::DELETE, &format!("/v1/sandboxes/{}", escaped(id)), None)
        .await
        .map(drop)
}

/// The one sandbox whose id starts with the text, or the `latest`.
pub(crate) async fn find(host: &Host, wanted: &str) -> Result<String, Fail> {
    let all = sandboxes(host).await?;
    let mut ids: Vec<&str> = all
        .iter()
        .map(|s| text(s, "id"))
        .filter(|id| wanted == "latest" || id.starts_with(wanted))
        .collect();
    ids.sort_unstable();
    if wanted == "latest" {
        ids = ids.pop().into_iter().collect();
    }
    match ids.as_slice() {
        [one] if !wanted.is_empty() => Ok((*one).to_owned()),
        [] => Err(
            Fail::new(format!("there is no sandbox `{}`", wanted.escape_default()))
                .hint("see `qila sandbox list`"),
        ),
        _ => Err(
            Fail::new(format!("`{wanted}` is the beginning of several sandboxes"))
                .hint("give more of the id; see `qila sandbox list`"),
        ),
    }
}

/// `qila --host … kill`.
pub(crate) async fn kill(host: &Host, wanted: &str) -> Result<u8, Fail> {
    end(host, &find(host, wanted).await?).await.map(|()| 0)
}

async fn post(host: &Host, wanted: &str, what: &str, body: &Value) -> Result<Value, Fail> {
    let id = find(host, wanted).await?;
    host.json(
        Method::POST,
        &format!("/v1/sandboxes/{}/{what}", escaped(&id)),
        Some(body),
    )
    .await
}

/// `qila sandbox`.
pub(crate) async fn sandbox(host: &Host, command: SandboxCommand) -> Result<u8, Fail> {
    match command {
        SandboxCommand::Create {
            template,
            timeout,
            env,
            json,
        } => {
            let made = create(host, &template, timeout, &env).await?;
            print(&if json { made.all.to_string() } else { made.id });
        }
        SandboxCommand::List { json } => return super::list::ps(host, json).await,
        SandboxCommand::Exec {
            sandbox,
            env,
            command,
        } => {
            let id = find(host, &sandbox).await?;
            return exec::run(host, &id, &command, &words(&env)?).await;
        }
        SandboxCommand::Cp { from, to } => return cp(host, &from, &to).await,
        SandboxCommand::Ls { path, json } => {
            let (wanted, path) = path.split_once(':').unwrap_or((&path, "."));
            let id = find(host, wanted).await?;
            return copy::list(host, &id, path, json).await;
        }
        SandboxCommand::Pause { sandbox } => drop(post(host, &sandbox, "pause", &json!({})).await?),
        SandboxCommand::Resume { sandbox } => drop(post(host, &sandbox, "resume", &json!({})).await?),
        SandboxCommand::Timeout { sandbox, time } => {
            drop(post(host, &sandbox, "timeout", &json!({"timeout_ms": time.0})).await?)
        }
        SandboxCommand::Fork { sandbox } => {
            print(text(&post(host, &sandbox, "fork", &json!({})).await?, "id"))
        }
        SandboxCommand::Snapshot { sandbox, name } => {
            let body = name.map_or_else(|| json!({}), |n| json!({"name": n}));
            print(text(&post(host, &sandbox, "snapshots", &body).await?, "id"));
        }
        SandboxCommand::Rollback { sandbox, snapshot } => {
            drop(post(host, &sandbox, "rollback", &json!({"snapshot": snapshot})).await?);
        }
        SandboxCommand::Kill { sandbox } => return kill(host, &sandbox).await,
    }
    Ok(0)
}

async fn cp(host: &Host, from: &str, to: &str) -> Result<u8, Fail> {
    // A path of this host that has a colon in it begins with `./` or `/`.
    let apart = |text: &str| match text.split_once(':') {
        Some((id, path)) if !id.contains('/') && !id.starts_with('.') => {
            Some((id.to_owned(), path.to_owned()))
        }
        _ => None,
    };
    match (apart(from), apart(to)) {
        (None, Some((wanted, path))) => {
            let id = find(host, &wanted).await?;
            copy::up(host, &id, &PathBuf::from(from), &path, false).await
        }
        (Some((wanted, path)), None) => {
            let id = find(host, &wanted).await?;
            copy::down(host, &id, &path, &PathBuf::from(to)).await
        }
        _ => Err(Fail::new("one of the two is a path here, the other `ID:PATH`").code(2)),
    }
    .map(|()| 0)
}
