//! A recipe as a tree, each part with its place. `extends`, variables and defaults are worked out on it; only then is
//! it read into types.

use super::error::{Place, RecipeError, hint, one_line};

/// A part of a recipe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tree {
    pub place: Place,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<Entry>),
}

/// A key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Tree,
}

impl Place {
    pub(super) fn error(&self, what: impl AsRef<str>) -> RecipeError {
        RecipeError::At { place: self.clone(), what: what.as_ref().to_owned() }
    }
}

impl Tree {
    /// What messages call it.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Int(value) => format!("the number {value}"),
            Kind::Float(value) => format!("the number {value:?}"),
            Kind::Text(value) => format!("the text `{}`", one_line(value)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    /// An error that says what was wanted here.
    pub fn expected(&self, what: &str) -> RecipeError {
        self.place.error(format!("expected {what}, found {}", self.describe()))
    }

    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The entries of a mapping; none at all for nothing.
    pub fn map(&self) -> Result<&[Entry], RecipeError> {
        match &self.kind {
            Kind::Map(entries) => Ok(entries),
            Kind::Null => Ok(&[]),
            _ => Err(self.expected("a mapping")),
        }
    }

    /// The entries of a mapping with only these keys.
    pub fn map_of(&self, what: &str, known: &[&str]) -> Result<&[Entry], RecipeError> {
        let entries = self.map()?;
        for entry in entries {
            if !known.contains(&entry.key.as_str()) {
                return Err(entry.unknown(what, known));
            }
        }
        Ok(entries)
    }

    /// The items of a list; none at all for nothing.
    pub fn list(&self) -> Result<&[Tree], RecipeError> {
        match &self.kind {
            Kind::List(items) => Ok(items),
            Kind::Null => Ok(&[]),
            _ => Err(self.expected("a list")),
        }
    }

    pub fn text(&self) -> Result<&str, RecipeError> {
        match &self.kind {
            Kind::Text(text) => Ok(text),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => {
                Err(self.place.error(format!("expected text, found {}; put it in quotes", self.describe())))
            }
            _ => Err(self.expected("text")),
        }
    }

    pub fn bool(&self) -> Result<bool, RecipeError> {
        match self.kind {
            Kind::Bool(value) => Ok(value),
            _ => Err(self.expected("true or false")),
        }
    }

    /// A whole number in a range.
    pub fn int(&self, from: i64, to: i64) -> Result<i64, RecipeError> {
        match self.kind {
            Kind::Int(value) if (from..=to).contains(&value) => Ok(value),
            _ if to == i64::MAX => Err(self.expected(&format!("a whole number of at least {from}"))),
            _ => Err(self.expected(&format!("a whole number from {from} to {to}"))),
        }
    }

    /// A finite number of at least zero.
    pub fn tolerance(&self) -> Result<f64, RecipeError> {
        match self.kind {
            Kind::Int(value) if value >= 0 => Ok(value as f64),
            Kind::Float(value) if value >= 0.0 && value.is_finite() => Ok(value),
            _ => Err(self.expected("a number of at least 0")),
        }
    }

    /// The entry of a mapping with this key, unless its value is nothing.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        let Kind::Map(entries) = &self.kind else { return None };
        entries.iter().find(|e| e.key == key).map(|e| &e.value).filter(|v| !v.is_null())
    }

    /// Lays another mapping over this one: mappings merge per key, anything else is replaced. `depth` bounds how far
    /// down mappings merge.
    pub fn overlay(&mut self, over: Tree, depth: usize) {
        match (&mut self.kind, over.kind) {
            (Kind::Map(mine), Kind::Map(theirs)) if depth > 0 => {
                for entry in theirs {
                    match mine.iter_mut().find(|e| e.key == entry.key) {
                        Some(old) => {
                            old.place = entry.place;
                            old.value.overlay(entry.value, depth - 1);
                        }
                        None => mine.push(entry),
                    }
                }
            }
            (mine, theirs) => {
                *mine = theirs;
                self.place = over.place;
            }
        }
    }
}

impl Entry {
    /// An error for a key that does not exist.
    pub fn unknown(&self, what: &str, known: &[&str]) -> RecipeError {
        let hint = hint(&self.key, known.iter().copied(), "keys");
        self.place.error(format!("{what} has no key `{}`{hint}", one_line(&self.key)))
    }
}
