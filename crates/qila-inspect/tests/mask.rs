//! Whatever the spelling and however the body is cut, no secret survives.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests, outside a test function"
)]
use base64::prelude::*;
use proptest::prelude::*;
use qila_inspect::mask::{MAX_SECRET, MAX_SECRETS, MaskError, Masker};

const KEY: &str = "sk-live/Ab+9\"x\\y~Z_0";

fn masked(masker: &Masker, text: &[u8], piece: usize) -> (Vec<u8>, u64) {
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    for piece in text.chunks(piece) {
        stream.push(piece, &mut out);
    }
    stream.finish(&mut out);
    (out, stream.hits())
}

fn check(secret: &str, text: &str, want: &str) {
    let masker = Masker::new(&[secret.as_bytes()]).unwrap();
    for piece in [1, 2, 3, 7, 1000] {
        let (out, hits) = masked(&masker, text.as_bytes(), piece);
        assert_eq!(String::from_utf8_lossy(&out), want, "{text} by {piece}");
        assert_eq!(hits, u64::from(text != want));
    }
}

#[test]
fn each_spelling_becomes_stars_of_its_length() {
    for form in [
        KEY,
        "sk-live%2FAb%2B9%22x%5Cy~Z_0",
        "sk-live%2fAb%2b9%22x%5cy~Z_0",
        "sk-live%2FAb%2B9%22x%5Cy%7EZ_0",
        "sk-live/Ab%2B9%22x%5Cy~Z_0",
        "sk-live/Ab+9\\\"x\\\\y~Z_0",
        "sk-live\\/Ab+9\\\"x\\\\y~Z_0",
        "736b2d6c6976652f41622b392278 5c797e5a5f30"
            .replace(' ', "")
            .as_str(),
        "736B2D6C6976652F41622B3922785C797E5A5F30",
    ] {
        let stars = "*".repeat(form.len());
        check(
            KEY,
            &format!("{{\"key\": {form}, \"n\": 1}}"),
            &format!("{{\"key\": {stars}, \"n\": 1}}"),
        );
        check(KEY, form, &stars);
    }
    check(KEY, "sk-live/Ab+9\"x\\y~Z_", "sk-live/Ab+9\"x\\y~Z_");
    check("pass word&1", "p=pass+word%261;", "p=*************;");
    check(
        "kEy/+12==",
        "k: kEy/+12\\u003d\\u003d!",
        "k: *******************!",
    );
    check("kEy/+12==", "k: kEy/\\u002B12==!", "k: **************!");
    check(
        "a<b>&\"'cd",
        "<p>a&lt;b&gt;&amp;&quot;&#x27;cd</p>",
        "<p>*****************************</p>",
    );
    check(
        "a<b>&\"'cd",
        "<p>a&lt;b&gt;&amp;&#34;&#39;cd</p>",
        "<p>***************************</p>",
    );
    check("naïve-key", "na\\u00efve-key", "**************");
    check("naïve-key", "na%C3%AFve-key", "**************");
}

#[test]
fn base64_is_masked_at_every_alignment() {
    for secret in ["abcdefgh", "abcdefghi", "abcdefghij", KEY] {
        let masker = Masker::new(&[secret.as_bytes()]).unwrap();
        for before in 0..5 {
            for behind in 0..4 {
                let plain = [&"user:"[..before], secret, &"!?~\u{7f}"[..behind]].concat();
                for text in [
                    BASE64_STANDARD.encode(&plain),
                    BASE64_STANDARD_NO_PAD.encode(&plain),
                    BASE64_URL_SAFE.encode(&plain),
                    BASE64_URL_SAFE_NO_PAD.encode(&plain),
                ] {
                    let (out, hits) = masked(&masker, format!("Basic {text}\"").as_bytes(), 5);
                    let out = String::from_utf8(out).unwrap();
                    assert_eq!(hits, 1, "{secret} {before} {behind}");
                    assert_eq!(out.len(), text.len() + 7);
                    assert!(out.ends_with('"'), "what is no base64 stays: {out}");
                    // What is left decodes to nothing of the secret but its first byte's highest bits.
                    let left = out[6..]
                        .trim_end_matches(['"', '='])
                        .replace('*', "A")
                        .replace('-', "+")
                        .replace('_', "/");
                    let bytes = BASE64_STANDARD_NO_PAD.with_lenient(&left);
                    let rest = &bytes[before..before + secret.len()];
                    assert!(
                        rest[1..].iter().all(|&b| b == 0) && rest[0] & 0x0f == 0,
                        "{out}: {rest:?}"
                    );
                }
            }
        }
    }
}

trait Lenient {
    fn with_lenient(&self, text: &str) -> Vec<u8>;
}

impl Lenient for base64::engine::GeneralPurpose {
    fn with_lenient(&self, text: &str) -> Vec<u8> {
        use base64::engine::{DecodePaddingMode::Indifferent, GeneralPurpose, GeneralPurposeConfig};
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(Indifferent);
        GeneralPurpose::new(&base64::alphabet::STANDARD, config)
            .decode(text)
            .unwrap()
    }
}

