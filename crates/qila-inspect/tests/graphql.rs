//! GraphQL: which operation runs and which root fields it has, and what two servers take differently.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]

use qila_inspect::graphql::*;

const LIMIT: usize = 1 << 20;
const JSON: Option<&str> = Some("application/json");

fn check(text: &str, name: Option<&str>, kind: Kind, fields: &[&str]) {
    let found = operation(text, name).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert_eq!(
        (found.kind, found.fields.as_slice()),
        (
            kind,
            fields
                .iter()
                .map(|f| (*f).to_owned())
                .collect::<Vec<_>>()
                .as_slice()
        ),
        "{text}"
    );
    fuzz_graphql(text.as_bytes());
}

#[test]
fn operations_and_their_roots() {
    use Kind::*;
    check("{a}", None, Query, &["a"]);
    check(
        "{ viewer { login } rateLimit { cost } }",
        None,
        Query,
        &["viewer", "rateLimit"],
    );
    check(
        "query Q { me: viewer { login } other: viewer { id } }",
        None,
        Query,
        &["viewer"],
    );
    check(
        "mutation { deleteRepository: __typename createIssue(input: {a: 1}) { id } }",
        None,
        Mutation,
        &["__typename", "createIssue"],
    );
    check(
        "subscription S($a: [Int!]! = [1, 2] @d, $b: T = {x: {y: $z}}) @live(on: true) { tick(every: $a) }",
        None,
        Subscription,
        &["tick"],
    );
    check(
        "query{a(x:-1.5e+3,y:\"\\u0041\\\"}\",z:[true,null,ENUM,$v],s:\"\"\"b } \\\"\"\" \" \"\"\"){b c:d}e}",
        None,
        Query,
        &["a", "e"],
    );
    check(
        "\u{20}# {\"comment\": } é\r{ a # }\n b,,c }#end",
        None,
        Query,
        &["a", "b", "c"],
    );
    check(
        "{ on type fragment query { on } }",
        None,
        Query,
        &["on", "type", "fragment", "query"],
    );
    check("query query { query: mutation }", None, Query, &["mutation"]);
    // Fragments, wherever they are, and one in another.
    check(
        "fragment A on Query { a ...B @include(if: $x) } query Q { ...A ... on Query { c ... { d } } ... @skip(if: true) { e } } fragment B on Query { b { ...C } }",
        None,
        Query,
        &["a", "b", "c", "d", "e"],
    );
    // The same one twice is no cycle.
    check(
        "{ ...A ...B ...A } fragment A on Q { ...B } fragment B on Q { b }",
        None,
        Query,
        &["b"],
    );
    // Choosing.
    let two = "query A { a } mutation B { b }";
    check(two, Some("A"), Query, &["a"]);
    check(two, Some("B"), Mutation, &["b"]);
    check("mutation B { b }", Some("B"), Mutation, &["b"]);
    assert_eq!(
        operation("query A { a }", None).unwrap().name.as_deref(),
        Some("A")
    );
}

