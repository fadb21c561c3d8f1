//! Programs of the node in memory.
use bytes::Bytes;
use qila_api::{Exec, Input, Output, Status};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

type Signals = Arc<Mutex<Vec<(u32, i32)>>>;

/// What programs there are: `echo`, `cat`, `exit N`, `bytes`, `flood N`, and two that a signal ends: `sleep`, and `busy`, which reads
/// nothing.
pub async fn program(
    pid: u32,
    exec: Exec,
    out: mpsc::Sender<Output>,
    mut input: mpsc::Receiver<Input>,
    mut ends: mpsc::Receiver<i32>,
    signals: Signals,
) {
    let ended = |code| {
        Output::Ended(Status {
            code: Some(code),
            signal: None,
        })
    };
    let args: Vec<&str> = exec.argv.iter().map(String::as_str).collect();
    let end = match args.as_slice() {
        ["echo", words @ ..] => {
            let _ = out
                .send(Output::Stdout(format!("{}\n", words.join(" ")).into()))
                .await;
            ended(0)
        }
        ["exit", code] => {
            let _ = out.send(Output::Stderr("no\n".into())).await;
            ended(code.parse().unwrap())
        }
        ["busy"] => Output::Ended(Status {
            code: None,
            signal: ends.recv().await,
        }),
        ["bytes"] => {
            let _ = out
                .send(Output::Stdout(Bytes::from_static(&[0xff, 0xfe, 0])))
                .await;
            ended(0)
        }
        ["flood", n] => {
            for _ in 0..n.parse::<usize>().unwrap() {
                if out.send(Output::Stdout(vec![b'x'; 65_536].into())).await.is_err() {
                    break;
                }
            }
            ended(0)
        }
        _ => loop {
            match input.recv().await {
                None | Some(Input::End) if args == ["cat"] => break ended(0),
                None => return,
                Some(Input::Bytes(bytes)) => drop(out.send(Output::Stdout(bytes)).await),
                Some(Input::Resize(size)) => {
                    drop(
                        out.send(Output::Stderr(format!("{}x{}", size.rows, size.cols).into()))
                            .await,
                    );
                }
                Some(Input::Signal(signal)) => {
                    signals.lock().unwrap().push((pid, signal));
                    break Output::Ended(Status {
                        code: None,
                        signal: Some(signal),
                    });
                }
                Some(Input::End) => {}
            }
        },
    };
    let _ = out.send(end).await;
}
