//! JSON as strict as security needs it: no name twice in an object, nothing nested too deeply, nothing after the end.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting; an object of scalars is 1.
pub(super) const MOST_LEVELS: usize = 64;
/// Members that an object which is the whole text has room for from the beginning.
pub(super) const USUAL: usize = 16;

/// An object. `None`: something else, not UTF-8, a name twice (RFC 7519 section 4 lets a parser choose to refuse), too
/// deep, or a number that is none.
pub(super) fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { levels: MOST_LEVELS }.deserialize(&mut json).ok()?;
    json.end().ok()?;
    match value {
        Value::Object(object) => Some(object),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

/// Reads any value, with so many levels left.
#[derive(Clone, Copy)]
struct Strict {
    levels: usize,
}

impl Strict {
    fn below<E: Error>(self) -> Result<Self, E> {
        let levels = self.levels.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Self { levels })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(below)? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let is_whole = self.levels == MOST_LEVELS;
        let mut object = if is_whole { Map::with_capacity(USUAL) } else { Map::new() };
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(below)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name twice"));
            }
        }
        Ok(Value::Object(object))
    }
}
