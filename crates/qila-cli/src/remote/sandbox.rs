//! `qila sandbox`: sandboxes of a daemon, one operation each.
use super::exec::Program;
use super::forward::Forward;
use super::http::{Host, escaped, gone, nothing};
use super::list::{sandboxes, text};
use super::meter::Meter;
use super::signals::Signals;
use super::{attach, copy, exec, forward};
use crate::fail::Fail;
use crate::policy::print;
use clap::Subcommand;
use hyper::Method;
use qila_types::Millis;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const EXEC_HELP: &str = "\
Exit status: the command's own; 128+N if signal N ended it; 127 if it is not found, 126 if it cannot be executed, 125 otherwise.

Examples:
  export QILA_HOST=http://127.0.0.1:3000 QILA_API_KEY=…
  id=$(qila sandbox create)
  qila sandbox exec $id -- python3 -c 'print(1)'
  tar -c src | qila sandbox exec $id -- tar -x
  qila sandbox exec $id --detach --tag web -- python3 -m http.server 8000";

const CP_HELP: &str = "\
A directory that is there is copied into; FROM/. is what is in a directory. A path here that has a colon begins with ./ or /.
Links are left out, and none that lies here is followed.

Examples:
  qila sandbox cp ./src $id:src
  qila sandbox cp $id:/home/user/out.csv .";

const FORWARD_HELP: &str = "\
Everyone on this host can use such a port, as with any that listens on loopback. Ctrl-C ends it.

