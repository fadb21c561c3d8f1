//! JSON that no two parsers read differently.
//!
//! serde_json reads; here is refused what it lets pass and others read otherwise: a name that occurs twice in an object (the
//! first wins, or the last), also where the spellings differ by escapes or, in objects whose members are known by name,
//! by case (some libraries do not tell `method` from `Method`), a NUL in a name (strings of C end there), and nesting that
//! overflows someone's stack. No tree is built: values are walked over, and those that are asked for are kept.
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

/// Deepest nesting.
pub const MAX_DEPTH: u8 = 64;

/// Most members of one object: their names are kept while it is read.
pub const MAX_MEMBERS: usize = 16_384;

/// Longest number that is kept as text: longer ones are read differently, and cost more than they are.
const MAX_NUMBER: usize = 32;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("it is not JSON")]
    Syntax,
    /// A member of another kind than must be.
    #[error("a value is of another kind than it must be")]
    Kind,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("it is nested deeper than {MAX_DEPTH}")]
    Depth,
    /// More than [`MAX_MEMBERS`].
    #[error("an object has more than {MAX_MEMBERS} members")]
    Many,
    /// A name occurs twice, or names differ by case alone.
    #[error("a name occurs twice in an object")]
    Duplicate,
    /// A NUL or another control character in a name.
    #[error("a control character in a name")]
    Name,
    /// A number that parsers read differently.
    #[error("a number that parsers read differently")]
    Number,
}

/// Where the reason of a refusal is kept while the error passes through serde.
#[derive(Default)]
pub(crate) struct Context(Cell<Option<JsonError>>);

impl Context {
    /// An error for serde that remembers why.
    pub fn fail<E: Error>(&self, why: JsonError) -> E {
        self.0.set(Some(why));
        E::custom("refused")
    }
}

/// Reads a whole text with a seed.
pub(crate) fn read<'de, S, T>(
    body: &'de [u8],
    seed: impl FnOnce(&'de Context) -> S,
    context: &'de Context,
) -> Result<T, JsonError>
where
    S: DeserializeSeed<'de, Value = T>,
{
    let text = std::str::from_utf8(body).map_err(|_| JsonError::NotUtf8)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let why = |error: serde_json::Error| match context.0.get() {
        Some(why) => why,
        None if error.is_data() => JsonError::Kind,
        None => JsonError::Syntax,
    };
    let value = seed(context).deserialize(&mut reader).map_err(why)?;
    reader.end().map_err(why)?;
    Ok(value)
}

/// A value, of which only short ones are kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain<'de> {
    Null,
    Bool,
    Integer(i64),
    /// Any other number.
    Number,
    Text(Cow<'de, str>),
    Array,
    Object,
}

/// Walks over any value.
pub(crate) struct Walk<'c, 'o> {
    pub context: &'c Context,
    /// How deep the value may be nested yet.
    pub depth: u8,
    /// Where its text is to be written: compact, with escapes only where they must be, numbers without an exponent.
    pub out: Option<&'o mut String>,
    /// Written in front of it.
    pub before: &'static str,
    /// Whether a string is written without its quotes.
    pub bare: bool,
}

