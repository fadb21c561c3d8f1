//! What is sent to each provider, and what is made of each answer.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failure here is the test's"
)]
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use qila_lease::{Call, MintError, Origin, Revocation};
use qila_policy::model::{Access, GithubApp, Oauth2, SecretRef, ServiceUrl, Vault};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use std::time::Duration;

fn url(text: &str) -> ServiceUrl {
    ServiceUrl(text.to_owned())
}

fn nothing() -> SecretRef {
    SecretRef::Env("UNUSED".into())
}

fn header<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let mut found = call
        .headers
        .iter()
        .filter(|(n, _)| *n == name)
        .map(|(_, v)| v.expose());
    let first = found.next();
    assert!(found.next().is_none(), "{name} twice");
    first
}

fn vault() -> Origin {
    let vault = Vault {
        address: url("https://vault.test:8200/base"),
        path: "secret/data/openai".into(),
        field: "key".into(),
        token: nothing(),
        namespace: Some("team/a".into()),
    };
    Origin::vault(&vault, "hvs.real-token".into()).unwrap()
}

fn reply(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

#[test]
fn vault_is_asked_and_understood() {
    let origin = vault();
    let call = origin.call(0).unwrap();
    assert_eq!(
        (call.method, call.url.to_string().as_str()),
        ("GET", "https://vault.test:8200/base/v1/secret/data/openai")
    );
    assert_eq!(header(&call, "x-vault-token"), Some("hvs.real-token"));
    assert_eq!(header(&call, "x-vault-namespace"), Some("team/a"));
    assert_eq!(header(&call, "x-vault-request"), Some("true"));
    // Version 1, whose secret may itself have a field `data`; version 2; a dynamic one.
    for (data, lease) in [
        (json!({"key": "value-1"}), None),
        (json!({"key": "value-1", "data": "text"}), None),
        (
            json!({"data": {"key": "value-1"}, "metadata": {"version": 3}}),
            None,
        ),
        (
            json!({"key": "value-1", "password": "x"}),
            Some("database/creds/r/abc"),
        ),
    ] {
        let body = reply(
            &json!({"lease_id": lease.unwrap_or_default(), "lease_duration": 60, "renewable": true, "data": data}),
        );
        let minted = origin.read(200, &body, 0).unwrap();
        assert_eq!(minted.value.expose_secret(), "value-1");
        assert_eq!(minted.life, lease.map(|_| Duration::from_secs(60)));
        let Some(revocation) = minted.revocation else {
            assert_eq!(lease, None);
            continue;
        };
        let call = revocation.call();
        assert_eq!(
            (call.method, call.url.path.as_str()),
            ("PUT", "/base/v1/sys/leases/revoke")
        );
        assert_eq!(header(&call, "x-vault-token"), Some("hvs.real-token"));
        assert_eq!(
            serde_json::from_str::<Value>(call.body.expose()).unwrap()["lease_id"],
            "database/creds/r/abc"
        );
        assert_eq!(revocation.read(204, b""), Ok(()));
        assert_eq!(revocation.read(400, br#"{"errors":["lease not found"]}"#), Ok(()));
        for (status, body) in [
            (400, r#"{"errors":["other"]}"#),
            (403, r#"{"errors":["permission denied"]}"#),
            (500, ""),
            (404, ""),
        ] {
            assert!(
                revocation.read(status, body.as_bytes()).is_err(),
                "{status} {body}"
            );
        }
    }
}

#[test]
fn vault_that_gives_nothing_is_an_error_without_a_word_of_the_secret() {
    let origin = vault();
    for (status, body) in [
        (200, r#"{"data":{"other":"the-secret"}}"#),
        (200, r#"{"data":{"key":17}}"#),
        (200, r#"{"data":null}"#),
        (200, r#"["the-secret"]"#),
        (200, "the-secret"),
        (200, ""),
        (302, ""),
        (403, r#"{"errors":["permission denied\u001b[31m"]}"#),
        (404, r#"{"errors":[]}"#),
        (503, "the-secret"),
    ] {
        let error = origin.read(status, body.as_bytes(), 0).unwrap_err().to_string();
        assert!(
            !error.contains("the-secret") && !error.contains('\u{1b}'),
            "{error}"
        );
    }
}

fn oauth2(secret: Option<&str>, refresh: Option<&str>) -> Origin {
    let oauth2 = Oauth2 {
        token_url: url("https://auth.test/token"),
        client_id: "the client".into(),
        client_secret: None,
        scope: Some("a b".into()),
        refresh_token: None,
        revoke_url: Some(url("https://auth.test/revoke")),
    };
    Origin::oauth2(&oauth2, secret.map(Into::into), refresh.map(Into::into)).unwrap()
}

#[test]
fn client_credentials_are_sent_as_rfc_6749_has_them() {
    let origin = oauth2(Some("s3cret:+/ é"), None);
    let call = origin.call(0).unwrap();
    assert_eq!(call.method, "POST");
    let basic = header(&call, "authorization")
        .unwrap()
        .strip_prefix("Basic ")
        .unwrap();
    let pair = String::from_utf8(BASE64_STANDARD.decode(basic).unwrap()).unwrap();
    assert_eq!(pair, "the+client:s3cret%3A%2B%2F+%C3%A9");
    assert_eq!(
        header(&call, "content-type"),
        Some("application/x-www-form-urlencoded")
    );
    assert_eq!(call.body.expose(), "grant_type=client_credentials&scope=a+b");
    let body = reply(
        &json!({"access_token": "at-1", "token_type": "bearer", "expires_in": 3600, "refresh_token": "not asked for"}),
    );
    let minted = origin.read(200, &body, 0).unwrap();
    assert_eq!(
        (minted.value.expose_secret(), minted.life),
        ("at-1", Some(Duration::from_secs(3600)))
    );
    assert!(origin.rotated().is_none());
    let revocation = minted.revocation.unwrap();
    let call = revocation.call();
    assert_eq!(call.url.to_string(), "https://auth.test/revoke");
    assert_eq!(call.body.expose(), "token=at-1&token_type_hint=access_token");
    assert!(header(&call, "authorization").is_some());
    assert_eq!(revocation.read(200, b""), Ok(()));
    assert!(revocation.read(503, b"").is_err());
}

#[test]
fn a_refresh_token_that_is_exchanged_is_used_from_then_on() {
    let origin = oauth2(None, Some("rt-1"));
    assert_eq!(
        origin.call(0).unwrap().body.expose(),
        "grant_type=refresh_token&refresh_token=rt-1&scope=a+b&client_id=the+client"
    );
    let body = reply(&json!({"access_token": "at-1", "token_type": "Bearer", "refresh_token": "rt-2"}));
    let minted = origin.read(200, &body, 0).unwrap();
    assert_eq!(origin.rotated().unwrap().expose(), "rt-2");
    assert!(minted.life.is_none());
    assert!(
        origin
            .call(0)
            .unwrap()
            .body
            .expose()
            .contains("refresh_token=rt-2&")
    );
    for (status, body) in [
        (200, r#"{"access_token":"x","token_type":"mac"}"#),
        (200, r#"{"token_type":"bearer"}"#),
        (400, r#"{"error":"invalid_grant"}"#),
        (201, r#"{"access_token":"x","token_type":"bearer"}"#),
    ] {
        assert!(origin.read(status, body.as_bytes(), 0).is_err(), "{body}");
    }
    let why = origin
        .read(
            400,
            br#"{"error":"invalid_grant","error_description":"it is old"}"#,
            0,
        )
        .unwrap_err();
    assert!(why.to_string().contains("400: it is old"), "{why}");
}

#[test]
fn what_was_minted_for_nothing_can_be_taken_back() {
    let leased = reply(&json!({"lease_id": "l", "lease_duration": 60, "data": {"other": "x"}}));
    let unread = vault().read(200, &leased, 0).unwrap_err();
    assert!(matches!(unread.left(), Some(Revocation::Vault(_))));
    let oauth2 = oauth2(None, Some("rt-1"));
    for body in [
        r#"{"access_token":"at-1","token_type":"mac","refresh_token":"rt-2"}"#,
        r#"{"access_token":"at-1","token_type":"bearer","expires_in":0}"#,
    ] {
        let error = oauth2.read(200, body.as_bytes(), 0).unwrap_err();
        let left = error.left().unwrap().call();
        assert!(left.body.expose().starts_with("token=at-1&"), "{error}");
    }
    // The old refresh token is dead although the new access token is of no use.
    assert!(
        oauth2
            .call(0)
            .unwrap()
            .body
            .expose()
            .contains("refresh_token=rt-2&")
    );
    assert!(oauth2.read(400, b"{}", 0).unwrap_err().left().is_none());
    // A lease without an end has none that could be waited for.
    let endless = reply(&json!({"lease_id": "l", "lease_duration": 0, "data": {"key": "value-1"}}));
    assert_eq!(vault().read(200, &endless, 0).unwrap().life, None);
}

/// A key in both forms of PEM, made for this test by the machine's own openssl; and its public half.
fn key(dir: &std::path::Path) -> Option<(String, String, Vec<u8>)> {
    let file = |name: &str| dir.join(name).display().to_string();
    let openssl = |args: &[&str]| {
        let run = std::process::Command::new("openssl").args(args).output().ok()?;
        run.status.success().then_some(run.stdout)
    };
    let (new, old) = (file("pkcs8.pem"), file("pkcs1.pem"));
    openssl(&[
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        &new,
    ])?;
    openssl(&["rsa", "-in", &new, "-traditional", "-out", &old])?;
    let public = openssl(&["rsa", "-in", &new, "-RSAPublicKey_out", "-outform", "DER"])?;
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    Some((read(&new), read(&old), public))
}

#[test]
fn github_is_asked_with_a_signature_of_the_app() {
    let dir = std::env::temp_dir().join(format!("qila-lease-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let made = key(&dir);
    std::fs::remove_dir_all(&dir).unwrap();
    let Some((new, old, public)) = made else {
        println!("skipped: GitHub's signature: there is no openssl");
        return;
    };
    let mut app = GithubApp {
        app_id: 7,
        installation_id: 42,
        private_key: nothing(),
        api: url("https://api.github.test/api/v3"),
        repositories: ["qila".to_owned()].into(),
        permissions: [("contents".to_owned(), Access::Read)].into(),
    };
    for pem in [&new, &old] {
        assert!(pem.contains("PRIVATE KEY"));
        let origin = Origin::github(&app, &pem.as_str().into()).unwrap();
        let call = origin.call(1_000_000).unwrap();
        assert_eq!(
            (call.method, call.url.path.as_str()),
            ("POST", "/api/v3/app/installations/42/access_tokens")
        );
        assert_eq!(
            serde_json::from_str::<Value>(call.body.expose()).unwrap(),
            json!({"repositories": ["qila"], "permissions": {"contents": "read"}})
        );
        assert_eq!(header(&call, "accept"), Some("application/vnd.github+json"));
        let jwt = header(&call, "authorization")
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        key.verify(signed.as_bytes(), &signature).unwrap();
        let claims = BASE64_URL_SAFE_NO_PAD
            .decode(signed.split_once('.').unwrap().1)
            .unwrap();
        assert_eq!(
            serde_json::from_slice::<Value>(&claims).unwrap(),
            json!({"iat": 999_940, "exp": 1_000_540, "iss": "7"})
        );
        let body = br#"{"token":"ghs_real","expires_at":"1970-01-12T14:16:40Z","permissions":{}}"#;
        let minted = origin.read(201, body, 1_000_000).unwrap();
        assert_eq!(
            (minted.value.expose_secret(), minted.life),
            ("ghs_real", Some(Duration::from_secs(1800)))
        );
        let revocation = minted.revocation.unwrap();
        let call = revocation.call();
        assert_eq!(
            (call.method, call.url.path.as_str()),
            ("DELETE", "/api/v3/installation/token")
        );
        assert_eq!(header(&call, "authorization"), Some("Bearer ghs_real"));
        for (status, over) in [(204, true), (401, true), (403, false), (404, false), (500, false)] {
            assert_eq!(revocation.read(status, b"").is_ok(), over, "{status}");
        }
        assert!(origin.read(200, body, 0).is_err() && origin.read(201, b"{}", 0).is_err());
        for end in ["soon", "1970-01-12T13:00:00Z"] {
            let body = format!(r#"{{"token":"ghs_real","expires_at":"{end}"}}"#);
            let error = origin.read(201, body.as_bytes(), 1_000_000).unwrap_err();
            assert!(matches!(error.left(), Some(Revocation::Github(_))), "{end}");
        }
    }
    app.api = url("gopher://x");
    assert_eq!(
        Origin::github(&app, &new.as_str().into()).unwrap_err(),
        MintError::Url
    );
    app.api = url("https://a.test");
    for bad in [
        "",
        "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----",
    ] {
        assert_eq!(Origin::github(&app, &bad.into()).unwrap_err(), MintError::Key);
    }
}

#[test]
fn nothing_that_is_kept_prints_a_secret() {
    let body = reply(&json!({"lease_id": "l", "data": {"key": "value-1"}}));
    let (vault, oauth2) = (vault(), oauth2(Some("s3cret"), Some("rt-1")));
    let minted = vault.read(200, &body, 0).unwrap();
    let token = oauth2
        .read(
            200,
            br#"{"access_token":"at-1","token_type":"bearer","refresh_token":"rt-2"}"#,
            0,
        )
        .unwrap();
    let all = format!(
        "{vault:?} {oauth2:?} {minted:?} {token:?} {:?} {:?}",
        vault.call(0),
        oauth2.call(0)
    );
    for secret in ["hvs.real", "value-1", "s3cret", "rt-1", "rt-2", "at-1"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    // What has to be remembered is, and comes back the same.
    let text = serde_json::to_string(&minted.revocation).unwrap();
    assert_eq!(
        serde_json::from_str::<Option<Revocation>>(&text).unwrap(),
        minted.revocation
    );
}
