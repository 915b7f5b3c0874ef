//! Operators that treat elements one by one.

use super::draft::{Draft, Numbers, Value};

/// Functions of any number.
const PLAIN: &[&str] = &[
    "Abs",
    "Asinh",
    "Atan",
    "Ceil",
    "Celu",
    "Cos",
    "Elu",
    "Erf",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Round",
    "Selu",
    "Shrink <bias = 0.2, lambd = 0.3>",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Swish",
    "Tanh",
    "ThresholdedRelu",
];

/// Functions of numbers between 0 and 1.
const OF_UNIT: &[&str] =
    &["Acos", "Asin", "Atanh", "Cosh", "Exp", "Log", "Reciprocal", "Sinh", "Sqrt", "Tan"];

pub fn unary(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let at = n.below(PLAIN.len() + OF_UNIT.len() + 1);
    if let Some(op) = PLAIN.get(at) {
        return draft.like(v, &call(op, &[&v.name]));
    }
    let unit = draft.tame(&v.name);
    if let Some(op) = OF_UNIT.get(at - PLAIN.len()) {
        return draft.like(v, &call(op, &[&unit]));
    }
    let one = draft.number("float", "1");
    let above = draft.line(&format!("Add ({unit}, {one})"));
    draft.like(v, &format!("Acosh ({above})"))
}

/// A call in the text syntax, where the operator may have attributes.
fn call(op: &str, inputs: &[&str]) -> String {
    format!("{op} ({})", inputs.join(", "))
}

/// Dims of a constant that broadcasts with a value; most often it has the channels.
pub fn beside(n: &mut Numbers, v: &Value) -> Vec<usize> {
    let rank = if n.rare(4) { n.below(v.rank() + 1) } else { v.rank() };
    let of = |axis: usize, n: &mut Numbers| match v.dims[axis] {
        Some(size) if axis == v.channel && !n.rare(6) => size,
        Some(size) if axis != v.channel && n.rare(3) => size,
        _ => 1,
    };
    (v.rank() - rank..v.rank()).map(|axis| of(axis, n)).collect()
}

const BINARY: &[&str] =
    &["Add", "Div", "Max", "Mean", "Min", "Mod <fmod = 1>", "Mul", "PRelu", "Pow", "Sub", "Sum", "Add"];

/// A value and a constant.
pub fn with_constant(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let op = *n.pick(BINARY);
    let dims = beside(n, v);
    let divides = op == "Div" || op.starts_with("Mod");
    let constant = draft.float(if divides { "var" } else { "c" }, &dims);
    let x = if op == "Pow" { draft.tame(&v.name) } else { v.name.clone() };
    let turns = !divides && !matches!(op, "Pow" | "PRelu") && n.coin();
    draft.like(v, &call(op, &if turns { [&*constant, &*x] } else { [&*x, &*constant] }))
}

/// Another value of the same dims, or the same one.
fn partner(draft: &Draft, n: &mut Numbers, v: &Value) -> Value {
    let fits = |w: &&Value| w.dims == v.dims && w.channel == v.channel;
    let others: Vec<Value> = draft.values.iter().rev().filter(fits).take(5).cloned().collect();
    n.pick(&others).clone()
}

/// Two values.
pub fn binary(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let other = partner(draft, n, v).name;
    let op = *n.pick(BINARY);
    match op {
        "Div" | "Pow" | "Mod <fmod = 1>" => {
            let (a, b) = (draft.tame(&v.name), draft.tame(&other));
            draft.like(v, &call(op, &[&a, &b]))
        }
        "Max" | "Mean" | "Min" | "Sum" => {
            let third = partner(draft, n, v).name;
            draft.like(v, &call(op, &[&v.name, &other, &third]))
        }
        _ => draft.like(v, &call(op, &[&v.name, &other])),
    }
}

/// The channels' means over everything else weigh the channels.
pub fn gate(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let axes: Vec<usize> = v.plain_axes();
    let list = draft.ints(&axes.iter().map(|&a| a as i64).collect::<Vec<_>>());
    if axes.is_empty() {
        return false;
    }
    let mean = draft.line(&format!("ReduceMean <keepdims = 1> ({}, {list})", v.name));
    let mean = if v.channel == 1 && v.rank() > 2 && n.coin() {
        let ones = vec![1; v.rank() - 2];
        let (c, inner) = (v.channels(), 2 + n.below(3));
        let down = draft.weight(n, &[&[inner, c], &ones[..]].concat());
        let up = draft.weight(n, &[&[c, inner], &ones[..]].concat());
        let narrow = draft.line(&format!("Conv ({mean}, {down})"));
        draft.line(&format!("Conv ({narrow}, {up})"))
    } else {
        mean
    };
    let gate = draft.line(&format!("Sigmoid ({mean})"));
    draft.like(v, &format!("Mul ({}, {gate})", v.name))
}

