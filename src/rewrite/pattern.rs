//! What a rule looks for: a small tree of operators over values, named by typed tokens.

/// A part of a pattern that can stand in an input slot.
pub trait Token: Copy {
    /// Index of the part in its pattern.
    fn index(self) -> usize;
}

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident),*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub(super) usize);
        impl Token for $name {
            fn index(self) -> usize { self.0 }
        }
    )*};
}
tokens! {
    /// Any value.
    AnyVar,
    /// A constant: it has data, and no caller can override it.
    ConstVar,
    /// Any value, or an absent optional input.
    OptVar,
    /// An operator; as an input it stands for the operator's first output.
    OpVar,
    /// One of two parts.
    EitherVar
}

/// The input slots of an operator in a pattern: a tuple of tokens.
pub trait Inputs {
    /// Indices of the parts, in slot order.
    fn indices(self) -> Vec<usize>;
}

impl<T: Token> Inputs for T {
    fn indices(self) -> Vec<usize> {
        vec![self.index()]
    }
}

macro_rules! tuples {
    ($(($($t:ident $i:tt),*)),*) => {$(
        impl<$($t: Token),*> Inputs for ($($t,)*) {
            fn indices(self) -> Vec<usize> { vec![$(self.$i.index()),*] }
        }
    )*};
}
tuples! { (A 0), (A 0, B 1), (A 0, B 1, C 2), (A 0, B 1, C 2, D 3), (A 0, B 1, C 2, D 3, E 4) }

#[derive(Debug, Clone)]
pub(super) enum Part {
    Any,
    Constant,
    Optional,
    Op(OpPart),
    Either(usize, usize),
}

#[derive(Debug, Clone)]
pub(super) struct OpPart {
    pub names: Vec<&'static str>,
    /// `None`: any inputs at all.
    pub inputs: Option<Vec<usize>>,
    pub commutative: bool,
    /// Others may read its outputs: the operator then stays where it is.
    pub shared: bool,
}

/// Builds a pattern. The operator built last is the root: where it stands, the rule is tried.
#[derive(Debug, Default)]
pub struct PatternBuilder {
    pub(super) parts: Vec<Part>,
}

impl PatternBuilder {
    fn add(&mut self, part: Part) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    /// Any value. The same token twice is the same value.
    pub fn any(&mut self) -> AnyVar {
        AnyVar(self.add(Part::Any))
    }

    /// A constant.
    pub fn constant(&mut self) -> ConstVar {
        ConstVar(self.add(Part::Constant))
    }

    /// An optional input.
    pub fn optional(&mut self) -> OptVar {
        OptVar(self.add(Part::Optional))
    }

    /// An operator of the standard over these inputs. Slots that the pattern does not list must be absent.
    pub fn op(&mut self, name: &'static str, inputs: impl Inputs) -> OpVar {
        self.one_of(&[name], inputs)
    }

    /// One of several operators of the standard, over the same inputs.
    pub fn one_of(&mut self, names: &[&'static str], inputs: impl Inputs) -> OpVar {
        let inputs = Some(inputs.indices());
        OpVar(self.add(Part::Op(OpPart { names: names.to_vec(), inputs, commutative: false, shared: false })))
    }

    /// One of several operators with two inputs, matched in either order; for an operator that does not commute the
    /// rule reads the order off the match.
    pub fn commutative(&mut self, names: &[&'static str], a: impl Token, b: impl Token) -> OpVar {
        let inputs = Some(vec![a.index(), b.index()]);
        OpVar(self.add(Part::Op(OpPart { names: names.to_vec(), inputs, commutative: true, shared: false })))
    }

    /// An operator with whatever inputs it has.
    pub fn op_with_any_inputs(&mut self, names: &[&'static str]) -> OpVar {
        OpVar(self.add(Part::Op(OpPart {
            names: names.to_vec(),
            inputs: None,
            commutative: false,
            shared: false,
        })))
    }

    /// The same operator, which stays and whose outputs others may read too.
    pub fn shared(&mut self, op: OpVar) -> OpVar {
        if let Some(Part::Op(part)) = self.parts.get_mut(op.0) {
            part.shared = true;
        }
        op
    }

    /// The first part where it matches, else the second.
    pub fn either(&mut self, first: impl Token, second: impl Token) -> EitherVar {
        EitherVar(self.add(Part::Either(first.index(), second.index())))
    }

    /// Index and operators of the root.
    pub(super) fn root(&self) -> Option<(usize, &OpPart)> {
        self.parts.iter().enumerate().rev().find_map(|(at, p)| match p {
            Part::Op(op) => Some((at, op)),
            _ => None,
        })
    }
}
