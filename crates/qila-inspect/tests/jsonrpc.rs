//! JSON-RPC and MCP: messages of real clients, and messages that two parsers read differently.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use qila_inspect::jsonrpc::*;

const LIMIT: usize = 1 << 20;

fn one(text: &str) -> Result<Message, JsonRpcError> {
    fuzz_jsonrpc(text.as_bytes());
    let mut body = read(text.as_bytes(), LIMIT)?;
    assert!(!body.batch && body.messages.len() == 1);
    Ok(body.messages.remove(0))
}

fn request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)
}

fn tool(arguments: &str) -> Result<Vec<(String, String)>, JsonRpcError> {
    let message = one(&request(
        "tools/call",
        &format!(r#"{{"name":"t","arguments":{arguments}}}"#),
    ))?;
    match message.subject {
        Subject::Tool { arguments, .. } => Ok(arguments),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_four_kinds() {
    for (text, kind, id, method) in [
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            Kind::Request,
            Some(Id::Number(1)),
            Some("ping"),
        ),
        (
            r#" {"method":"tools/list","params":{},"id":"a-1","jsonrpc":"2.0"} "#,
            Kind::Request,
            Some(Id::Text("a-1".into())),
            Some("tools/list"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            Kind::Notification,
            None,
            Some("notifications/initialized"),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"sum","params":[1,2,[3]]}"#,
            Kind::Notification,
            None,
            Some("sum"),
        ),
        (
            r#"{"jsonrpc":"2.0","id":-7,"result":{"a":[1.5e3,null]}}"#,
            Kind::Response,
            Some(Id::Number(-7)),
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":0,"result":null}"#,
            Kind::Response,
            Some(Id::Number(0)),
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"no","data":{}}}"#,
            Kind::Error,
            Some(Id::Number(2)),
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":""}}"#,
            Kind::Error,
            None,
            None,
        ),
        // Escapes are read before anything is judged.
        (
            r#"{"\u006asonrpc":"2.\u0030","id":1,"method":"p\u0069ng"}"#,
            Kind::Request,
            Some(Id::Number(1)),
            Some("ping"),
        ),
    ] {
        let message = one(text).unwrap();
        assert_eq!(
            (message.kind, message.id, message.method.as_deref()),
            (kind, id, method),
            "{text}"
        );
        assert_eq!(message.subject, Subject::Other);
    }
}

