//! Variables: their values, and `${name}` in the texts of a recipe.

use super::error::{Place, RecipeError, hint, one_line};
use super::tree::{Entry, Kind, Tree};

/// Reads an environment variable.
pub(super) type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Where the values of variables come from besides the recipe.
#[derive(Default)]
pub(super) struct Outside<'a> {
    /// Values given by the user, by variable; the last one counts.
    pub set: Vec<(String, String)>,
    /// Reads an environment variable.
    pub env: Option<&'a Environment<'a>>,
    /// The profile that `auto` stands for.
    pub machine: Option<&'a str>,
    /// A profile instead of the recipe's.
    pub profile: Option<&'a str>,
}

/// The variables of a recipe.
#[derive(Debug)]
pub(super) struct Vars(Vec<(String, Kind)>);

impl Vars {
    /// Works out the variables of a recipe from its (merged) `vars`.
    pub fn of(tree: Option<&Tree>, outside: &Outside<'_>) -> Result<Self, RecipeError> {
        let entries = tree.map_or(Ok(&[][..]), Tree::map)?;
        for (name, _) in &outside.set {
            if !entries.iter().any(|e| e.key == *name) {
                let names = entries.iter().map(|e| e.key.as_str());
                let name = one_line(name);
                return Err(RecipeError::Variable { hint: hint(&name, names, "variables"), name });
            }
        }
        let values = entries.iter().map(|entry| Ok((entry.key.clone(), value(entry, outside)?)));
        values.collect::<Result<_, _>>().map(Self)
    }

    /// Puts the values in place of their names, in every text of a part of the recipe. Keys stay as they are.
    pub fn substitute(&self, tree: &mut Tree) -> Result<(), RecipeError> {
        match &mut tree.kind {
            Kind::Text(text) if text.contains("${") => tree.kind = self.expand(text, &tree.place)?,
            Kind::List(items) => items.iter_mut().try_for_each(|item| self.substitute(item))?,
            Kind::Map(entries) => entries.iter_mut().try_for_each(|e| self.substitute(&mut e.value))?,
            _ => {}
        }
        Ok(())
    }

    fn expand(&self, text: &str, place: &Place) -> Result<Kind, RecipeError> {
        let parts = parts(text).map_err(|why| place.error(why))?;
        if let [Part::Name(name)] = parts.as_slice() {
            let mut value = Tree { place: place.clone(), kind: self.get(name, place)?.clone() };
            move_to(&mut value, place);
            return Ok(value.kind);
        }
        let mut out = String::new();
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Name(name) => match self.get(name, place)? {
                    Kind::Text(text) => out.push_str(text),
                    Kind::Bool(value) => out.push_str(&value.to_string()),
                    Kind::Int(value) => out.push_str(&value.to_string()),
                    Kind::Float(value) => out.push_str(&value.to_string()),
                    _ => return Err(place.error(format!("`${{{name}}}` is not one value: it stands alone"))),
                },
            }
        }
        Ok(Kind::Text(out))
    }

    fn get(&self, name: &str, place: &Place) -> Result<&Kind, RecipeError> {
        let found = self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value);
        found.ok_or_else(|| {
            let hint = hint(name, self.0.iter().map(|(n, _)| n.as_str()), "variables");
            place.error(format!("unknown variable `{}`{hint}", one_line(name)))
        })
    }
}

/// Where a value is used is where its errors are.
fn move_to(tree: &mut Tree, place: &Place) {
    tree.place.clone_from(place);
    if let Kind::List(items) = &mut tree.kind {
        for item in items {
            move_to(item, place);
        }
    }
}

fn value(entry: &Entry, outside: &Outside<'_>) -> Result<Kind, RecipeError> {
    if !is_name(&entry.key) {
        let what =
            format!("`{}` is no name for a variable: use letters, digits, - and _", one_line(&entry.key));
        return Err(entry.place.error(what));
    }
    let mut env = None;
    let mut declared = entry.value.clone();
    if matches!(entry.value.kind, Kind::Map(_)) {
        entry.value.map_of("a variable", &["env", "default"])?;
        let name = entry
            .value
            .get("env")
            .ok_or_else(|| entry.value.place.error("the mapping of a variable needs `env`"))?;
        env = Some(name.text()?);
        let nothing = Tree { place: entry.value.place.clone(), kind: Kind::Null };
        declared = entry.value.get("default").cloned().unwrap_or(nothing);
    }
    literal(&mut declared)?;
    let set = outside.set.iter().rev().find(|(name, _)| *name == entry.key).map(|(_, text)| text.clone());
    let text = set.or_else(|| outside.env.zip(env).and_then(|(read, name)| read(name)));
    match (text, env) {
        (Some(text), _) => Ok(read_like(&declared.kind, text)),
        (None, Some(name)) if declared.is_null() => Err(entry.place.error(format!(
            "`{}` has no value: set the environment variable {} or the variable itself, or give it a default",
            entry.key,
            one_line(name)
        ))),
        (None, _) => Ok(declared.kind),
    }
}

/// Checks that a variable's value is one value or a list of them, that uses no other variable.
fn literal(tree: &mut Tree) -> Result<(), RecipeError> {
    match &mut tree.kind {
        Kind::Map(_) => Err(tree.expected("a value or a list")),
        Kind::List(items) => items.iter_mut().try_for_each(literal),
        Kind::Text(text) => {
            let parts = parts(text).map_err(|why| tree.place.error(why))?;
            let mut plain = String::new();
            for part in parts {
                let Part::Text(text) = part else {
                    return Err(tree
                        .place
                        .error("a variable cannot use another; write `$${` for a plain `${`"));
                };
                plain.push_str(text);
            }
            *text = plain;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A text from outside the recipe takes the type of what the recipe says, where it can.
fn read_like(declared: &Kind, text: String) -> Kind {
    let number = || text.parse::<i64>().ok().map(Kind::Int);
    let decimal = || text.parse::<f64>().ok().filter(|x| x.is_finite()).map(Kind::Float);
    let truth = || text.parse::<bool>().ok().map(Kind::Bool);
    let found = match declared {
        Kind::Text(_) => None,
        _ => number().or_else(decimal).or_else(truth),
    };
    found.unwrap_or(Kind::Text(text))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
}

enum Part<'a> {
    Text(&'a str),
    Name(&'a str),
}

/// Takes a text apart: `${name}` is a variable, `$${` a plain `${`.
fn parts(text: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(escaped) = before.strip_suffix('$') {
            parts.extend([Part::Text(escaped), Part::Text("${")]);
            rest = after;
            continue;
        }
        let end = after.find('}').ok_or("`${` has no `}`; write `$${` for a plain `${`")?;
        let name = &after[..end];
        if !is_name(name) {
            return Err(format!("`${{{}}}` is no variable; write `$${{` for a plain `${{`", one_line(name)));
        }
        parts.extend((!before.is_empty()).then_some(Part::Text(before)));
        parts.push(Part::Name(name));
        rest = &after[end + 1..];
    }
    parts.extend((!rest.is_empty() || parts.is_empty()).then_some(Part::Text(rest)));
    Ok(parts)
}

/// A text that stays as it is when variables are put in.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}
