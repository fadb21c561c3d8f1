//! Bodies in the codings that the client accepts.
use super::serve::{Answer, Call, full, set};
use http::Response;
use std::io::Write;

/// The text that every client must read in the end.
pub const TEXT: &str = "the same words, again and again; ";

fn encode(coding: &str, text: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            writer.write_all(text).unwrap();
            writer.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 5, 20);
            writer.write_all(text).unwrap();
            drop(writer);
            out
        }
        "zstd" => {
            let mut out = Vec::with_capacity(zstd_safe::compress_bound(text.len()));
            zstd_safe::compress(&mut out, text, 3).unwrap();
            out
        }
        _ => text.to_vec(),
    }
}

/// `?as=gzip`: that coding if it is accepted; with `&force=1` in any case.
pub(crate) async fn answer(call: Call) -> Answer {
    let wanted = call.parameter("as").to_owned();
    let accepted = call
        .request
        .headers()
        .get_all("accept-encoding")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|v| v.split(';').next().unwrap_or_default().trim() == wanted);
    let coding = if accepted || call.parameter("force") == "1" {
        wanted.as_str()
    } else {
        "identity"
    };
    call.entry.note(format!("coded {coding}"));
    let mut response = Response::new(full(encode(coding, TEXT.repeat(100).as_bytes())));
    if coding != "identity" {
        set(&mut response, "content-encoding", coding);
    }
    response
}
