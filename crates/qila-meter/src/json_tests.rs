use super::*;
use proptest::prelude::*;

/// Writes down what it sees, joining the pieces of one text.
#[derive(Default, Debug, PartialEq, Eq)]
struct Log {
    lines: Vec<String>,
    open: Option<Vec<u8>>,
    raw_at: Option<K>,
}

impl Sink for Log {
    fn event(&mut self, path: &[K], _at: u64, event: Event<'_>) -> bool {
        let name: Vec<&str> = path.iter().map(|k| k.name()).collect();
        let name = name.join(".");
        match event {
            Event::Text(piece) | Event::Raw(piece) => {
                self.open.get_or_insert_default().extend_from_slice(piece);
                return false;
            }
            Event::Key(key) => self
                .lines
                .push(format!("{name} key {}", String::from_utf8_lossy(key))),
            Event::Begin { list } => {
                self.lines.push(format!("{name} begin {list}"));
                return self.raw_at.is_some() && path.last() == self.raw_at.as_ref();
            }
            Event::End | Event::TextEnd => {
                let text = self.open.take().unwrap_or_default();
                self.lines
                    .push(format!("{name} {event:?} {:?}", String::from_utf8_lossy(&text)));
            }
            other => self.lines.push(format!("{name} {other:?}")),
        }
        false
    }
}

fn log(text: &str, raw_at: Option<K>) -> (Log, Result<(), JsonError>) {
    let mut log = Log {
        raw_at,
        ..Log::default()
    };
    let result = read(text.as_bytes(), &mut log);
    (log, result)
}

#[test]
fn values_and_paths() {
    let (log, result) = log(
        r#" {"usage":{"n":-1.5e3,"id":"a\u00e9\n\ud83d\ude00\ud800x"},"output":[true,null,{}]} "#,
        None,
    );
    assert_eq!(result, Ok(()));
    assert_eq!(
        log.lines,
        [
            " begin false",
            "usage key usage",
            "usage begin false",
            "usage.n key n",
            r#"usage.n Number("-1.5e3")"#,
            "usage.id key id",
            "usage.id TextEnd \"aé\\n😀\u{fffd}x\"",
            "usage End \"\"",
            "output key output",
            "output begin true",
            "output.[] Bool(true)",
            "output.[] Null",
            "output.[] begin false",
            "output.[] End \"\"",
            "output End \"\"",
            " End \"\"",
        ]
    );
}

#[test]
fn a_container_as_it_is() {
    let (log, result) = log(
        "{\"input\": { \"a b\" : [ 1 ,\n \"x y\\\"\" ] } , \"n\":2}",
        Some(K::Input),
    );
    assert_eq!(result, Ok(()));
    assert_eq!(log.lines[3], r#"input End "{\"a b\":[1,\"x y\\\"\"]}""#);
    assert_eq!(log.lines[5], r#"n Number("2")"#);
}

#[test]
fn what_is_not_json() {
    for bad in [
        "{",
        "",
        "}",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "01",
        "1.",
        "+1",
        "nul",
        "nulll",
        "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "[1 2]",
        "{\"a\":1]",
        "1 2",
        "NaN",
        "'a'",
        "[1}",
        "-",
        "1e",
        "//",
        "[\"a\"",
        "tru",
    ] {
        let result = log(bad, None).1;
        assert!(result.is_err(), "{bad:?}");
        assert!(serde_json::from_str::<serde_json::Value>(bad).is_err(), "{bad:?}");
    }
    let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert_eq!(log(&deep(MAX_DEPTH), None).1, Ok(()));
    assert_eq!(log(&deep(MAX_DEPTH + 1), None).1, Err(JsonError::Deep));
}

#[test]
fn numbers_as_counts() {
    for (text, expected) in [
        ("0", 0),
        ("17", 17),
        ("1.2", 2),
        ("1e3", 1000),
        ("-5", 0),
        ("-0.1", 0),
        ("18446744073709551616", u64::MAX),
        ("1e999", u64::MAX),
    ] {
        assert_eq!(count(text), expected, "{text}");
    }
    let long = format!("[{}1]", "0.".to_owned() + &"0".repeat(100));
    assert!(
        log(&long, None)
            .0
            .lines
            .contains(&r#"[] Number("1e999")"#.to_owned())
    );
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::{Value, json};
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|f| json!(f)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("(usage|input|.{0,5})", inner), 0..5)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn it_accepts_what_serde_json_accepts(text in "[\\[\\]{}:,\"0-9eE.+\\-a\\\\u truefalsn]{0,24}") {
        let ours = log(&text, None).1;
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        // serde_json refuses numbers that no float holds, and lone surrogates: both are JSON.
        if let Err(error) = &theirs {
            let spared = error.to_string().contains("out of range") || text.contains("\\u");
            prop_assert!(ours.is_err() || spared, "{} {}", text, error);
        } else {
            prop_assert_eq!(ours, Ok(()), "{}", text);
        }
    }

    #[test]
    fn any_cutting_reads_the_same(value in any_json(), cuts in prop::collection::vec(1usize..7, 1..20), pretty in any::<bool>(), raw in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
        let raw_at = raw.then_some(K::Input);
        let (whole, result) = log(&text, raw_at);
        prop_assert_eq!(result, Ok(()));
        let mut json = Json::default();
        let mut cut = Log { raw_at, ..Log::default() };
        let mut rest = text.as_bytes();
        for size in cuts.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, next) = rest.split_at((*size).min(rest.len()));
            json.push(piece, &mut cut);
            rest = next;
        }
        prop_assert_eq!(json.finish(&mut cut), Ok(()));
        prop_assert_eq!(whole, cut);
    }
}