#[test]
fn subjects() {
    let subject = |method: &str, params: &str| one(&request(method, params)).map(|m| m.subject);
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    assert_eq!(
        subject(
            "tools/call",
            r#"{"arguments":{"path":"/data/x","n":3},"_meta":{"progressToken":1},"name":"read_file"}"#
        ),
        Ok(Subject::Tool {
            name: "read_file".into(),
            arguments: vec![pair("path", "/data/x"), pair("n", "3")],
        })
    );
    let bare = Ok(Subject::Tool {
        name: "t".into(),
        arguments: vec![],
    });
    assert_eq!(subject("tools/call", r#"{"name":"t"}"#), bare);
    assert_eq!(subject("tools/call", r#"{"name":"t","arguments":null}"#), bare);
    let resource = Ok(Subject::Resource {
        uri: "file:///a".into(),
    });
    for method in ["resources/read", "resources/subscribe", "resources/unsubscribe"] {
        assert_eq!(subject(method, r#"{"uri":"file:///a"}"#), resource);
    }
    assert_eq!(
        subject("prompts/get", r#"{"name":"p","arguments":{"a":"b"}}"#),
        Ok(Subject::Prompt {
            name: "p".into(),
            arguments: vec![pair("a", "b")]
        })
    );
    // Without an id it may be carried out all the same.
    let quiet = one(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#).unwrap();
    assert_eq!((quiet.kind, Ok(quiet.subject)), (Kind::Notification, bare));
    let bad = Err(JsonRpcError::Params);
    for (method, params) in [
        ("tools/call", "{}"),
        ("tools/call", "[]"),
        ("tools/call", r#"["t"]"#),
        ("tools/call", r#"{"name":7}"#),
        ("tools/call", r#"{"name":"t","arguments":[1]}"#),
        ("tools/call", r#"{"name":"t\u0000"}"#),
        ("tools/call", r#"{"name":"t\n"}"#),
        ("tools/call", r#"{"Name":"u","name":"t"}"#),
        ("tools/call", r#"{"NAME":"t"}"#),
        ("tools/call", r#"{"name":"t","Arguments":{}}"#),
        ("tools/call", "{\"name\":\"t\",\"argument\u{17f}\":{}}"),
        ("resources/read", r#"{"name":"t"}"#),
        ("resources/read", r#"{"uri":["file:///a"]}"#),
        ("resources/read", r#"{"URI":"file:///b","uri":"file:///a"}"#),
        ("prompts/get", r#"{"uri":"x"}"#),
    ] {
        let got = subject(method, params);
        let twice = Err(JsonRpcError::Json(JsonError::Duplicate));
        assert!(got == bad || got == twice, "{method} {params}: {got:?}");
    }
    assert_eq!(
        one(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#),
        Err(JsonRpcError::Params)
    );
    let kind = Err(JsonRpcError::Json(JsonError::Kind));
    assert_eq!(subject("tools/call", r#"{"name":"t","arguments":"x"}"#), kind);
    assert_eq!(subject("tools/call", "null"), kind);
}

#[test]
fn arguments_have_one_spelling() {
    for (written, text) in [
        (r#""/data/x""#, "/data/x"),
        (r#""\u002fdata\/x""#, "/data/x"),
        (r#""with \"quotes\"\n""#, "with \"quotes\"\n"),
        (r#""""#, ""),
        ("true", "true"),
        ("null", "null"),
        ("7", "7"),
        ("7.0", "7"),
        ("70e-1", "7"),
        ("5e3", "5000"),
        ("-0.5E1", "-5"),
        ("0.25", "0.25"),
        ("18446744073709551615", "18446744073709551615"),
        ("-9223372036854775808", "-9223372036854775808"),
        (r#" [ 1 , "a\u0062" , { "k" : [ ] } ] "#, r#"[1,"ab",{"k":[]}]"#),
        (r#"{"b":1,"a":{"c":"\"\\"}}"#, r#"{"b":1,"a":{"c":"\"\\"}}"#),
    ] {
        let got = tool(&format!(r#"{{"a":{written}}}"#)).unwrap();
        assert_eq!(got, [("a".to_owned(), text.to_owned())], "{written}");
    }
    for number in [
        "1e400",
        "1e300",
        "1e-300",
        "18446744073709551616",
        "-9223372036854775809999",
        "1e20",
    ] {
        let got = tool(&format!(r#"{{"a":[{number}]}}"#));
        assert!(
            matches!(
                got,
                Err(JsonRpcError::Json(JsonError::Number | JsonError::Syntax))
            ),
            "{number} {got:?}"
        );
    }
}

#[test]
fn what_parsers_read_differently_is_refused() {
    use JsonError::*;
    let json = JsonRpcError::Json;
    let full = |members: &str| format!(r#"{{"jsonrpc":"2.0",{members}}}"#);
    let table: Vec<(String, JsonRpcError)> = vec![
        (
            full(r#""id":1,"method":"tools/list","method":"tools/call""#),
            json(Duplicate),
        ),
        (
            full(r#""id":1,"method":"tools/list","\u006dethod":"tools/call""#),
            json(Duplicate),
        ),
        (
            full(r#""id":1,"method":"tools/list","Method":"tools/call""#),
            json(Duplicate),
        ),
        (full(r#""id":1,"Method":"tools/call""#), JsonRpcError::Member),
        (full(r#""id":1,"method":"x","extra":1"#), JsonRpcError::Member),
        (
            full(r#""id":1,"method":"x","params":{"a":1,"a":2}"#),
            json(Duplicate),
        ),
        (
            full(r#""id":1,"method":"x","params":{"deep":[{"a":1,"\u0061":2}]}"#),
            json(Duplicate),
        ),
        (full(r#""id":1,"result":{"a":{"b":1,"b":1}}"#), json(Duplicate)),
        (full(r#""id":1,"method":"x","params":{"a\u0000":1}"#), json(Name)),
        (
            full(r#""id":1,"method":"x","params":{"a":{"\u0000":1}}"#),
            json(Name),
        ),
        (
            full(r#""id":1,"method":"tools/call","params":{"name":"t","arguments":{"p":"a\u0000.txt"}}"#),
            json(Name),
        ),
        (
            full(r#""id":1,"method":"tools/call","params":{"name":"t","arguments":{"p":1,"P":2}}"#),
            json(Duplicate),
        ),
        (
            full(
                "\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"t\",\"arguments\":{\"k\":1,\"\u{212a}\":2}}",
            ),
            json(Duplicate),
        ),
        (r#"{"id":1,"method":"x"}"#.into(), JsonRpcError::Version),
        (
            r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#.into(),
            JsonRpcError::Version,
        ),
        (
            r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#.into(),
            JsonRpcError::Version,
        ),
        (
            r#"{"jsonrpc":"2.0 ","id":1,"method":"x"}"#.into(),
            JsonRpcError::Version,
        ),
        (full(r#""id":1"#), JsonRpcError::Kind),
        (full(r#""id":1,"method":"x","result":1"#), JsonRpcError::Kind),
        (
            full(r#""id":1,"result":1,"error":{"code":1,"message":""}"#),
            JsonRpcError::Kind,
        ),
        (
            full(r#""id":1,"result":null,"error":{"code":1,"message":""}"#),
            JsonRpcError::Kind,
        ),
        (full(r#""result":1"#), JsonRpcError::Kind),
        (full(r#""error":{"code":1,"message":""}"#), JsonRpcError::Kind),
        (
            full(r#""id":1,"error":{"code":1.5,"message":""}"#),
            JsonRpcError::Kind,
        ),
        (full(r#""id":1,"error":{"code":1}"#), JsonRpcError::Kind),
        (full(r#""id":1,"error":null"#), json(Kind)),
        (full(r#""id":1,"result":1,"params":{}"#), JsonRpcError::Kind),
        (full(r#""id":null,"method":"x""#), JsonRpcError::Id),
        (full(r#""id":null,"result":1"#), JsonRpcError::Id),
        (full(r#""id":1.5,"method":"x""#), JsonRpcError::Id),
        (full(r#""id":1.0,"method":"x""#), JsonRpcError::Id),
        (
            full(r#""id":99999999999999999999,"method":"x""#),
            JsonRpcError::Id,
        ),
        (full(r#""id":[1],"method":"x""#), JsonRpcError::Id),
        (full(r#""id":true,"method":"x""#), JsonRpcError::Id),
        (full(r#""id":"\n","method":"x""#), JsonRpcError::Id),
        (full(r#""id":1,"method":7"#), JsonRpcError::Method),
        (full(r#""id":1,"method":"""#), JsonRpcError::Method),
        (full(r#""id":1,"method":"x\u0000""#), JsonRpcError::Method),
        (full(r#""id":1,"method":null"#), JsonRpcError::Method),
        (full(r#""id":1,"method":"x","params":"y""#), json(Kind)),
        (full(r#""id":1,"method":"x","params":null"#), json(Kind)),
        (String::new(), json(Syntax)),
        ("7".into(), json(Kind)),
        (r#""x""#.into(), json(Kind)),
        ("null".into(), json(Kind)),
        ("[]".into(), JsonRpcError::Batch),
        ("[1]".into(), json(Kind)),
        (format!("[[{}]]", full(r#""id":1,"method":"x""#)), json(Kind)),
        (
            format!("\u{feff}{}", full(r#""id":1,"method":"x""#)),
            json(Syntax),
        ),
        (format!("{} x", full(r#""id":1,"method":"x""#)), json(Syntax)),
        (format!("{0}{0}", full(r#""id":1,"method":"x""#)), json(Syntax)),
        (full(r#""id":1,"method":"x",}"#), json(Syntax)),
        (full(r#""id":1,/* c */"method":"x""#), json(Syntax)),
        (full(r#""id":01,"method":"x""#), json(Syntax)),
        (full(r#"'id':1,"method":"x""#), json(Syntax)),
        (full(r#""id":NaN,"method":"x""#), json(Syntax)),
        (full(r#""id":1,"method":"\ud800""#), json(Syntax)),
        (full("\"id\":1,\"method\":\"a\tb\""), json(Syntax)),
    ];
    for (text, why) in table {
        assert_eq!(one(&text), Err(why), "{text}");
        let batch = format!("[{text}]");
        assert!(
            read(batch.as_bytes(), LIMIT).is_err() || text.is_empty(),
            "{batch}"
        );
    }
    let bytes = [
        &b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\""[..],
        b"\xc0\xaf\"}",
    ]
    .concat();
    assert_eq!(read(&bytes, LIMIT), Err(json(NotUtf8)));
}

#[test]
fn batches_and_limits() {
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let batch = |n: usize| format!("[{}]", vec![ping; n].join(","));
    for n in [1, 2, MAX_BATCH] {
        let body = read(batch(n).as_bytes(), LIMIT).unwrap();
        assert!(body.batch && body.messages.len() == n);
    }
    assert_eq!(
        read(batch(MAX_BATCH + 1).as_bytes(), LIMIT),
        Err(JsonRpcError::Batch)
    );
    assert_eq!(
        read(ping.as_bytes(), ping.len() - 1),
        Err(JsonRpcError::Long(ping.len() - 1))
    );
    assert!(read(ping.as_bytes(), ping.len()).is_ok());
    let deep = |n: usize| format!("{}1{}", "[".repeat(n), "]".repeat(n));
    let depth = usize::from(MAX_DEPTH);
    let result = |n| one(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{}}}"#, deep(n)));
    assert!(result(depth).is_ok());
    assert_eq!(result(depth + 1), Err(JsonRpcError::Json(JsonError::Depth)));
    assert!(result(100_000).is_err());
    assert!(read("[".repeat(500_000).as_bytes(), LIMIT).is_err());
    assert!(tool(&format!(r#"{{"a":{}}}"#, deep(depth - 2))).is_ok());
    assert!(tool(&format!(r#"{{"a":{}}}"#, deep(depth - 1))).is_err());
    let many = |n: usize| {
        (0..n)
            .map(|n| format!(r#""a{n}":1"#))
            .collect::<Vec<_>>()
            .join(",")
    };
    assert_eq!(
        tool(&format!("{{{}}}", many(MAX_ARGUMENTS))).unwrap().len(),
        MAX_ARGUMENTS
    );
    assert_eq!(
        tool(&format!("{{{}}}", many(MAX_ARGUMENTS + 1))),
        Err(JsonRpcError::Params)
    );
    let result = |n| one(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{{}}}}}"#, many(n)));
    assert!(result(MAX_MEMBERS).is_ok());
    assert_eq!(result(MAX_MEMBERS + 1), Err(JsonRpcError::Json(JsonError::Many)));
    let long = "x".repeat(MAX_NAME + 1);
    assert_eq!(one(&request(&long, "{}")), Err(JsonRpcError::Method));
    assert!(one(&request(&long[1..], "{}")).is_ok());
}

#[test]
fn streams() {
    let text = concat!(
        "event: endpoint\ndata: /messages?session=1\n\n",
        "id: 7\nretry: 10\ndata:\n\n",
        ": ping\n\n",
        "event: ping\ndata: not a message\n\n",
        "event: Message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"sampling/createMessage\"}\n\n",
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/progress\"}\n\n",
        "data: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"sampling/createMessage\",\"params\":{}}\n\n",
        "data: [{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}]\n\n",
    );
    for step in [1, 2, 5, 1000] {
        let (mut stream, mut seen, mut out) = (Stream::new(1000), Vec::new(), Vec::new());
        for piece in text.as_bytes().chunks(step) {
            let each = |event: qila_inspect::events::Event<'_>, body: Option<Body>| {
                let first = body.map(|body| body.messages[0].clone());
                // Only what may pass is written on.
                if first
                    .as_ref()
                    .is_none_or(|m| m.method.as_deref() != Some("sampling/createMessage"))
                {
                    event.write(&mut out);
                }
                seen.push(first.map(|m| (m.kind, m.method)));
            };
            stream.push(piece, each).unwrap();
        }
        let method = |name: &str| Some(name.to_owned());
        let want = [
            None,
            None,
            None,
            Some((Kind::Notification, method("notifications/progress"))),
            Some((Kind::Request, method("sampling/createMessage"))),
            Some((Kind::Response, None)),
        ];
        assert_eq!(seen, want, "by {step}");
        let out = String::from_utf8(out).unwrap();
        assert!(out.contains("progress") && out.contains("result") && !out.contains("sampling"));
    }
}

#[test]
fn a_stream_stays_with_its_error() {
    let good = "data: {\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n\n";
    for (bad, why) in [
        ("data: {}\n\n", StreamError::Message(JsonRpcError::Version)),
        (
            "data: hello\n\n",
            StreamError::Message(JsonRpcError::Json(JsonError::Syntax)),
        ),
    ] {
        let mut stream = Stream::new(1000);
        let (mut count, text) = (0, [good, bad, good].concat());
        assert_eq!(stream.push(text.as_bytes(), |_, _| count += 1), Err(why));
        assert_eq!(count, 1, "nothing behind it is shown");
        assert_eq!(stream.push(good.as_bytes(), |_, _| panic!("read on")), Err(why));
    }
    let long = format!("data: {}", "x".repeat(6000));
    assert!(matches!(
        Stream::new(1000).push(long.as_bytes(), |_, _| ()),
        Err(StreamError::Event(_))
    ));
}

#[test]
fn every_changed_byte_is_read_as_a_plain_parser_reads_it() {
    let good = request(
        "tools/call",
        r#"{"name":"read","arguments":{"path":"\u002fdata","n":[1,{"k":"v"}]}}"#,
    );
    let mut passed = 0;
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = byte;
            fuzz_jsonrpc(&bytes);
            passed += usize::from(read(&bytes, LIMIT).is_ok());
        }
    }
    assert!(passed > 1000, "{passed}");
}
