//! What is wrong with a recipe, and where.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A recipe's text, and where it came from.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Source {
    /// What messages call it: the path as it was given, or the name of a built-in recipe.
    pub name: String,
    /// What tells recipes apart however they are named: the full path, or the name of a built-in one.
    pub identity: Option<PathBuf>,
    /// The directory that its relative paths start from.
    pub dir: PathBuf,
    pub text: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A place in a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub(super) source: Arc<Source>,
    pub(super) line: u64,
    pub(super) column: u64,
}

impl Place {
    /// The line, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The column in characters, from 1.
    pub fn column(&self) -> u64 {
        self.column
    }

    /// The line of text, with a mark under the column.
    fn snippet(&self) -> Option<String> {
        let text = self.source.text.lines().nth(usize::try_from(self.line.checked_sub(1)?).ok()?)?;
        let shown: String = text.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let column = usize::try_from(self.column.saturating_sub(1)).ok().filter(|&c| c <= shown.len())?;
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        Some(format!("{margin} |\n{number} | {shown}\n{margin} | {:column$}^", ""))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.name, self.line, self.column)
    }
}

/// Why a recipe cannot be used. Every message is one line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The text is wrong at a place.
    #[error("{place}: {what}")]
    At {
        /// Where.
        place: Place,
        /// What is wrong, and what would be right.
        what: String,
    },
    /// The file as a whole cannot be used.
    #[error("{name}: {what}")]
    File {
        /// The file.
        name: String,
        /// What is wrong.
        what: String,
    },
    /// Neither a built-in recipe nor a file.
    #[error("no recipe is called `{name}`{hint}")]
    Unknown {
        /// The name.
        name: String,
        /// The nearest name, or all names.
        hint: String,
    },
    /// A value for a variable that the recipe does not have.
    #[error("the recipe has no variable `{name}`{hint}")]
    Variable {
        /// The variable.
        name: String,
        /// The nearest name, or all names.
        hint: String,
    },
    /// A selector of a step matches nothing in the model.
    #[error("step `{step}`: the selector `{selector}` matches no node; end it in `?` if that is fine")]
    Selector {
        /// The id of the step.
        step: String,
        /// The selector.
        selector: String,
    },
}

impl RecipeError {
    /// The place, where the error has one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            Self::At { place, .. } => Some(place),
            _ => None,
        }
    }

    /// The line of the recipe with a mark under the column, on lines of its own.
    pub fn details(&self) -> Option<String> {
        self.place()?.snippet()
    }
}

/// A text on one line, cut where it is long: what a recipe says may be anything.
pub(super) fn one_line(text: &str) -> String {
    let mut shown: String = text.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(120).is_some() {
        shown.push('…');
    }
    shown
}

/// The end of a message about a name that does not exist: the nearest one, or all of them where they are few.
pub fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, &known) {
        Some(name) => format!("; did you mean `{name}`?"),
        None if known.is_empty() => format!("; there are no {what}"),
        None if known.len() <= 12 => format!("; the {what} are {}", known.join(", ")),
        None => String::new(),
    }
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |s: &str| s.to_lowercase().replace('_', "-");
    let word = plain(word);
    let limit = (word.chars().count() / 3).max(1);
    let distances = known.iter().map(|&name| (strsim::damerau_levenshtein(&word, &plain(name)), name));
    let near = distances.filter(|&(distance, _)| distance <= limit);
    near.min_by_key(|&(distance, _)| distance).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_and_nothing_far_fetched() {
        let known = ["drop-dead", "drop-identity", "fuse-conv-bn"];
        assert_eq!(hint("fuse_conv_bn", known, "passes"), "; did you mean `fuse-conv-bn`?");
        assert_eq!(hint("fuse-convbn", known, "passes"), "; did you mean `fuse-conv-bn`?");
        assert_eq!(
            hint("quantize", known, "passes"),
            "; the passes are drop-dead, drop-identity, fuse-conv-bn"
        );
        assert_eq!(hint("x", [], "options"), "; there are no options");
    }

    #[test]
    fn a_snippet_marks_the_column() {
        let source = Source { text: "a: 1\nbc: 22\n".into(), ..Source::default() };
        let place = Place { source: Arc::new(source), line: 2, column: 5 };
        assert_eq!(place.snippet().unwrap(), "  |\n2 | bc: 22\n  |     ^");
        assert_eq!(Place::default().snippet(), None);
    }
}
