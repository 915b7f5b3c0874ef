//! Models made from a list of steps: each step adds an operator over values that are there already.
//!
//! A step is a handful of numbers that are read modulo what is possible, so that every list is a valid model, and a
//! shorter list is a smaller one.

mod chains;
mod numbers;
mod steps;

use onnxpress::ir::{DType, TensorData};

use numbers::Numbers;
pub use numbers::Step;

/// A dim: a number, or the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    N,
    Of(usize),
}

/// A float value of the model.
#[derive(Debug, Clone)]
pub struct Value {
    pub name: String,
    pub dims: Vec<Dim>,
}

/// The model so far.
#[derive(Debug, Default)]
pub struct Draft {
    pub values: Vec<Value>,
    pub lines: Vec<String>,
    /// Initializers, as the text declares them.
    pub constants: Vec<String>,
    /// The last plain operator, to be repeated: its text without the name, and its dims.
    pub last: Option<(String, Vec<Dim>)>,
    count: usize,
}

impl Draft {
    pub fn name(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}{}", self.count)
    }

    /// A weight of these dims; its elements are drawn by its name.
    pub fn weight(&mut self, stem: &str, dims: &[usize]) -> String {
        let name = self.name(stem);
        let ty = if dims.is_empty() { "float".to_owned() } else { format!("float[{}]", join(dims)) };
        self.constants.push(format!("{ty} {name}"));
        name
    }

    pub fn ints(&mut self, items: &[i64]) -> String {
        let name = self.name("i");
        self.constants.push(format!("int64[{}] {name} = {{{}}}", items.len(), join(items)));
        name
    }

    /// Adds an operator with one output.
    pub fn add(&mut self, call: &str, dims: Vec<Dim>) -> String {
        let name = self.name("v");
        self.lines.push(format!("{name} = {call}"));
        self.last = Some((call.to_owned(), dims.clone()));
        self.values.push(Value { name: name.clone(), dims });
        name
    }

    pub fn value(&self, from_back: usize) -> Value {
        self.values[self.values.len() - 1 - from_back % self.values.len()].clone()
    }
}

pub fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn type_of(dims: &[Dim]) -> String {
    let dims: Vec<String> = dims
        .iter()
        .map(|d| match d {
            Dim::N => "N".to_owned(),
            Dim::Of(n) => n.to_string(),
        })
        .collect();
    format!("float[{}]", dims.join(","))
}

/// The model in the text syntax.
pub fn model_text(list: &[Step]) -> String {
    let mut draft = Draft::default();
    let inputs: [(&str, &[Dim]); 3] = [
        ("x", &[Dim::N, Dim::Of(4), Dim::Of(5), Dim::Of(5)]),
        ("u", &[Dim::N, Dim::Of(6)]),
        ("s", &[Dim::Of(1), Dim::Of(4)]),
    ];
    for (name, dims) in inputs {
        draft.values.push(Value { name: name.to_owned(), dims: dims.to_vec() });
    }
    for &step in list {
        steps::apply(&mut draft, &mut Numbers::of(step));
    }
    let made = &draft.values[inputs.len()..];
    let read = |name: &str| {
        let word = |line: &String| {
            let body = line.split_once('=').map_or("", |(_, body)| body);
            body.split(|c: char| !c.is_alphanumeric()).any(|w| w == name)
        };
        draft.lines.iter().any(word)
    };
    // Everything that nothing reads is an output, and every eleventh of the others.
    let outputs: Vec<String> = (made.iter().enumerate())
        .filter(|(at, v)| at % 11 == 0 || at + 1 == made.len() || !read(&v.name))
        .map(|(_, v)| format!("{} {}", type_of(&v.dims), v.name))
        .collect();
    let outputs = if outputs.is_empty() {
        draft.lines.push("y = Relu (x)".to_owned());
        vec!["float[N,4,5,5] y".to_owned()]
    } else {
        outputs
    };
    let inputs: Vec<String> = inputs
        .iter()
        .map(|(name, dims)| format!("{} {name}", type_of(dims)))
        .chain(["bool on".to_owned()])
        .collect();
    format!(
        "<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]>\ng ({}) => ({})\n<float unused{}{}>\n{{\n  {}\n}}\n{FUNCTIONS}",
        inputs.join(", "),
        outputs.join(", "),
        if draft.constants.is_empty() { "" } else { ", " },
        draft.constants.join(", "),
        draft.lines.join("\n  ")
    )
}

const FUNCTIONS: &str = r#"<domain: "f", opset_import: ["" : 17]>
act <slope: float = 0.1> (a, b) => (c)
{
  t = LeakyRelu <alpha: float = @slope> (a)
  v1 = Identity (t)
  c = Clip (v1, b)
}
<domain: "f", opset_import: ["" : 17, "f" : 1]>
pick (a, on) => (p, a)
{
  v2 = f.act <slope = 0.5> (a)
  p = If (on) <then_branch = t () => (q) {
        v1 = Tanh (v2)
        q = Add (v1, a)
      }, else_branch = e () => (r) {
        v1 = Sigmoid (v2)
        r = Sub (v1, a)
      }>
}
"#;

/// The elements of a weight: small numbers that depend on its name, where some weights are equal.
pub fn weight(name: &str, dtype: DType, dims: &[u64]) -> Option<TensorData> {
    let count = usize::try_from(dims.iter().product::<u64>()).ok()?;
    let positive = name.starts_with("var");
    let digits: u64 = name.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0);
    let mut state = (digits % 7 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let items: Vec<f64> = (0..count)
        .map(|_| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let unit = (state >> 40) as f64 / f64::from(1u32 << 24);
            if positive { 0.5 + unit } else { unit - 0.5 }
        })
        .collect();
    TensorData::from_f64s(dtype, dims, &items)
}