/// Comparisons choose between values.
pub fn logic(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let bound = draft.float("c", &beside(n, v));
    let compare = *n.pick(&["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]);
    let (x, bound) = if compare == "Equal" {
        (draft.line(&format!("Round ({})", v.name)), draft.line(&format!("Round ({bound})")))
    } else {
        (v.name.clone(), bound)
    };
    let first = draft.line(&format!("{compare} ({x}, {bound})"));
    let second = match n.below(4) {
        0 => draft.line(&format!("IsNaN ({x})")),
        1 => draft.line(&format!("IsInf ({x})")),
        2 => draft.drawn("bool", "b", &beside(n, v)),
        _ => draft.line(&format!("Not ({first})")),
    };
    let op = *n.pick(&["And", "Or", "Xor"]);
    let both = draft.line(&format!("{op} ({first}, {second})"));
    let other = if n.coin() { partner(draft, n, v).name } else { draft.float("c", &beside(n, v)) };
    let pair = if n.coin() { [&v.name, &other] } else { [&other, &v.name] };
    draft.like(v, &format!("Where ({both}, {}, {})", pair[0], pair[1]))
}

/// Bits of small integers.
pub fn bits(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let most = draft.number("float", "30");
    let size = draft.line(&format!("Abs ({})", v.name));
    let size = draft.line(&format!("Min ({size}, {most})"));
    let whole = draft.line(&format!("Cast <to = 2> ({size})"));
    let other = draft.drawn("uint8", "small", &beside(n, v));
    let made = match n.below(5) {
        0 => format!("BitwiseNot ({whole})"),
        1 => format!("BitShift <direction = \"{}\"> ({whole}, {other})", n.pick(&["LEFT", "RIGHT"])),
        2 => format!("BitwiseAnd ({whole}, {other})"),
        3 => format!("BitwiseOr ({whole}, {other})"),
        _ => format!("BitwiseXor ({whole}, {other})"),
    };
    let made = draft.line(&made);
    let back = draft.line(&format!("Cast <to = 1> ({made})"));
    let factor = draft.number("float", "0.05");
    draft.like(v, &format!("Mul ({back}, {factor})"))
}

/// Other element types, bounds, and nothing at all.
pub fn plain(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    match n.below(4) {
        0 => {
            let (low, high) = (draft.number("float", "-0.8"), draft.number("float", "0.9"));
            draft.like(v, &format!("Clip ({}, {low}, {high})", v.name))
        }
        1 => draft.like(v, &format!("Dropout ({})", v.name)),
        2 => {
            let wide = draft.line(&format!("Cast <to = {}> ({})", n.pick(&[10, 11]), v.name));
            draft.like(v, &format!("Cast <to = 1> ({wide})"))
        }
        _ => {
            let (wide, narrow) = (draft.number("double", "1"), draft.number("float", "1"));
            let wide = draft.line(&format!("CastLike ({}, {wide})", v.name));
            draft.like(v, &format!("CastLike ({wide}, {narrow})"))
        }
    }
}

/// A number for every channel, to and from integers.
pub fn quantize(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let dims = if n.rare(3) { vec![] } else { vec![v.channels()] };
    let (scale, zero) = (draft.float("var", &dims), draft.drawn("int8", "small", &dims));
    let axis = format!("<axis = {}>", v.channel as i64 - if n.coin() { v.rank() as i64 } else { 0 });
    let codes = draft.line(&format!("QuantizeLinear {axis} ({}, {scale}, {zero})", v.name));
    draft.like(v, &format!("DequantizeLinear {axis} ({codes}, {scale}, {zero})"))
}

/// A body reads a value: nothing of it may go.
pub fn captured(draft: &mut Draft, n: &mut Numbers, v: &Value) -> bool {
    let yes = draft.number("bool", &n.below(2).to_string());
    let (p, q) = (draft.name("p"), draft.name("q"));
    draft.like(
        v,
        &format!(
            "If ({yes}) <then_branch = t () => ({p}) {{ {p} = Neg ({}) }}, else_branch = e () => ({q}) {{ {q} = Tanh ({}) }}>",
            v.name, v.name
        ),
    )
}