Example:
  qila sandbox port-forward $id 8080:8000 & curl http://127.0.0.1:8080/";

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
        /// The sandbox: its id, the first characters of it, or `latest`.
        sandbox: String,
        /// Variable of this command. May be repeated.
        #[arg(long, short = 'e', value_name = "NAME=VALUE")]
        env: Vec<String>,
        /// Directory in the sandbox. Default: its home.
        #[arg(long, short = 'C', value_name = "DIR")]
        cwd: Option<String>,
        /// Time after which it is killed.
        #[arg(long, value_name = "TIME")]
        timeout: Option<Millis>,
        /// Start it, print its number, and leave it running.
        #[arg(long, short = 'd')]
        detach: bool,
        /// With --detach: a name for it, for `attach`.
        #[arg(long, value_name = "NAME", requires = "detach")]
        tag: Option<String>,
        /// Say how it ended as one JSON object on standard error.
        #[arg(long)]
        json: bool,
        /// The command and its arguments.
        #[arg(
            required = true,
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "CMD"
        )]
        command: Vec<String>,
    },
    /// Listen to a program that runs in one, to its end; signals go to it.
    Attach {
        /// The sandbox.
        sandbox: String,
        /// The program: its number, or `tag:NAME`, as `qila sandbox programs` shows it.
        program: String,
        /// Let it read what is typed or piped in here.
        #[arg(long, short = 'i')]
        input: bool,
    },
    /// List the programs that run in one.
    Programs {
        /// The sandbox.
        sandbox: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Copy files and directories: one of the two is `ID:PATH`.
    #[command(after_help = CP_HELP)]
    Cp {
        /// From.
        from: String,
        /// To.
        to: String,
        /// Say what was copied as JSON.
        #[arg(long)]
        json: bool,
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
    Pause(One),
    /// Let one go on.
    Resume(One),
    /// Set the time that one has, from now.
    Timeout {
        /// The sandbox.
        sandbox: String,
        /// The time.
        time: Millis,
        /// Print all that is known of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make another with the files of one, and print its id.
    Fork(One),
    /// Keep the files of one, and print the snapshot's id.
    Snapshot {
        /// The sandbox.
        sandbox: String,
        /// A name for the snapshot.
        #[arg(long)]
        name: Option<String>,
        /// Print all that is known of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the programs of one and give it the files of a snapshot of its own.
    Rollback {
        /// The sandbox.
        sandbox: String,
        /// The snapshot.
        snapshot: String,
        /// Print all that is known of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Reach ports of one through this host's loopback: HTTP and WebSockets.
    #[command(after_help = FORWARD_HELP)]
    PortForward {
        /// The sandbox.
        sandbox: String,
        /// Port here (0: one that is free) and port there; one number is both.
        #[arg(required = true, value_name = "LOCAL:REMOTE")]
        ports: Vec<Forward>,
        /// Print where it listens as JSON.
        #[arg(long)]
        json: bool,
    },
    /// End one.
    Kill(One),
}

/// One sandbox.
#[derive(Debug, clap::Args)]
pub(crate) struct One {
    /// The sandbox: its id, the first characters of it, or `latest`.
    sandbox: String,
    /// Print all that is known of it as JSON.
    #[arg(long)]
    json: bool,
}

/// How long the end of a sandbox may take.
const ENDED: Duration = Duration::from_secs(60);

/// A sandbox that was made.
pub(crate) struct Made {
    pub id: String,
    pub tier: String,
    all: Value,
}

pub(crate) fn words(list: &[String]) -> Result<BTreeMap<String, String>, Fail> {
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
    let mut body = json!({"template": template, "environment": words(env)?});
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
    let request = host
        .request(Method::DELETE, &format!("/v1/sandboxes/{}", escaped(id)))
        .body(nothing());
    let request = request.map_err(|e| Fail::new(e.to_string()))?;
    // One that is not there has ended.
    let ended = tokio::time::timeout(ENDED, host.find(request)).await;
    ended.map_err(|_| gone("it does not answer"))?.map(drop)
}

/// The one sandbox whose id starts with the text, or the `latest`.
pub(crate) async fn find(host: &Host, wanted: &str) -> Result<String, Fail> {
    let all = sandboxes(host).await?;
    let ids = all.iter().map(|s| text(s, "id"));
    // The newest is the first.
    let ids: Vec<&str> = match wanted {
        "latest" => ids.take(1).collect(),
        wanted => ids.filter(|id| id.starts_with(wanted)).collect(),
    };
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
            cwd,
            timeout,
            detach,
            tag,
            json,
            command,
        } => {
            let id = find(host, &sandbox).await?;
            let program = Program {
                argv: command,
                env: words(&env)?,
                cwd,
                time: timeout,
            };
            if detach {
                return attach::detach(host, &id, &program, tag.as_deref(), json).await;
            }
            let end = exec::run(host, &id, &program, Signals::take()?).await?;
            if json {
                let all = json!({"run": id, "exit": end.code, "signal": end.signal, "output_bytes": end.output,
                    "stopped": end.late.then_some("--timeout")});
                eprintln!("{all}");
            } else if end.late {
                eprintln!("qila: stopped: its time (--timeout) is over");
            }
            return Ok(end.code);
        }
        SandboxCommand::Attach {
            sandbox,
            program,
            input,
        } => {
            let id = find(host, &sandbox).await?;
            return attach::attach(host, &id, &program, input).await;
        }
        SandboxCommand::Programs { sandbox, json } => {
            let id = find(host, &sandbox).await?;
            return attach::programs(host, &id, json).await;
        }
        SandboxCommand::Cp { from, to, json } => return cp(host, &from, &to, json).await,
        SandboxCommand::Ls { path, json } => {
            let (wanted, path) = path.split_once(':').unwrap_or((&path, "."));
            let id = find(host, wanted).await?;
            return copy::list(host, &id, path, json).await;
        }
        SandboxCommand::Pause(one) => shown(
            &post(host, &one.sandbox, "pause", &json!({})).await?,
            one.json,
            false,
        ),
        SandboxCommand::Resume(one) => shown(
            &post(host, &one.sandbox, "resume", &json!({})).await?,
            one.json,
            false,
        ),
        SandboxCommand::Timeout { sandbox, time, json } => {
            let body = json!({"timeout_ms": time.0});
            shown(&post(host, &sandbox, "timeout", &body).await?, json, false);
        }
        SandboxCommand::Fork(one) => shown(
            &post(host, &one.sandbox, "fork", &json!({})).await?,
            one.json,
            true,
        ),
        SandboxCommand::Snapshot { sandbox, name, json } => {
            let body = name.map_or_else(|| json!({}), |n| json!({"name": n}));
            shown(&post(host, &sandbox, "snapshots", &body).await?, json, true);
        }
        SandboxCommand::Rollback {
            sandbox,
            snapshot,
            json,
        } => {
            let body = json!({"snapshot": snapshot});
            shown(&post(host, &sandbox, "rollback", &body).await?, json, false);
        }
        SandboxCommand::PortForward { sandbox, ports, json } => {
            let id = find(host, &sandbox).await?;
            return forward::forward(host, &id, &ports, json).await;
        }
        SandboxCommand::Kill(one) => {
            let id = find(host, &one.sandbox).await?;
            end(host, &id).await?;
            if one.json {
                print(&json!({"id": id, "state": "ended"}).to_string());
            }
        }
    }
    Ok(0)
}

/// Prints what was answered: as JSON, or its id where it is new.
fn shown(value: &Value, json: bool, new: bool) {
    match (json, new) {
        (true, _) => print(&value.to_string()),
        (false, true) => print(text(value, "id")),
        (false, false) => {}
    }
}

async fn cp(host: &Host, from: &str, to: &str, json: bool) -> Result<u8, Fail> {
    // A path of this host that has a colon in it begins with `./` or `/`.
    let apart = |text: &str| match text.split_once(':') {
        Some((id, path)) if !id.contains('/') && !id.starts_with('.') => {
            Some((id.to_owned(), path.to_owned()))
        }
        _ => None,
    };
    let content = |path: &str| path == "." || path.ends_with("/.");
    let mut meter = Meter::begin();
    let mut signals = Signals::take()?;
    let copied = async {
        match (apart(from), apart(to)) {
            (None, Some((wanted, path))) => {
                let id = find(host, &wanted).await?;
                copy::up(host, &id, Path::new(from), &path, content(from), &mut meter).await
            }
            (Some((wanted, path)), None) => {
                let id = find(host, &wanted).await?;
                copy::down(host, &id, &path, Path::new(to), content(&path), &mut meter).await
            }
            _ => Err(Fail::new("one of the two is a path here, the other `ID:PATH`").code(2)),
        }
    };
    tokio::select! {
        done = copied => done?,
        // What is half a file goes with it.
        number = signals.ending() => return Ok(128 | number),
    }
    let (files, bytes) = meter.copied();
    if json {
        print(&json!({"files": files, "bytes": bytes}).to_string());
    }
    Ok(0)
}
