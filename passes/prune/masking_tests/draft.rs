//! A model that grows step by step; every step is valid, whatever its numbers are.

use proptest::prelude::*;

/// The numbers that a step is made from.
#[derive(Debug, Clone, Copy)]
pub struct Step(pub [u16; 12]);

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        any::<[u16; 12]>().prop_map(Step).boxed()
    }
}

/// Numbers of a step, taken one by one.
pub struct Numbers {
    step: Step,
    at: usize,
}

impl Numbers {
    pub fn of(step: Step) -> Self {
        Self { step, at: 0 }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let (round, place) = (self.at / self.step.0.len(), self.at % self.step.0.len());
        self.at += 1;
        (usize::from(self.step.0[place]) >> round.min(12)) % n.max(1)
    }

    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// True once in `n` times.
    pub fn rare(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// A float value. The batch is the dim `None`.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    pub name: String,
    pub dims: Vec<Option<usize>>,
    /// The axis of the channels.
    pub channel: usize,
}

impl Value {
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// How many channels there are.
    pub fn channels(&self) -> usize {
        self.dims[self.channel].unwrap_or(1)
    }

    /// Whether an axis has a known size and no channels.
    pub fn is_plain(&self, axis: usize) -> bool {
        axis != self.channel && self.dims[axis].is_some()
    }

    pub fn plain_axes(&self) -> Vec<usize> {
        (0..self.rank()).filter(|&axis| self.is_plain(axis)).collect()
    }

    /// Elements of one sample.
    pub fn elements(&self) -> usize {
        self.dims.iter().flatten().product()
    }
}

/// The model so far.
#[derive(Debug, Default)]
pub struct Draft {
    pub values: Vec<Value>,
    pub lines: Vec<String>,
    /// Initializers, as the text declares them.
    pub constants: Vec<String>,
    /// Weights that another layer may read too, with their dims.
    pub weights: Vec<(String, Vec<usize>)>,
    /// The batch, where it is a number.
    pub batch: Option<usize>,
    count: usize,
}

impl Draft {
    pub fn name(&mut self, stem: &str) -> String {
        self.count += 1;
        format!("{stem}{}", self.count)
    }

    /// A constant whose elements are drawn by its name.
    pub fn drawn(&mut self, ty: &str, stem: &str, dims: &[usize]) -> String {
        let name = self.name(stem);
        let dims = if dims.is_empty() { String::new() } else { format!("[{}]", join(dims)) };
        self.constants.push(format!("{ty}{dims} {name}"));
        name
    }

    pub fn float(&mut self, stem: &str, dims: &[usize]) -> String {
        self.drawn("float", stem, dims)
    }

    /// A weight of a layer: a new one, one that another layer has, or one that is computed from constants.
    pub fn weight(&mut self, n: &mut Numbers, dims: &[usize]) -> String {
        let same: Vec<String> =
            self.weights.iter().filter(|(_, d)| d == dims).map(|(name, _)| name.clone()).collect();
        if !same.is_empty() && n.rare(3) {
            return n.pick(&same).clone();
        }
        let rank = dims.len();
        match n.below(8) {
            0 => {
                let axis = n.below(rank);
                let (codes, scale) = (self.drawn("int8", "q", dims), self.float("var", &[dims[axis]]));
                self.line(&format!("DequantizeLinear <axis = {axis}> ({codes}, {scale})"))
            }
            1 if rank == 2 => {
                let turned = self.float("w", &[dims[1], dims[0]]);
                self.line(&format!("Transpose ({turned})"))
            }
            _ => {
                let name = self.float("w", dims);
                self.weights.push((name.clone(), dims.to_vec()));
                name
            }
        }
    }

    pub fn ints(&mut self, items: &[i64]) -> String {
        let name = self.name("i");
        self.constants.push(format!("int64[{}] {name} = {{{}}}", items.len(), join(items)));
        name
    }

    /// A constant of one number.
    pub fn number(&mut self, ty: &str, number: &str) -> String {
        let name = self.name("k");
        self.constants.push(format!("{ty} {name} = {{{number}}}"));
        name
    }

    /// Adds an operator whose result no other step reads.
    pub fn line(&mut self, call: &str) -> String {
        let name = self.name("h");
        self.lines.push(format!("{name} = {call}"));
        name
    }

    /// Adds an operator.
    pub fn add(&mut self, call: &str, dims: Vec<Option<usize>>, channel: usize) -> Value {
        let name = self.name("v");
        self.lines.push(format!("{name} = {call}"));
        let value = Value { name, dims, channel };
        self.values.push(value.clone());
        value
    }

    /// Adds an operator whose result has the dims of a value.
    pub fn like(&mut self, v: &Value, call: &str) -> bool {
        self.add(call, v.dims.clone(), v.channel);
        true
    }

    /// The value with its channels at an axis.
    pub fn turned(&mut self, v: &Value, axis: usize) -> Value {
        if v.channel == axis {
            return v.clone();
        }
        let mut perm: Vec<usize> = (0..v.rank()).filter(|&a| a != v.channel).collect();
        perm.insert(axis, v.channel);
        let dims = perm.iter().map(|&a| v.dims[a]).collect();
        let name = self.line(&format!("Transpose <perm = [{}]> ({})", join(&perm), v.name));
        Value { name, dims, channel: axis }
    }

    /// Numbers strictly between 0 and 1.
    pub fn tame(&mut self, name: &str) -> String {
        let (factor, middle) = (self.number("float", "0.4"), self.number("float", "0.5"));
        let soft = self.line(&format!("Softsign ({name})"));
        let small = self.line(&format!("Mul ({soft}, {factor})"));
        self.line(&format!("Add ({small}, {middle})"))
    }

    /// Whether something reads a value.
    pub fn is_read(&self, name: &str) -> bool {
        let reads = |line: &String| {
            let body = line.split_once('=').map_or("", |(_, body)| body);
            body.split(|c: char| !c.is_alphanumeric()).any(|word| word == name)
        };
        self.lines.iter().any(reads)
    }

    /// A type of the text syntax.
    pub fn type_of(&self, dims: &[Option<usize>]) -> String {
        let batch = self.batch.map_or("N".to_owned(), |n| n.to_string());
        let dims: Vec<String> = dims.iter().map(|d| d.map_or(batch.clone(), |n| n.to_string())).collect();
        format!("float[{}]", dims.join(","))
    }
}

pub fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
