//! Programs that run in a sandbox elsewhere without whoever started them: started so, listed, listened to.
use super::exec::{Program, ended, not_run};
use super::http::{Host, escaped, gone};
use super::list::{Events, text};
use super::signals::{Done, Signals};
use super::streams::{self, Output};
use crate::fail::Fail;
use crate::policy::print;
use crate::ps::harmless;
use crate::run::terminal::{self, Raw};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Method;
use serde_json::{Value, json};

/// Starts a program and leaves it running.
pub(crate) async fn detach(
    host: &Host,
    id: &str,
    program: &Program,
    tag: Option<&str>,
    json: bool,
) -> Result<u8, Fail> {
    let mut body = program.wish();
    if let (Some(tag), Some(object)) = (tag, body.as_object_mut()) {
        object.insert("tag".into(), tag.into());
    }
    let sent = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let path = format!("/v1/sandboxes/{}/exec/stream", escaped(id));
    let request = host
        .request(Method::POST, &path)
        .header("content-type", "application/json")
        .body(sent.boxed())
        .map_err(|e| Fail::new(e.to_string()))?;
    let mut events = Events::of(host.start(request).await?.into_body());
    match events.next().await? {
        Some((name, data)) if name == "started" => {
            let pid = data.get("pid").and_then(Value::as_u64).unwrap_or_default();
            print(&match json {
                true => json!({"run": id, "pid": pid, "tag": tag}).to_string(),
                false => pid.to_string(),
            });
            Ok(0)
        }
        Some((_, data)) => Err(not_run(&data)),
        None => Err(gone("it ended the stream")),
    }
}

async fn running(host: &Host, id: &str) -> Result<Value, Fail> {
    let path = format!("/v1/sandboxes/{}/processes", escaped(id));
    host.json(Method::GET, &path, None).await
}

/// `qila sandbox programs`.
pub(crate) async fn programs(host: &Host, id: &str, json: bool) -> Result<u8, Fail> {
    let all = running(host, id).await?;
    if !json {
        print(&format!("{:>8}  {:16}  COMMAND", "PROGRAM", "TAG"));
    }
    for program in all.as_array().into_iter().flatten() {
        if json {
            print(&program.to_string());
            continue;
        }
        let words = program.get("argv").and_then(Value::as_array);
        let words: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
        let pid = program.get("pid").and_then(Value::as_u64).unwrap_or_default();
        print(&harmless(&format!(
            "{pid:>8}  {:16}  {}",
            text(program, "tag"),
            words.join(" ")
        )));
    }
    Ok(0)
}

/// `qila sandbox attach`.
pub(crate) async fn attach(host: &Host, id: &str, program: &str, input: bool) -> Result<u8, Fail> {
    let all = running(host, id).await?;
    let is_it = |p: &&Value| match program.strip_prefix("tag:") {
        Some(tag) => text(p, "tag") == tag,
        None => {
            p.get("pid")
                .and_then(Value::as_u64)
                .map(|n| n.to_string())
                .as_deref()
                == Some(program)
        }
    };
    let found = all.as_array().into_iter().flatten().find(is_it);
    let has_terminal = found.and_then(|p| p.get("terminal")).and_then(Value::as_bool) == Some(true);
    let at = format!("/v1/sandboxes/{}/processes/{}", escaped(id), escaped(program));
    let request = host.request(Method::GET, &format!("{at}/stream?from=0"));
    let request = request
        .body(super::http::nothing())
        .map_err(|e| Fail::new(e.to_string()))?;
    let mut events = Events::of(host.start(request).await?.into_body());
    let mut signals = Signals::take()?;
    let size = terminal::size().filter(|_| has_terminal && input);
    let raw = size.and_then(|_| Raw::enter());
    let mut typed = input.then(streams::input);
    let output = Output::begin();
    if let Some(size) = size {
        tell(host, &at, "resize", json!({"rows": size.rows, "cols": size.cols})).await?;
    }
    let heard = loop {
        let piece = async {
            match &mut typed {
                Some(typed) => typed.recv().await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            event = events.next() => match event {
                Ok(None) => break Err(gone("it ended the stream")),
                Err(fail) => break Err(fail),
                Ok(Some((name, data))) => match said(&name, &data) {
                    Ok(Said::Bytes(error, bytes)) => {
                        if output.write(error, bytes).await.is_err() {
                            break Ok(0);
                        }
                        continue;
                    }
                    Ok(Said::Nothing) => continue,
                    Ok(Said::End(code)) => break Ok(code),
                    Err(fail) => break Err(fail),
                },
            },
            piece = piece => match piece {
                Some(bytes) => tell(host, &at, "input", json!({"data": STANDARD.encode(&bytes), "encoding": "base64"})).await,
                None => {
                    typed = None;
                    tell(host, &at, "input", json!({"end": true})).await
                }
            },
            done = signals.next() => match done {
                Done::Signal(name, _) => tell(host, &at, "signal", json!({"signal": name})).await,
                Done::Resize { rows, cols } if size.is_some() => tell(host, &at, "resize", json!({"rows": rows, "cols": cols})).await,
                Done::Resize { .. } => continue,
            },
        };
        if let Err(fail) = told {
            break Err(fail);
        }
    };
    let written = output.end().await;
    drop(raw);
    let code = heard?;
    written.map(|()| code)
}

async fn tell(host: &Host, at: &str, what: &str, body: Value) -> Result<(), Fail> {
    host.json(Method::POST, &format!("{at}/{what}"), Some(&body))
        .await
        .map(drop)
}

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Bytes; true: of standard error.
    Bytes(bool, Bytes),
    /// Nothing to be shown.
    Nothing,
    /// The end, with an exit code.
    End(u8),
}

fn said(name: &str, data: &Value) -> Result<Said, Fail> {
    match name {
        "stdout" | "stderr" | "terminal" => {
            let bytes = match text(data, "encoding") {
                "base64" => STANDARD
                    .decode(text(data, "data"))
                    .map_err(|e| Fail::new(format!("the daemon told what is no base64: {e}")))?,
                _ => text(data, "data").as_bytes().to_vec(),
            };
            Ok(Said::Bytes(name == "stderr", bytes.into()))
        }
        "lost" => {
            let n = data.get("bytes").and_then(Value::as_u64).unwrap_or_default();
            Ok(Said::Bytes(
                true,
                format!("qila: {n} bytes were not kept\n").into(),
            ))
        }
        "ended" => Ok(ended(&json!({"ended": data}))?.map_or(Said::Nothing, |end| Said::End(end.code))),
        "error" => Err(not_run(data)),
        _ => Ok(Said::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_what_a_program_said() {
        let bytes = |error, text: &'static str| Ok(Said::Bytes(error, Bytes::from_static(text.as_bytes())));
        let said = |name: &str, data: Value| said(name, &data).map_err(|f| f.code);
        assert_eq!(
            said("stdout", json!({"data": "a", "encoding": "utf8"})),
            bytes(false, "a")
        );
        assert_eq!(
            said("stderr", json!({"data": "YQ==", "encoding": "base64"})),
            bytes(true, "a")
        );
        assert!(said("stdout", json!({"data": "!", "encoding": "base64"})).is_err());
        assert_eq!(
            said("ended", json!({"exit_code": null, "signal": 9})),
            Ok(Said::End(137))
        );
        assert_eq!(said("error", json!({"status": 404})), Err(127));
        assert_eq!(said("new", json!({})), Ok(Said::Nothing));
    }
}