#[test]
fn documents_that_are_refused() {
    use GraphqlError::*;
    for (text, why) in [
        ("query A { a } query A { b }", Duplicate),
        ("{ a } { b }", Duplicate),
        ("{ a } query B { b }", Duplicate),
        ("{ a } fragment F on T { b } fragment F on T { c }", Duplicate),
        ("{ ...F }", Fragment),
        ("{ ... on Q { ...F } }", Fragment),
        ("{ ...F } fragment F on Q { ...F }", Cycle),
        (
            "{ ...F } fragment F on Q { ... on Q { ...G } } fragment G on Q { a ...F }",
            Cycle,
        ),
        ("fragment F on Q { a }", Choice),
        ("query A { a } query B { b }", Choice),
        ("", Choice),
        ("# nothing", Choice),
    ] {
        assert_eq!(operation(text, None), Err(why), "{text}");
        fuzz_graphql(text.as_bytes());
    }
    assert_eq!(operation("query A { a }", Some("B")), Err(Choice));
    assert_eq!(operation("{ a }", Some("")), Err(Choice));
    for text in [
        "{",
        "}",
        "{}",
        "{a",
        "{a}}",
        "{ a() }",
        "{ a(b) }",
        "{ a(b:) }",
        "{ a(b: 1, ) x",
        "{ : a }",
        "{ a: }",
        "{ a: b: c }",
        "query A B { a }",
        "query () { a }",
        "query ($a) { a }",
        "query ($a: ) { a }",
        "query ($a: [T) { a }",
        "query ($a: T!!) { a }",
        "query (a: T) { a }",
        "{ ... }",
        "{ ... on { a } }",
        "{ .. a }",
        "{ .... a }",
        "{ ...A.b }",
        "fragment on on T { a }",
        "fragment F { a }",
        "fragment F on T a",
        "fragment F($a: T) on T { a }",
        "fragment F on T {}",
        "type T { a: Int }",
        "schema { query: Q }",
        "extend type T { a: Int }",
        "scalar S",
        "directive @d on FIELD",
        "\"described\" query { a }",
        "{ a @ }",
        "{ a @d( }",
        "{ a(b: 01) }",
        "{ a(b: 1.) }",
        "{ a(b: .5) }",
        "{ a(b: 1e) }",
        "{ a(b: -) }",
        "{ a(b: +1) }",
        "{ a(b: 1x) }",
        "{ a(b: 1.2.3) }",
        "{ a(b: 0x1) }",
        "{ a(b: \"x) }",
        "{ a(b: \"\n\") }",
        "{ a(b: \"\\q\") }",
        "{ a(b: \"\\u12\") }",
        "{ a(b: \"\\u{}\") }",
        "{ a(b: \"\\u{1\") }",
        "{ a(b: \"\"\"x\"\") }",
        "{ a(b: 'x') }",
        "{ a(b: {c}) }",
        "{ a(b: [}) }",
        "{ a(b: $) }",
        "{ a; b }",
        "{ \u{e9} }",
        "{ a\u{a0}b }",
        "{ a\0 }",
        "\u{feff}{ a }",
        "{ a # \u{2028} b\n }",
        "{ a # \u{85}\n }",
        "{ a # \0\n }",
        "{ a(b: \"\"\"\0\"\"\") }",
        "{ a ? b }",
        "query",
        "mutation",
        "{ a } x",
        "{ a(b: $c: d) }",
        "{ a(b: c: d) }",
        "Query { a }",
        "QUERY { a }",
        "{ a } mutation",
    ] {
        let got = operation(text, None);
        assert!(
            matches!(got, Err(Syntax(at)) if at <= text.len() + 1),
            "{text}: {got:?}"
        );
        fuzz_graphql(text.as_bytes());
    }
}

#[test]
fn documents_are_bounded() {
    let depth = usize::from(MAX_DEPTH);
    let deep = |n: usize| format!("{}a{}", "{a".repeat(n - 1) + "{", "}".repeat(n));
    assert!(operation(&deep(depth), None).is_ok());
    assert_eq!(operation(&deep(depth + 1), None), Err(GraphqlError::Depth));
    assert_eq!(operation(&deep(50_000), None), Err(GraphqlError::Depth));
    for (open, close) in [("[", "]"), ("{a:", "}")] {
        let value = |n: usize| format!("{{a(b:{}1{})}}", open.repeat(n), close.repeat(n));
        assert!(operation(&value(depth - 1), None).is_ok());
        assert_eq!(operation(&value(depth), None), Err(GraphqlError::Depth));
        assert_eq!(operation(&value(50_000), None), Err(GraphqlError::Depth));
    }
    let kind = |n: usize| format!("query($a:{}T{}){{a}}", "[".repeat(n), "]".repeat(n));
    assert!(operation(&kind(depth), None).is_ok() && operation(&kind(depth + 1), None).is_err());
    let inline = |n: usize| format!("{}{{a}}{}", "{...".repeat(n), "}".repeat(n));
    assert!(operation(&inline(depth - 1), None).is_ok() && operation(&inline(depth), None).is_err());
    let fields = |n: usize| format!("{{{}}}", (0..n).map(|n| format!(" f{n}")).collect::<String>());
    assert_eq!(
        operation(&fields(MAX_FIELDS), None).unwrap().fields.len(),
        MAX_FIELDS
    );
    assert_eq!(operation(&fields(MAX_FIELDS + 1), None), Err(GraphqlError::Many));
    assert_eq!(
        operation(&format!("{{{}}}", " a".repeat(100_000)), None)
            .unwrap()
            .fields,
        ["a"]
    );
    assert_eq!(
        operation(&" ".repeat(MAX_DOCUMENT + 1), None),
        Err(GraphqlError::Long(MAX_DOCUMENT))
    );
    // Fragments that would multiply: each is walked through once.
    let fragments: String = (1..MAX_DEFINITIONS - 1)
        .map(|n| {
            format!(
                "fragment F{n} on T {{ {} f{n} }}",
                format!("...F{} ", n + 1).repeat(20)
            )
        })
        .collect();
    let last = format!("fragment F{} on T {{ end }}", MAX_DEFINITIONS - 1);
    let found = operation(&format!("{{ ...F1 }}{fragments}{last}"), None).unwrap();
    assert_eq!(found.fields.len(), MAX_DEFINITIONS - 1);
    let more = format!("{{ ...F1 }}{fragments}{last}fragment More on T {{ a }}");
    assert_eq!(operation(&more, None), Err(GraphqlError::Many));
}

