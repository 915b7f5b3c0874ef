//! What ends a command early, and how it is told.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use super::complain;
use super::targets::is_stream;

/// Why a command ends early, with the exit code that it deserves.
pub struct Failure {
    code: u8,
    /// Empty where it has been said already.
    why: String,
}

impl Failure {
    /// Exit code 1: something went wrong.
    pub fn failed(why: impl Display) -> Self {
        Self { code: 1, why: why.to_string() }
    }

    /// Exit code 1, about a model.
    pub fn about(model: &Path, why: impl Display) -> Self {
        Self::failed(named(model, why))
    }

    /// Exit code 2: what was asked for makes no sense.
    pub fn usage(why: impl Display) -> Self {
        Self { code: 2, why: why.to_string() }
    }

    /// Exit code 3, about a model: the answers are not equal, or nobody could tell.
    pub fn unproved(model: &Path, why: impl Display) -> Self {
        Self { code: 3, why: named(model, why) }
    }

    /// Says it now. What is left is the exit code.
    pub fn told(self) -> Self {
        if !self.why.is_empty() {
            complain(&format!("error: {}", self.why));
        }
        Self { code: self.code, why: String::new() }
    }

    /// The graver one of two: what failed, then what was not proved.
    pub fn graver(self, other: Option<Self>) -> Self {
        let rank = |failure: &Self| [1, 2, 3].iter().position(|&code| code == failure.code);
        match other {
            Some(other) if rank(&other) <= rank(&self) => other,
            _ => self,
        }
    }

    /// Says it and ends the program.
    pub fn exit(self) -> ExitCode {
        ExitCode::from(self.told().code)
    }
}

/// A message with the model that it is about, which it names once.
fn named(model: &Path, why: impl Display) -> String {
    let why = why.to_string();
    if names(&why, model, "standard input") {
        why
    } else {
        format!("{}: {why}", shown(model, "standard input"))
    }
}

/// Whether a message says which file it is about; `stream` is what `-` stands for.
pub fn names(why: &str, path: &Path, stream: &str) -> bool {
    why.contains(&format!("`{}`", shown(path, stream)))
}

fn shown(path: &Path, stream: &str) -> String {
    if is_stream(path) { stream.to_owned() } else { path.display().to_string() }
}

/// A text on one line, without the control characters that a hostile name may bring to a terminal.
pub fn one_line(text: &str) -> String {
    escaped(text, char::is_control)
}

/// A text on its lines, without other control characters.
pub fn lines(text: &str) -> String {
    escaped(text, |c| c.is_control() && c != '\n')
}

fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_its_model_once() {
        let path = Path::new("a/m.onnx");
        assert_eq!(named(path, "node `x` has a cycle"), "a/m.onnx: node `x` has a cycle");
        assert_eq!(named(path, "`a/m.onnx` is empty"), "`a/m.onnx` is empty");
        assert_eq!(named(Path::new("-"), "broken"), "standard input: broken");
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(one_line("a\nb\u{1b}[31m\u{9b}ü\t"), "a\\nb\\u{1b}[31m\\u{9b}ü\\t");
        assert_eq!(lines("a\nb\r"), "a\nb\\r");
    }

    #[test]
    fn what_failed_is_graver_than_what_was_not_proved() {
        let failed = || Failure::failed("");
        let unproved = || Failure::unproved(Path::new("m"), "");
        assert_eq!(unproved().graver(Some(failed())).code, 1);
        assert_eq!(failed().graver(Some(unproved())).code, 1);
        assert_eq!(unproved().graver(None).code, 3);
    }
}
