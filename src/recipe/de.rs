//! Reading a part of a recipe into a type: every error knows the place that it came from.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, Expected, MapAccess, SeqAccess};
use serde::de::{Unexpected, VariantAccess, Visitor};

use super::error::{Place, RecipeError, hint, one_line};
use super::tree::{Entry, Kind, Tree};

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct DeError {
    pub place: Option<Place>,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Text(String),
    /// A key that the type does not have.
    Unknown {
        field: String,
        known: &'static [&'static str],
    },
}

impl DeError {
    /// The innermost place wins.
    fn at(mut self, place: &Place) -> Self {
        self.place.get_or_insert_with(|| place.clone());
        self
    }

    /// As an error of the recipe. `also` are keys that the type does not have, and its place takes nevertheless.
    pub fn into_recipe(self, at: &Place, also: &[&str]) -> RecipeError {
        let what = match &self.what {
            What::Text(text) => text.clone(),
            What::Unknown { field, known } => {
                let all = known.iter().chain(also).copied();
                format!("unknown option `{}`{}", one_line(field), hint(field, all, "options"))
            }
        };
        self.place.as_ref().unwrap_or(at).error(what)
    }
}

impl fmt::Display for DeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Text(text) => f.write_str(text),
            What::Unknown { field, .. } => write!(f, "unknown option `{field}`"),
        }
    }
}

impl std::error::Error for DeError {}

impl de::Error for DeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { place: None, what: What::Text(one_line(&message.to_string())) }
    }

    fn invalid_type(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::custom(format!("expected {}, found {}", wish(wanted), describe(found)))
    }

    fn invalid_value(found: Unexpected<'_>, wanted: &dyn Expected) -> Self {
        Self::invalid_type(found, wanted)
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let hint = hint(variant, known.iter().copied(), "values");
        Self::custom(format!("unknown value `{}`{hint}", one_line(variant)))
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self { place: None, what: What::Unknown { field: field.to_owned(), known } }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format!("the option `{field}` is missing"))
    }
}

/// What a type wants, in words for people who never saw the type.
fn wish(wanted: &dyn Expected) -> String {
    let words = wanted.to_string();
    match words.as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "u64" | "usize" | "u128" => "a whole number of at least 0".to_owned(),
        "i8" => "a whole number from -128 to 127".to_owned(),
        "i16" | "i32" | "i64" | "isize" | "i128" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "string" => "text".to_owned(),
        _ => words.replace("sequence", "list").replace("map", "mapping"),
    }
}

fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("the number {value}"),
        Unexpected::Signed(value) => format!("the number {value}"),
        Unexpected::Float(value) => format!("the number {value:?}"),
        Unexpected::Str(value) => format!("the text `{}`", one_line(value)),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}

type Answer<'de, V> = Result<<V as Visitor<'de>>::Value, DeError>;

impl Tree {
    fn refuse(&self, wanted: &str) -> DeError {
        de::Error::custom(format!("expected {wanted}, found {}", self.describe()))
    }

    fn visit<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Answer<'de, V> {
        match &self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(*value),
            Kind::Int(value) => visitor.visit_i64(*value),
            Kind::Float(value) => visitor.visit_f64(*value),
            Kind::Text(value) => visitor.visit_borrowed_str(value),
            Kind::List(items) => visitor.visit_seq(Items(items.iter())),
            Kind::Map(entries) => visitor.visit_map(Entries { rest: entries.iter(), value: None }),
        }
    }
}

macro_rules! visit_any {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
            self.visit(visitor).map_err(|e| e.at(&self.place))
        })*
    };
}

impl<'de> Deserializer<'de> for &'de Tree {
    type Error = DeError;

    visit_any! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_unit deserialize_bytes deserialize_byte_buf
        deserialize_identifier
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        match &self.kind {
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => {
                let quotes = de::Error::custom(format!("{}; put it in quotes", self.refuse("text")));
                Err(DeError::at(quotes, &self.place))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        match self.kind {
            Kind::List(_) => self.deserialize_any(visitor),
            _ => Err(self.refuse("a list").at(&self.place)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Answer<'de, V> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Answer<'de, V> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        match self.kind {
            Kind::Map(_) => self.deserialize_any(visitor),
            _ => Err(self.refuse("a mapping of options").at(&self.place)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Answer<'de, V> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Answer<'de, V> {
        visitor.visit_newtype_struct(self).map_err(|e| e.at(&self.place))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Answer<'de, V> {
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Answer<'de, V> {
        let variant = match &self.kind {
            Kind::Text(name) => Variant { name, place: &self.place, content: None },
            Kind::Map(entries) if let [Entry { key, place, value }] = entries.as_slice() => {
                Variant { name: key, place, content: Some(value) }
            }
            _ => return Err(self.refuse(&format!("one of {}", known.join(", "))).at(&self.place)),
        };
        visitor.visit_enum(variant).map_err(|e| e.at(&self.place))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Answer<'de, V> {
        visitor.visit_unit()
    }
}

struct Items<'de>(std::slice::Iter<'de, Tree>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeError> {
        let Some(item) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|e| e.at(&item.place))
    }
}

struct Entries<'de> {
    rest: std::slice::Iter<'de, Entry>,
    value: Option<&'de Tree>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeError> {
        let Some(entry) = self.rest.next() else { return Ok(None) };
        self.value = Some(&entry.value);
        let key = StrDeserializer::<DeError>::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|e| e.at(&entry.place))
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DeError> {
        let value =
            self.value.take().ok_or_else(|| -> DeError { de::Error::custom("a value has no key") })?;
        seed.deserialize(value).map_err(|e| e.at(&value.place))
    }
}

/// A variant by name, with what it holds.
struct Variant<'de> {
    name: &'de str,
    place: &'de Place,
    content: Option<&'de Tree>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DeError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), DeError> {
        let name = seed.deserialize(StrDeserializer::<DeError>::new(self.name));
        Ok((name.map_err(|e| e.at(self.place))?, self))
    }
}

impl<'de> Variant<'de> {
    fn content(&self) -> Result<&'de Tree, DeError> {
        let missing = || -> DeError { de::Error::custom(format!("`{}` needs a value", self.name)) };
        self.content.ok_or_else(|| missing().at(self.place))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = DeError;

    fn unit_variant(self) -> Result<(), DeError> {
        match self.content {
            Some(tree) if !tree.is_null() => Err(tree.refuse("nothing").at(&tree.place)),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeError> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Answer<'de, V> {
        self.content()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Answer<'de, V> {
        self.content()?.deserialize_map(visitor)
    }
}