fn post(body: &str) -> Result<Request, GraphqlError> {
    fuzz_graphql(body.as_bytes());
    read(&http::Method::POST, None, JSON, body.as_bytes(), LIMIT)
}

fn get(query: &str) -> Result<Request, GraphqlError> {
    read(&http::Method::GET, Some(query), None, b"", LIMIT)
}

/// The only query: its kind and fields, or none.
fn told(request: Result<Request, GraphqlError>) -> Option<(Kind, String)> {
    let mut request = request.unwrap();
    assert!(!request.batch && request.queries.len() == 1);
    match request.queries.remove(0) {
        Query::Operation(found) => Some((found.kind, found.fields.join(" "))),
        Query::Persisted => None,
    }
}

#[test]
fn requests_by_post() {
    let some = |kind, fields: &str| Some((kind, fields.to_owned()));
    for (body, want) in [
        (r#"{"query":"{ a }"}"#, some(Kind::Query, "a")),
        (
            r#"{"operationName":"B","variables":{"x":[1]},"extensions":{"trace":1},"query":"query A { a } mutation B { b }"}"#,
            some(Kind::Mutation, "b"),
        ),
        (
            r#"{"operationName":null,"variables":null,"extensions":null,"query":"\u007b a }"}"#,
            some(Kind::Query, "a"),
        ),
        (
            r#"{"operationName":"","query":"query A { a }"}"#,
            some(Kind::Query, "a"),
        ),
        (
            r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
            None,
        ),
        (r#"{"query":null,"extensions":{"persistedQuery":{}}}"#, None),
        (r#"{"id":"7","variables":{}}"#, None),
        (r#"{"documentId":"sha256:00"}"#, None),
        (r#"{"doc_id":7}"#, None),
        (r#"{"queryId":"x","operationName":"A"}"#, None),
    ] {
        assert_eq!(told(post(body)), want, "{body}");
    }
    let batch = post(r#"[{"query":"{a}"},{"id":"x"}]"#).unwrap();
    assert!(batch.batch && batch.queries.len() == 2 && batch.queries[1] == Query::Persisted);
    let body = b"mutation { c }";
    let plain = read(
        &http::Method::POST,
        Some("key=1&v=2"),
        Some("application/graphql"),
        body,
        LIMIT,
    );
    assert_eq!(told(plain), some(Kind::Mutation, "c"));
}

#[test]
fn requests_by_post_that_are_refused() {
    use GraphqlError::*;
    for (body, why) in [
        (
            r#"{"query":"{a}","query":"mutation{b}"}"#,
            Json(JsonError::Duplicate),
        ),
        (
            r#"{"query":"{a}","\u0071uery":"mutation{b}"}"#,
            Json(JsonError::Duplicate),
        ),
        (
            r#"{"query":"{a}","Query":"mutation{b}"}"#,
            Json(JsonError::Duplicate),
        ),
        (r#"{"Query":"mutation{b}"}"#, Parameter),
        (
            r#"{"query":"query A{a} query B{b}","operationName":"A","operationname":"B"}"#,
            Json(JsonError::Duplicate),
        ),
        (r#"{"query":"{a}","mutation":"{b}"}"#, Parameter),
        (r#"{"query":7}"#, Parameter),
        (r#"{"query":["{a}"]}"#, Parameter),
        (r#"{"query":"{a}","operationName":7}"#, Parameter),
        (r#"{"query":"{a}","variables":"{}"}"#, Parameter),
        (r#"{"query":"{a}","extensions":[]}"#, Json(JsonError::Kind)),
        (r#"{"query":"{a}","id":"7"}"#, Query),
        (
            r#"{"query":"{a}","extensions":{"persistedQuery":{"sha256Hash":"00"}}}"#,
            Query,
        ),
        (
            r#"{"query":"{a}","extensions":{"PersistedQuery":{"sha256Hash":"00"}}}"#,
            Query,
        ),
        (
            r#"{"query":"{a}","extensions":{"x":1,"X":2}}"#,
            Json(JsonError::Duplicate),
        ),
        (r#"{"variables":{}}"#, Query),
        (r#"{"query":null}"#, Query),
        ("{}", Query),
        ("[]", Batch),
        (r#"[[{"query":"{a}"}]]"#, Json(JsonError::Kind)),
        (r#""{a}""#, Json(JsonError::Kind)),
        ("", Json(JsonError::Syntax)),
        (r#"{"query":"{a}"} "#, Choice),
        (
            r#"{"query":"{a}"}{"query":"mutation{b}"}"#,
            Json(JsonError::Syntax),
        ),
        (r#"{"query":"query A{a}","operationName":"B"}"#, Choice),
        (r#"{"query":"query A{a} query B{b}","operationName":""}"#, Choice),
        (r#"{"query":"{a"}"#, Syntax(2)),
        (
            r#"{"query":"{a}","variables":{"a":1,"a":2}}"#,
            Json(JsonError::Duplicate),
        ),
    ] {
        if why == Choice && body.ends_with(' ') {
            assert!(post(body).is_ok(), "white space is nothing");
            continue;
        }
        assert_eq!(post(body), Err(why), "{body}");
        assert!(post(&format!("[{body}]")).is_err() || body.is_empty(), "{body}");
    }
    let many = format!("[{}]", vec![r#"{"query":"{a}"}"#; MAX_BATCH + 1].join(","));
    assert_eq!(post(&many), Err(Batch));
    let body = br#"{"query":"{a}"}"#;
    for query in [
        "query={b}",
        "x=1&query=",
        "Query=x",
        "operationName=B",
        "%71uery=x",
        "variables={}",
        "extensions={}",
        "id=7",
        "doc_id",
    ] {
        assert_eq!(
            read(&http::Method::POST, Some(query), JSON, body, LIMIT),
            Err(Parameter),
            "{query}"
        );
    }
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data"),
    ] {
        assert_eq!(
            read(&http::Method::POST, None, kind, body, LIMIT),
            Err(ContentType)
        );
    }
    assert_eq!(read(&http::Method::PUT, None, JSON, body, LIMIT), Err(Method));
    assert_eq!(read(&http::Method::POST, None, JSON, body, 3), Err(Long(3)));
    assert!(read(&http::Method::POST, None, JSON, b"{\"query\":\"{a}\xff\"}", LIMIT).is_err());
    assert!(
        read(
            &http::Method::POST,
            None,
            Some("application/graphql"),
            b"{a}#\xff",
            LIMIT
        )
        .is_err()
    );
}

#[test]
fn requests_by_get() {
    use GraphqlError::*;
    let some = |kind, fields: &str| Some((kind, fields.to_owned()));
    assert_eq!(told(get("query=%7Ba+b%7D&key=1")), some(Kind::Query, "a b"));
    assert_eq!(
        told(get("query={a}&variables={}&extensions={}")),
        some(Kind::Query, "a")
    );
    assert_eq!(
        told(get("operationName=B&query=query+A{a}%20mutation%0aB{b}")),
        some(Kind::Mutation, "b")
    );
    assert_eq!(
        told(get("extensions=%7b%22persistedQuery%22:{}}&variables={}")),
        None
    );
    assert_eq!(told(get("documentId=x")), None);
    for (query, why) in [
        ("query={a}&query={b}", Parameter),
        ("query={a}&%71uery={b}", Parameter),
        ("query={a}&Query={b}", Parameter),
        ("Query={a}", Parameter),
        ("query={a}&operationname=B", Parameter),
        ("query={a}&id=7", Query),
        ("query={a}&extensions={\"persistedQuery\":{}}", Query),
        ("extensions=x", Json(JsonError::Syntax)),
        ("query={a}%", Parameter),
        ("query={a}%+1", Parameter),
        ("query={a}%4", Parameter),
        ("query={a}%ff", Json(JsonError::NotUtf8)),
        ("variables={}", Query),
        ("", Query),
    ] {
        assert_eq!(get(query), Err(why), "{query}");
    }
    assert_eq!(read(&http::Method::GET, None, None, b"", LIMIT), Err(Query));
    assert_eq!(
        read(
            &http::Method::GET,
            Some("query={a}"),
            JSON,
            b"{\"query\":\"{b}\"}",
            LIMIT
        ),
        Err(Parameter)
    );
}

#[test]
fn every_changed_byte_is_a_request_or_an_error() {
    let good = r#"{"operationName":"A","query":"query A($a:[T!]=[1]@d){x:y(z:\"\\u0041\"){w}...F ...on Q{v}} fragment F on Q{u}"}"#;
    assert_eq!(told(post(good)), Some((Kind::Query, "y u v".to_owned())));
    let mut passed = 0;
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.to_owned().into_bytes();
            bytes[at] = byte;
            fuzz_graphql(&bytes);
            passed += usize::from(read(&http::Method::POST, None, JSON, &bytes, LIMIT).is_ok());
        }
    }
    assert!(passed > 1000, "{passed}");
}
