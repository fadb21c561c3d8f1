//! `qila-bench`: measures what the README claims, with the peers in the same run.
#![forbid(unsafe_code)]

mod bulk;
mod docker;
mod evidence;
mod gateway;
mod inside;
mod memory;
mod peers;
mod qila;
mod relay;
mod report;
mod scratch;
mod serve;
mod start;
mod stats;
mod timing;
mod workloads;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: qila-bench [run] [--runs N] [--only PART] [--markdown]\n\
    parts: start memory workloads bulk evidence\n\
    or:    qila-bench gateway [--quick] [--markdown]\n\
    or:    qila-bench serve [--quick] [--runs N] [--only PART] [--markdown]\n\
    parts: create exec zygote fan-out many files fork pause";

/// What `--only` takes.
const PARTS: [&str; 5] = ["start", "memory", "workloads", "bulk", "evidence"];

/// Runs of each start command; a slower part takes a share of it.
const RUNS: usize = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Inside the sandbox this same program is the stop-watch and the network client.
    let result = match arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        Some(("timed", rest)) => inside::timed(rest),
        Some(("again", rest)) => inside::again(rest),
        Some(("pull", rest)) => inside::pull(rest),
        Some(("load", rest)) => gateway::load::main(rest),
        _ => Options::parse(&arguments).and_then(|options| table(&options)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("qila-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq)]
struct Options {
    runs: usize,
    only: Option<String>,
    markdown: bool,
    /// The gateway's table, not the run's.
    gateway: bool,
    /// The daemon's table.
    serve: bool,
    quick: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options {
            runs: RUNS,
            only: None,
            markdown: false,
            gateway: false,
            serve: false,
            quick: false,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "run" => {}
                "gateway" => options.gateway = true,
                "serve" => options.serve = true,
                "--quick" => options.quick = true,
                "--markdown" => options.markdown = true,
                "--only" => {
                    let parts: &[&str] = if options.serve { &serve::PARTS } else { &PARTS };
                    let part = words.next().filter(|part| parts.contains(&part.as_str()));
                    options.only = Some(part.ok_or(USAGE)?.clone());
                }
                "--runs" => {
                    options.runs = words
                        .next()
                        .and_then(|text| text.parse().ok())
                        .filter(|runs| *runs > 0)
                        .ok_or(USAGE)?;
                }
                "walls" => {
                    return Err(format!("the table `{word}` is pending: it has no rows yet"));
                }
                _ => return Err(format!("`{word}`?\n{USAGE}")),
            }
        }
        Ok(options)
    }
}

fn table(options: &Options) -> Result<(), String> {
    let out = std::env::var_os("QILA_BENCH_OUT").map_or_else(|| PathBuf::from("target/bench"), PathBuf::from);
    let scratch =
        scratch::Scratch::new(&out).map_err(|error| format!("cannot use {}: {error}", out.display()))?;
    let qila = qila::Qila::find(&scratch);
    let wanted = |part: &str| {
        !options.gateway && !options.serve && options.only.as_deref().is_none_or(|only| only == part)
    };
    let mut rows = Vec::new();
    if options.gateway {
        let mut effort = gateway::Effort::new(options.quick);
        if options.runs != RUNS {
            effort.rounds = options.runs;
        }
        rows.extend(gateway::rows(&scratch, &qila, effort)?);
    }
    if options.serve {
        let mut effort = serve::Effort::new(options.quick);
        if options.runs != RUNS {
            effort.runs = options.runs;
        }
        rows.extend(serve::rows(&scratch, effort, options.only.as_deref())?);
    }
    if wanted("start") {
        rows.extend(start::rows(&scratch, &qila, options.runs)?);
    }
    if wanted("memory") {
        rows.extend(memory::rows(&scratch, &qila, options.runs.div_ceil(4)));
    }
    if wanted("workloads") {
        rows.extend(workloads::rows(&scratch, &qila, options.runs.div_ceil(4)));
    }
    if wanted("bulk") {
        rows.extend(bulk::rows(&scratch, &qila, options.runs.div_ceil(4)));
    }
    if wanted("evidence") {
        rows.extend(evidence::rows(&scratch));
    }
    let text = report::markdown(&rows);
    let table = match (options.gateway, options.serve) {
        (true, _) => "gateway",
        (_, true) => "serve",
        _ => "run",
    };
    let document = report::document(table, options.runs, &rows);
    let json = format!("{document:#}\n");
    // A part of the table does not take the place of the whole.
    let part = options
        .only
        .as_deref()
        .map_or_else(String::new, |part| format!("-{part}"));
    for (ending, content) in [("json", &json), ("md", &text)] {
        let name = format!("{table}{part}.{ending}");
        std::fs::write(out.join(&name), content).map_err(|error| format!("cannot write {name}: {error}"))?;
    }
    println!("{text}");
    if !options.markdown {
        let count = |verdict: &str| rows.iter().filter(|row| row.verdict() == verdict).count();
        println!(
            "{} met, {} missed, {} skipped, {} failed",
            count("met"),
            count("missed"),
            count("skipped"),
            count("failed")
        );
        println!("figures in {}", out.join(format!("{table}{part}.json")).display());
    }
    match rows.iter().filter(|row| row.verdict() == "failed").count() {
        0 => Ok(()),
        failed => Err(format!("{failed} rows failed: Qila did not run")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let parsed = Options::parse(&words("run --runs 5 --only start --markdown")).expect("valid");
        assert_eq!(
            parsed,
            Options {
                runs: 5,
                only: Some("start".to_owned()),
                markdown: true,
                gateway: false,
                serve: false,
                quick: false,
            }
        );
        assert!(Options::parse(&words("serve --quick")).expect("valid").serve);
        assert!(Options::parse(&words("serve --only many")).is_ok());
        assert!(Options::parse(&words("serve --only start")).is_err());
        assert!(Options::parse(&words("--runs 0")).is_err());
        assert!(Options::parse(&words("--only ../x")).is_err());
        assert!(
            Options::parse(&words("walls"))
                .expect_err("pending")
                .contains("pending")
        );
    }
}
