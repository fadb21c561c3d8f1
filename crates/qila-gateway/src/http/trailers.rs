//! Fields after a body: passed on where both ends speak HTTP/2, searched like those in front of it.
use super::forward::mask;
use crate::gate::Gate;
use http::HeaderMap;

/// Fields that say where a message goes, who sends it or how it is read: after the body they would change what was judged.
const NEVER: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn cut(fields: &mut HeaderMap) {
    for name in NEVER {
        fields.remove(name);
    }
}

/// The agent's, on their way out. None: a placeholder is in them.
pub(super) fn outward(gate: &Gate, mut fields: HeaderMap) -> Option<HeaderMap> {
    let finds = |bytes: &[u8]| gate.secrets.finder().is_some_and(|f| f.find(bytes));
    if fields
        .iter()
        .any(|(n, v)| finds(n.as_str().as_bytes()) || finds(v.as_bytes()))
    {
        return None;
    }
    cut(&mut fields);
    Some(fields)
}

/// The upstream's, on their way in. None: a real value is in the name of one.
pub(super) fn inward(gate: &Gate, masks: bool, mut fields: HeaderMap) -> Option<HeaderMap> {
    let live = gate.secrets.live();
    if let Some(masker) = live.masker().filter(|_| masks) {
        if fields.keys().any(|name| live.is_in_name(name.as_str())) {
            return None;
        }
        mask(&mut fields, masker);
    }
    cut(&mut fields);
    Some(fields)
}