#[test]
fn overlapping_secrets_leave_nothing() {
    let masker = Masker::new(&[b"abcdefghij", b"ghijklmnop", b"abcdefghijklm", b"aaaaaaaaaa"]).unwrap();
    for piece in 1..20 {
        let (out, hits) = masked(&masker, b"<abcdefghijklmnop><aaaaaaaaaaaa>", piece);
        assert_eq!(String::from_utf8_lossy(&out), "<****************><************>");
        assert_eq!(hits, 6);
    }
}

#[test]
fn ordinary_text_is_not_held_back() {
    let masker = Masker::new(&[KEY.as_bytes()]).unwrap();
    let (mut stream, mut out) = (masker.stream(), Vec::new());
    stream.push(b"data: {\"delta\": \"Hello\"}\n\n", &mut out);
    assert_eq!(out.len(), 26, "a streamed event leaves at once");
    stream.push(b"key: sk-live/A", &mut out);
    assert_eq!(out.len(), 26 + 5, "a beginning is held");
    stream.push(b"lpha", &mut out);
    assert!(out.ends_with(b"key: sk-live/Alpha"));
    stream.finish(&mut out);
    assert!(out.ends_with(b"sk-live/Alpha") && stream.hits() == 0);
}

#[test]
fn limits_hold_and_nothing_is_printed() {
    let long = vec![b'k'; MAX_SECRET + 1];
    assert_eq!(
        Masker::new(&[b"longenough", b"short"]).unwrap_err(),
        MaskError::Short(1)
    );
    assert_eq!(Masker::new(&[b""]).unwrap_err(), MaskError::Short(0));
    assert_eq!(Masker::new(&[&long]).unwrap_err(), MaskError::Long(0));
    assert_eq!(
        Masker::new(&[&b"longenough"[..]; MAX_SECRETS + 1]).unwrap_err(),
        MaskError::Many
    );
    let masker = Masker::new(&[&long[1..], KEY.as_bytes()]).unwrap();
    assert!(masker.max_held() <= 6 * MAX_SECRET);
    assert_eq!(
        format!("{masker:?} {:?}", masker.stream()),
        "Masker(..) Stream(0 hits, ..)"
    );
    let none = Masker::new(&[]).unwrap();
    assert_eq!(masked(&none, KEY.as_bytes(), 3), (KEY.as_bytes().to_vec(), 0));
    assert_eq!(none.max_held(), 0);
}

/// Text made of pieces of secrets, so that matches, near-matches and overlaps are common.
fn soup() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>, Vec<usize>)> {
    let secret = prop::collection::vec(prop::sample::select(b"abAB+/ %\"".to_vec()), 8..14);
    prop::collection::vec(secret, 1..4).prop_flat_map(|secrets| {
        let one = prop::sample::select(secrets.clone());
        let part = (one, 0usize..14, 0usize..15, 0u8..7).prop_map(|(s, from, to, how)| {
            let (from, to) = (from.min(s.len()), to.min(s.len()));
            match how {
                0 => s[from.min(to)..to].to_vec(),
                1 => BASE64_STANDARD
                    .encode([&vec![b'x'; from % 3], &s[..]].concat())
                    .into_bytes(),
                2 => BASE64_URL_SAFE_NO_PAD
                    .encode([&s[..], &vec![b'x'; to % 3]].concat())
                    .into_bytes(),
                3 => s.iter().flat_map(|b| format!("%{b:02X}").into_bytes()).collect(),
                4 => s.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect(),
                5 => s
                    .iter()
                    .flat_map(|&b| if b == b'"' { vec![b'\\', b] } else { vec![b] })
                    .collect(),
                _ => s,
            }
        });
        let text = prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat());
        (Just(secrets), text, prop::collection::vec(0usize..40, 1..30))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn any_cutting_gives_the_same_and_nothing_survives((secrets, text, cuts) in soup()) {
        let refs: Vec<&[u8]> = secrets.iter().map(Vec::as_slice).collect();
        let masker = Masker::new(&refs).unwrap();
        let mut whole = text.clone();
        let hits = masker.mask(&mut whole);
        let (mut stream, mut out, mut rest) = (masker.stream(), Vec::new(), &text[..]);
        for cut in cuts.iter().cycle().take(200) {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            stream.push(piece, &mut out);
            rest = after;
            let held = text.len() - rest.len() - out.len();
            prop_assert!(held <= masker.max_held());
        }
        stream.push(rest, &mut out);
        stream.finish(&mut out);
        prop_assert_eq!(&out, &whole);
        prop_assert_eq!(stream.hits(), hits);
        prop_assert_eq!(out.len(), text.len());
        for secret in &secrets {
            // Against a plain search, not the crate's own.
            prop_assert!(!out.windows(secret.len()).any(|w| w == &secret[..]));
            let hex: Vec<u8> = secret.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect();
            prop_assert!(!out.windows(hex.len()).any(|w| w == &hex[..]));
            let core = BASE64_STANDARD_NO_PAD.encode(&secret[..secret.len() / 3 * 3]);
            let full = BASE64_STANDARD_NO_PAD.encode(secret);
            prop_assert!(core.is_empty() || !out.windows(full.len()).any(|w| w == full.as_bytes()));
        }
        // A byte that changed belonged to a match.
        prop_assert!(hits > 0 || out == text);
    }
}
