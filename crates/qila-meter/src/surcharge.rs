//! What makes a call dearer than the plain price: a faster tier, a region.

/// The name that the prices file has for a setting, such as `service_tier:priority`; none where it costs what the price says, or
/// less. OpenAI's `fast` tier is another word for `priority`.
pub(crate) fn of(name: &str, value: &str) -> Option<String> {
    let value = value.to_ascii_lowercase();
    let plain: &[&str] = match name {
        "service_tier" => &[
            "",
            "auto",
            "default",
            "standard",
            "standard_only",
            "flex",
            "batch",
            "unspecified",
        ],
        "speed" => &["", "standard"],
        _ => &["", "global", "not_available"],
    };
    if plain.contains(&value.as_str()) {
        return None;
    }
    let value = match (name, value.as_str()) {
        ("service_tier", "fast") => "priority",
        (_, value) => value,
    };
    Some(format!("{name}:{value}"))
}
