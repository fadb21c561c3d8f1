//! `/files`: downloads and uploads.
use crate::support::{Answer, Client};
use async_compression::tokio::bufread::{GzipDecoder, GzipEncoder};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::Request;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

async fn get(c: &Client, id: &str, query: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("/files?{query}")).header("e2b-sandbox-id", id);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    c.envd(request.body(Body::empty()).unwrap()).await
}

async fn post(c: &Client, id: &str, query: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
    let mut request = Request::post(format!("/files?{query}")).header("e2b-sandbox-id", id);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    c.envd(request.body(body.into()).unwrap()).await
}

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

#[tokio::test]
async fn bytes_go_in_and_come_out() {
    let c = Client::new();
    let id = c.sandbox().await;
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let written = post(&c, &id, "path=d%2Fa.bin&username=user", &[OCTETS], bytes.clone()).await;
    assert_eq!(written.status, 200, "{}", written.text());
    assert_eq!(
        (&written.json()[0]["name"], &written.json()[0]["type"]),
        (&json!("a.bin"), &json!("file"))
    );
    let read = get(&c, &id, "path=d/a.bin", &[]).await;
    assert_eq!(read.headers["content-length"], "300000");
    assert!(
        read.headers["content-disposition"]
            .to_str()
            .unwrap()
            .contains("a.bin")
    );
    assert_eq!(&read.bytes[..], &bytes[..]);
    let packed = get(&c, &id, "path=d/a.bin", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut plain = Vec::new();
    GzipDecoder::new(&packed.bytes[..])
        .read_to_end(&mut plain)
        .await
        .unwrap();
    assert_eq!(plain, bytes);
    let mut small = Vec::new();
    GzipEncoder::new(&b"packed"[..])
        .read_to_end(&mut small)
        .await
        .unwrap();
    let unpacked = post(&c, &id, "path=p", &[OCTETS, ("content-encoding", "gzip")], small).await;
    assert_eq!(unpacked.status, 200, "{}", unpacked.text());
    assert_eq!(get(&c, &id, "path=p", &[]).await.text(), "packed");
    let empty = post(&c, &id, "path=empty", &[OCTETS], "").await;
    assert_eq!(empty.status, 200);
    assert_eq!(get(&c, &id, "path=empty", &[]).await.text(), "");
    assert_eq!(get(&c, &id, "path=d", &[]).await.status, 400);
    assert_eq!(get(&c, &id, "path=none", &[]).await.json()["code"], 404);
    assert_eq!(
        get(&c, &id, "path=d/a.bin&username=daemon", &[]).await.status,
        401
    );
    assert_eq!(get(&c, &id, "path=a&path=b", &[]).await.status, 400);
    let metadata = post(&c, &id, "path=m", &[OCTETS, ("x-metadata-a", "b")], "x").await;
    assert_eq!(metadata.status, 400);
    assert_eq!(
        post(&c, &id, "path=m", &[OCTETS, ("content-encoding", "br")], "x")
            .await
            .status,
        415
    );
    assert_eq!(
        post(&c, &id, "path=m", &[("content-type", "text/plain")], "x")
            .await
            .status,
        415
    );
    assert_eq!(post(&c, &id, "", &[OCTETS], "x").await.status, 400);
}

fn form(parts: &[(&str, &str, &str)]) -> String {
    let mut body = String::new();
    for (field, file, content) in parts {
        body.push_str(&format!(
            "--b\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{file}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n{content}\r\n"
        ));
    }
    body + "--b--\r\n"
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

#[tokio::test]
async fn forms_carry_files() {
    let c = Client::new();
    let id = c.sandbox().await;
    let many = post(
        &c,
        &id,
        "",
        &[FORM],
        form(&[("file", "x/one", "1"), ("file", "x/two", "2")]),
    )
    .await;
    assert_eq!(many.status, 200, "{}", many.text());
    assert_eq!(many.json().as_array().unwrap().len(), 2);
    assert_eq!(get(&c, &id, "path=x/two", &[]).await.text(), "2");
    let one = post(
        &c,
        &id,
        "path=elsewhere",
        &[FORM],
        form(&[("file", "ignored", "3")]),
    )
    .await;
    assert_eq!(one.json()[0]["name"], "elsewhere");
    assert_eq!(get(&c, &id, "path=ignored", &[]).await.status, 404);
    for (query, body) in [
        ("path=p", form(&[("file", "a", "1"), ("file", "b", "2")])),
        ("", form(&[("other", "a", "1")])),
        ("", form(&[])),
        ("", "no form".to_owned()),
        ("", form(&[("file", "", "1")])),
    ] {
        assert_eq!(
            post(&c, &id, query, &[FORM], body.clone()).await.status,
            400,
            "{body}"
        );
    }
    // Larger than what is held of it at once.
    let large = "z".repeat(5_000_000);
    assert_eq!(
        post(&c, &id, "path=large", &[FORM], form(&[("file", "x", &large)]))
            .await
            .status,
        200
    );
    assert_eq!(get(&c, &id, "path=large", &[]).await.text(), large);
    // One that breaks off leaves no half of a file.
    let whole = form(&[("file", "half", &"y".repeat(200_000))]);
    let broken = post(&c, &id, "", &[FORM], whole[..150_000].to_owned()).await;
    assert_eq!(broken.status, 400, "{}", broken.text());
    assert_eq!(get(&c, &id, "path=half", &[]).await.status, 404);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_what_was_there() {
    let c = Client::new();
    let id = c.sandbox().await;
    post(&c, &id, "path=f", &[OCTETS], "before").await;
    let pieces = [
        Ok(bytes::Bytes::from("after")),
        Err(std::io::Error::other("gone")),
    ];
    let broken = post(
        &c,
        &id,
        "path=f",
        &[OCTETS],
        Body::from_stream(futures_util::stream::iter(pieces)),
    )
    .await;
    assert_eq!(broken.status, 400);
    assert_eq!(get(&c, &id, "path=f", &[]).await.text(), "before");
}

#[tokio::test]
async fn tokens_and_signatures_open() {
    let c = Client::new();
    let made = c
        .ask("POST", "/v2/sandboxes", Some(json!({"templateID": "base"})))
        .await
        .json();
    let (id, token) = (
        made["sandboxID"].as_str().unwrap(),
        made["envdAccessToken"].as_str().unwrap(),
    );
    let with = ("x-access-token", token);
    assert_eq!(post(&c, id, "path=f", &[OCTETS], "x").await.status, 401);
    assert_eq!(
        post(&c, id, "path=f", &[OCTETS, ("x-access-token", "wrong")], "x")
            .await
            .status,
        401
    );
    assert_eq!(post(&c, id, "path=f", &[OCTETS, with], "x").await.status, 200);
    assert_eq!(c.call(id, "process.Process/List", json!({})).await.status, 401);
    let health = Request::get("/health")
        .header("e2b-sandbox-id", id)
        .body(Body::empty())
        .unwrap();
    assert_eq!(c.envd(health).await.status, 204);
    let sign = |raw: String| {
        let signature = STANDARD_NO_PAD.encode(Sha256::digest(raw));
        let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        format!("signature=v1_{signature}")
    };
    let read = sign(format!("f:read::{token}"));
    assert_eq!(get(&c, id, &format!("path=f&{read}"), &[]).await.text(), "x");
    assert_eq!(get(&c, id, &format!("path=g&{read}"), &[]).await.status, 401);
    assert_eq!(
        post(&c, id, &format!("path=f&{read}"), &[OCTETS], "y")
            .await
            .status,
        401
    );
    let write = sign(format!("f:write:user:{token}"));
    assert_eq!(
        post(&c, id, &format!("path=f&username=user&{write}"), &[OCTETS], "y")
            .await
            .status,
        200
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    for (expires, status) in [(now + 60, 200), (now - 60, 401)] {
        let signed = sign(format!("f:read::{token}:{expires}"));
        let query = format!("path=f&signature_expiration={expires}&{signed}");
        assert_eq!(get(&c, id, &query, &[]).await.status, status);
    }
    // One that is not of the signature.
    let longer = format!(
        "path=f&signature_expiration={}&{}",
        now + 999,
        sign(format!("f:read::{token}:{}", now - 60))
    );
    assert_eq!(get(&c, id, &longer, &[]).await.status, 401);
}
