//! `qila --host … run`: a sandbox, one command in it, and its end.
use super::exec::{Ended, Program};
use super::http::{Host, escaped};
use super::meter::Meter;
use super::sandbox::{self, Made};
use super::signals::Signals;
use super::{copy, exec};
use crate::args::Run;
use crate::fail::Fail;
use hyper::Method;
use qila_types::Millis;
use std::time::{Duration, Instant};

/// Time of a sandbox, which is given to it again and again while its command runs: one whose client is gone ends soon.
const LIFE: Millis = Millis(300_000);
const RENEW: Duration = Duration::from_secs(60);
/// How long a sandbox that is being made is waited for when it is not wanted any more.
const UNWANTED: Duration = Duration::from_secs(10);

/// What makes no sense for a sandbox elsewhere is refused by name.
fn only_local(args: &Run) -> Option<(&'static str, &'static str)> {
    let template = "make a template with that policy, and name it with --template";
    let cases = [
        (
            args.direct,
            "--direct",
            "upload files with --workspace, and bring them back with `qila sandbox cp`",
        ),
        (args.plan, "--plan", "run it where the daemon runs"),
        (args.isolation.is_some(), "--isolation", template),
        (args.policy != "coding-agent", "--policy", template),
        (
            !args.allow_unenforced.is_empty(),
            "--allow-unenforced",
            "a daemon enforces all of a policy",
        ),
        (
            args.agent.is_some(),
            "--agent",
            "budgets of a daemon are its tenants'",
        ),
        (args.prices.is_some(), "--prices", "`qila serve` takes it"),
        (!args.upstream.is_empty(), "--upstream", "`qila serve` takes it"),
        (
            !args.upstream_ca.is_empty(),
            "--upstream-ca",
            "`qila serve` takes it",
        ),
    ];
    cases
        .into_iter()
        .find(|(given, ..)| *given)
        .map(|(_, name, hint)| (name, hint))
}

/// `qila --host … run`.
pub(crate) async fn run(host: &Host, args: &Run) -> Result<u8, Fail> {
    if let Some((name, hint)) = only_local(args) {
        return Err(Fail::new(format!("{name} is for sandboxes on this host"))
            .hint(hint)
            .code(2));
    }
    let argv = args.command.iter().map(|a| a.to_str().map(str::to_owned));
    let program = Program {
        argv: argv
            .collect::<Option<_>>()
            .ok_or_else(|| Fail::new("the command is not UTF-8, which a daemon wants").code(2))?,
        env: sandbox::words(&args.env)?,
        cwd: None,
        time: args.timeout,
    };
    // From here on a signal takes back what was made.
    let mut signals = Signals::take()?;
    let begun = Instant::now();
    let made = match make(host, args, &mut signals).await? {
        Ok(made) => made,
        Err(code) => return Ok(code),
    };
    let done = tokio::select! {
        done = within(host, args, &made.id, &program, signals) => done,
        never = renew(host, &made.id) => match never {},
    };
    let ended = match args.keep {
        true => Ok(()),
        false => sandbox::end(host, &made.id).await,
    };
    let end = match (done, ended) {
        (Ok(end), Ok(())) => end,
        (Err(fail), Ok(())) => return Err(fail),
        (Ok(_), Err(fail)) => {
            return Err(fail.prefix(&format!("sandbox {} was not ended: ", made.id)));
        }
        (Err(fail), Err(_)) => {
            let minutes = LIFE.0 / 60_000;
            return Err(fail.hint(format!(
                "sandbox {} may be there for {minutes} minutes more: `qila kill {0}`",
                made.id
            )));
        }
    };
    tell(args, &made, end, begun.elapsed());
    Ok(end.code)
}

/// Makes the sandbox; or an exit code, if a signal came first.
async fn make(host: &Host, args: &Run, signals: &mut Signals) -> Result<Result<Made, u8>, Fail> {
    let template = args.template.as_deref().unwrap_or("base");
    let mut making = std::pin::pin!(sandbox::create(host, template, Some(LIFE), &[]));
    let number = tokio::select! {
        made = &mut making => return made.map(Ok),
        number = signals.ending() => number,
    };
    let code = 128 | number;
    match tokio::time::timeout(UNWANTED, making).await {
        Ok(Ok(made)) => sandbox::end(host, &made.id).await.map(|()| Err(code)),
        Ok(Err(_)) => Ok(Err(code)), // none was made, and none is wanted
        Err(_) => Err(
            Fail::new("it was ended while a sandbox was being made, which may still come to be")
                .hint("see `qila sandbox list`")
                .code(code),
        ),
    }
}

async fn within(
    host: &Host,
    args: &Run,
    id: &str,
    program: &Program,
    mut signals: Signals,
) -> Result<Ended, Fail> {
    if let Some(dir) = &args.workspace {
        let mut meter = Meter::begin();
        tokio::select! {
            copied = copy::up(host, id, dir, ".", true, &mut meter) => copied?,
            number = signals.ending() => return Ok(Ended { code: 128 | number, ..Ended::default() }),
        }
    }
    exec::run(host, id, program, signals).await
}

/// Gives the sandbox time again while it is used.
async fn renew(host: &Host, id: &str) -> std::convert::Infallible {
    let path = format!("/v1/sandboxes/{}/timeout", escaped(id));
    let body = serde_json::json!({"timeout_ms": LIFE.0, "only_extend": true});
    loop {
        tokio::time::sleep(RENEW).await;
        // One that fails is tried again four times before the time is over; then its command says why it ended.
        let _ = host.json(Method::POST, &path, Some(&body)).await;
    }
}

fn tell(args: &Run, made: &Made, end: Ended, took: Duration) {
    let stopped = end.late.then_some("its time (--timeout) is over");
    if args.json {
        let wall = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let value = serde_json::json!({"run": made.id, "tier": made.tier, "exit": end.code, "signal": end.signal,
            "stopped": stopped, "wall_ms": wall, "output_bytes": end.output, "kept": args.keep});
        eprintln!("{value}");
        return;
    }
    if let Some(words) = stopped {
        eprintln!("qila: stopped: {words}");
    }
    if args.quiet {
        return;
    }
    eprintln!(
        "qila: run {} · {} · exit {} · {:.1} s",
        made.id,
        made.tier,
        end.code,
        took.as_secs_f64()
    );
    if args.keep {
        eprintln!(
            "qila: it is kept until its time is over; see `qila sandbox exec {0} -- …`, end it with `qila kill {0}`",
            made.id
        );
    }
}
