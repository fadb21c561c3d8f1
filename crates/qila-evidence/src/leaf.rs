//! Events as leaves: compact JSON, shortened where it would not fit.
use crate::frame::MAX_PAYLOAD;
use qila_types::Event;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Encodes an event. Long texts and lists of an event over 65,535 bytes are cut and their SHA-256 put in place,
/// so that an agent cannot make its own launch unrecordable with a long argument. None if even that is too long.
pub fn encode(event: &Event) -> Option<Vec<u8>> {
    let plain = serde_json::to_vec(event).ok()?;
    if plain.len() <= MAX_PAYLOAD {
        return Some(plain);
    }
    let mut value = serde_json::to_value(event).ok()?;
    shorten(&mut value);
    let short = serde_json::to_vec(&value).ok()?;
    (short.len() <= MAX_PAYLOAD && decode(&short).is_some()).then_some(short)
}

/// Reads a leaf back; none if it is no event this version knows.
pub fn decode(leaf: &[u8]) -> Option<Event> {
    serde_json::from_slice(leaf).ok()
}

const TEXT: usize = 512;
const LIST: usize = 16;

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > TEXT => {
            let end = (0..=TEXT).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
            let mark = format!("… ({} bytes, sha256 {})", text.len(), digest(text.as_bytes()));
            text.truncate(end);
            text.push_str(&mark);
        }
        Value::Array(items) => {
            if items.len() > LIST {
                let all = serde_json::to_vec(items).unwrap_or_default();
                let mark = format!("… ({} items, sha256 of their JSON {})", items.len(), digest(&all));
                items.truncate(LIST);
                items.push(Value::String(mark));
            }
            items.iter_mut().for_each(shorten);
        }
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use qila_types::{EventKind, Tier};

    #[test]
    fn a_launch_with_huge_arguments_is_still_recorded() {
        let mut command = vec!["agent".to_owned(); 5000];
        command[1] = "é".repeat(300_000);
        let event = Event {
            time_ms: 1,
            run: None,
            kind: EventKind::Launch {
                tier: Tier::Process,
                policy_digest: "0".repeat(64),
                plan_digest: "0".repeat(64),
                command,
                workspace: Some("w".repeat(4096)),
                unenforced: vec![],
            },
        };
        let leaf = encode(&event).unwrap();
        assert!(leaf.len() <= MAX_PAYLOAD);
        let Some(EventKind::Launch { command, .. }) = decode(&leaf).map(|e| e.kind) else {
            panic!()
        };
        assert_eq!(command[0], "agent");
        assert!(command[1].contains("600000 bytes, sha256"), "{}", command[1]);
        assert!(command[16].contains("5000 items"));
    }
}
