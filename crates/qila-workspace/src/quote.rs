//! Makes an agent's bytes safe to print.
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as Git prints it: plain where that is safe, else in double quotes with C-style escapes.
///
/// Control characters, quotes, backslashes, bytes that are no text and characters that reorder or hide text (Unicode
/// bidirectional and invisible formatting) are escaped, so that neither a terminal nor a reader is misled. The form is
/// the one that `git apply` and `patch` read back.
pub fn quote_path(path: &Path) -> String {
    quote_bytes(path.as_os_str().as_bytes())
}

pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    let mut plain = true;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\t' => out.push_str("\\t"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                c if misleads(c) => octal(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => {
                    out.push(c);
                    continue;
                }
            }
            plain = false;
        }
        plain &= chunk.invalid().is_empty();
        octal(&mut out, chunk.invalid());
    }
    if plain { out } else { format!("\"{out}\"") }
}

fn octal(out: &mut String, bytes: &[u8]) {
    for b in bytes {
        let _ = write!(out, "\\{b:03o}");
    }
}

/// Whether printing this character can move the cursor, change colours, or reorder or hide other text.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes file content for a terminal: tab and newline as they are, everything that could mislead as a visible escape.
pub fn write_escaped(bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, c)) = rest
            .char_indices()
            .find(|(_, c)| misleads(*c) && *c != '\t' && *c != '\n')
        {
            let (before, after) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.write_all(before.as_bytes())?;
            write!(out, "{}", c.escape_default())?;
            rest = after.get(c.len_utf8()..).unwrap_or("");
        }
        out.write_all(rest.as_bytes())?;
        for b in chunk.invalid() {
            write!(out, "\\x{b:02x}")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    fn quoted(bytes: &[u8]) -> String {
        quote_path(Path::new(OsStr::from_bytes(bytes)))
    }

    #[test]
    fn safe_names_stay_as_they_are_and_others_are_quoted_as_git_does() {
        for (name, expected) in [
            (&b"src/main.rs"[..], "src/main.rs"),
            ("größe.txt".as_bytes(), "größe.txt"),
            (b"a b", "a b"),
            (b"a\nb", r#""a\nb""#),
            (b"a\x1b[31mb", r#""a\033[31mb""#),
            (b"quote\"d", r#""quote\"d""#),
            (b"\xff\xfe", r#""\377\376""#),
            ("x\u{202e}cod.exe".as_bytes(), r#""x\342\200\256cod.exe""#),
            ("\u{9b}31m".as_bytes(), r#""\302\23331m""#),
        ] {
            assert_eq!(quoted(name), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_misleads_comes_out(bytes: Vec<u8>) {
            let mut shown = quoted(&bytes);
            let mut content = Vec::new();
            write_escaped(&bytes, &mut content).unwrap();
            shown.push_str(&String::from_utf8(content).unwrap().replace(['\n', '\t'], ""));
            assert!(!shown.chars().any(misleads), "{shown:?}");
        }
    }
}