impl<'c> Walk<'c, '_> {
    /// Walks over a value of an object that lies this deep.
    pub fn over(context: &'c Context, depth: u8) -> Walk<'c, 'static> {
        Walk {
            context,
            depth,
            out: None,
            before: "",
            bare: false,
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.out {
            out.push_str(text);
        }
    }

    fn string<E: Error>(&mut self, text: &str) -> Result<(), E> {
        if self.out.is_none() {
            return Ok(());
        }
        if text.contains('\0') {
            return Err(self.context.fail(JsonError::Name));
        }
        if self.bare {
            self.write(text);
        } else {
            self.write(&serde_json::to_string(text).map_err(E::custom)?);
        }
        Ok(())
    }

    fn deeper<E: Error>(&self) -> Result<u8, E> {
        let deeper = self.depth.checked_sub(1);
        deeper.ok_or_else(|| self.context.fail(JsonError::Depth))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_> {
    type Value = Plain<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(mut self, reader: D) -> Result<Plain<'de>, D::Error> {
        self.write(self.before);
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_> {
    type Value = Plain<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(mut self) -> Result<Plain<'de>, E> {
        self.write("null");
        Ok(Plain::Null)
    }

    fn visit_bool<E: Error>(mut self, value: bool) -> Result<Plain<'de>, E> {
        self.write(if value { "true" } else { "false" });
        Ok(Plain::Bool)
    }

    fn visit_i64<E: Error>(mut self, value: i64) -> Result<Plain<'de>, E> {
        self.write(&value.to_string());
        Ok(Plain::Integer(value))
    }

    fn visit_u64<E: Error>(mut self, value: u64) -> Result<Plain<'de>, E> {
        self.write(&value.to_string());
        Ok(i64::try_from(value).map_or(Plain::Number, Plain::Integer))
    }

    fn visit_f64<E: Error>(mut self, value: f64) -> Result<Plain<'de>, E> {
        if self.out.is_some() {
            let text = value.to_string();
            // Whole numbers beyond 64 bits are rounded by some parsers.
            if text.len() > MAX_NUMBER || value.abs() >= 18_446_744_073_709_551_616.0 {
                return Err(self.context.fail(JsonError::Number));
            }
            self.write(&text);
        }
        Ok(Plain::Number)
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<Plain<'de>, E> {
        self.string(text)?;
        Ok(Plain::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: Error>(mut self, text: &'de str) -> Result<Plain<'de>, E> {
        self.string(text)?;
        Ok(Plain::Text(Cow::Borrowed(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Plain<'de>, A::Error> {
        let depth = self.deeper()?;
        self.write("[");
        let mut before = "";
        while seq
            .next_element_seed(Walk {
                context: self.context,
                depth,
                out: self.out.as_deref_mut(),
                before,
                bare: false,
            })?
            .is_some()
        {
            before = ",";
        }
        self.write("]");
        Ok(Plain::Array)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Plain<'de>, A::Error> {
        let depth = self.deeper()?;
        let context = self.context;
        self.write("{");
        let mut before = "";
        object(context, &mut map, false, |name, map| {
            self.write(before);
            before = ",";
            if self.out.is_some() {
                self.write(&serde_json::to_string(name).map_err(A::Error::custom)?);
            }
            map.next_value_seed(Walk {
                context,
                depth,
                out: self.out.as_deref_mut(),
                before: ":",
                bare: false,
            })
            .map(drop)
        })?;
        self.write("}");
        Ok(Plain::Object)
    }
}

/// Goes through the members of an object; `each` takes the value of a member. `fold`: names that differ by case alone are the
/// same name.
pub(crate) fn object<'de, A: MapAccess<'de>>(
    context: &Context,
    map: &mut A,
    fold: bool,
    mut each: impl FnMut(&str, &mut A) -> Result<(), A::Error>,
) -> Result<(), A::Error> {
    let mut seen: HashSet<Cow<'de, str>> = HashSet::new();
    while let Some(name) = map.next_key_seed(Name)? {
        if name.contains('\0') {
            return Err(context.fail(JsonError::Name));
        }
        let same = if fold {
            Cow::Owned(folded(&name))
        } else {
            name.clone()
        };
        if !seen.insert(same) {
            return Err(context.fail(JsonError::Duplicate));
        }
        if seen.len() > MAX_MEMBERS {
            return Err(context.fail(JsonError::Many));
        }
        each(&name, map)?;
    }
    Ok(())
}

/// A name without its case, as widely as any library may take it: `K` (kelvin) is a `k`, and the long `ſ` an `s`.
pub(crate) fn folded(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether the name is one of the known ones in another case only.
pub(crate) fn is_disguised(name: &str, known: &[&str]) -> bool {
    !known.contains(&name) && known.contains(&folded(name).as_str())
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Cow<'de, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }
}
