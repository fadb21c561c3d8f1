//! A server that lies, written by hand: no library would.
use super::Shared;
use super::record::Record;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(crate) async fn accept(
    listener: std::net::TcpListener,
    config: Arc<rustls::ServerConfig>,
    shared: Arc<Shared>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut config = (*config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = lie(&mut stream, &shared).await;
            }
        });
    }
}

async fn lie<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
    stream: &mut S,
    shared: &Shared,
) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < 64 * 1024 {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default().to_owned();
    let case = head
        .lines()
        .find_map(|l| l.strip_prefix("x-case: "))
        .unwrap_or_default()
        .to_owned();
    shared.records.begin(Record {
        case,
        host: super::LIAR.into(),
        sni: Some(super::LIAR.into()),
        version: "HTTP/1.1".into(),
        method,
        target: target.clone(),
        ..Record::default()
    });
    let key = shared.key(super::LIAR);
    let answer = match target.rsplit('/').next().unwrap_or_default() {
        // Promises more than it sends.
        "short" => "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_owned(),
        // Sends more than it promised: another answer, which nobody asked for.
        "long" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nright\
                   HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nsmuggled"
            .to_owned(),
        // Says two lengths.
        "twice" => "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 8\r\n\r\nrightwro".to_owned(),
        // A length and chunks.
        "both" => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n".to_owned(),
        // Chunks that never end.
        "endless" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nright\r\n".to_owned(),
        "reason" => format!("HTTP/1.1 200 {key}\r\ncontent-length: 2\r\n\r\nok"),
        "name" => format!("HTTP/1.1 200 OK\r\nx-{key}: 1\r\ncontent-length: 2\r\n\r\nok"),
        "early" => format!("HTTP/1.1 103 Early Hints\r\nlink: <{key}>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        "extension" => format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;k={key}\r\nok\r\n0\r\n\r\n"),
        _ => "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned(),
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.flush().await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    stream.shutdown().await
}
