//! What is known of one value.

use super::calc::Calc;
use super::expr::Expr;
use crate::ir::{DType, Dim, TensorData, ValueType};

/// The most elements of a tensor that are followed one by one.
pub(crate) const MAX_ELEMS: usize = 64;

/// What is known of one value.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Fact {
    #[default]
    Unknown,
    Tensor(Tensor),
    /// A sequence. Symbols that were made up stand for another size in each item.
    Sequence(Box<Fact>),
    Optional(Box<Fact>),
    /// A sparse tensor, a map, or an opaque type.
    Other(ValueType),
}

/// What is known of a dense tensor.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Tensor {
    pub(crate) dtype: Option<DType>,
    pub(crate) shape: Option<Vec<Expr>>,
    /// The elements in row-major order, where they are integers, and few.
    pub(crate) elems: Option<Vec<Expr>>,
}

impl Tensor {
    /// A tensor of which nothing is known.
    pub(crate) const UNKNOWN: Tensor = Tensor { dtype: None, shape: None, elems: None };

    /// A tensor of these dims.
    pub(crate) fn of(shape: Vec<Expr>) -> Self {
        Self { shape: Some(shape), ..Self::UNKNOWN }
    }

    /// A tensor of these elements, of rank 0 or 1.
    pub(crate) fn with_elems(rank: usize, elems: Vec<Expr>) -> Self {
        let shape = if rank == 0 { Vec::new() } else { vec![Expr::of(elems.len() as i64)] };
        Self { dtype: None, shape: Some(shape), elems: Some(elems) }
    }

    /// What constant data says.
    pub(crate) fn constant(data: &TensorData) -> Self {
        let shape = data.dims().iter().map(|&d| i64::try_from(d).map(Expr::of)).collect::<Result<_, _>>();
        Self { dtype: Some(data.dtype()), shape: shape.ok(), elems: whole_elems(data) }
    }

    pub(crate) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The number of elements, where it is known.
    fn count(&self) -> Option<i64> {
        self.shape.as_ref()?.iter().try_fold(1i64, |n, d| n.checked_mul(d.known()?))
    }

    /// Drops elements that do not fit the dims, or that the element type cannot be trusted to hold exactly.
    pub(crate) fn tidy(mut self) -> Self {
        let fits = self
            .elems
            .as_ref()
            .is_some_and(|elems| elems.len() <= MAX_ELEMS && self.count() == Some(elems.len() as i64));
        let holds = |e: &Expr| self.dtype.is_some_and(|dtype| holds(dtype, e));
        if !fits || !self.elems.as_ref().is_some_and(|elems| elems.iter().all(holds)) {
            self.elems = None;
        }
        self
    }
}

/// Whether a tensor of this type holds the integer, without wrapping or rounding.
fn holds(dtype: DType, elem: &Expr) -> bool {
    let Some(n) = elem.known() else {
        return matches!(dtype, DType::Int64 | DType::Int32 | DType::Double | DType::Float);
    };
    let (low, high) = match dtype {
        DType::Int64 => return true,
        DType::Bool => (0, 1),
        DType::Double => (-(1 << 53), 1 << 53),
        DType::Float => (-(1 << 24), 1 << 24),
        DType::Float16 => (-(1 << 11), 1 << 11),
        DType::Bfloat16 => (-(1 << 8), 1 << 8),
        DType::Uint64 => (0, i64::MAX),
        _ if dtype.is_signed_int() => (-(1 << (dtype.bits() - 1)), (1 << (dtype.bits() - 1)) - 1),
        _ if dtype.is_int() => (0, (1 << dtype.bits()) - 1),
        _ => return false,
    };
    (low..=high).contains(&n)
}

/// The elements of a small constant, where all are integers.
fn whole_elems(data: &TensorData) -> Option<Vec<Expr>> {
    if data.len() > MAX_ELEMS {
        return None;
    }
    if let Some(ints) = data.to_i64s() {
        return Some(ints.into_iter().map(Expr::of).collect());
    }
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() <= 16_777_216.0).then(|| Expr::of(x as i64));
    data.to_f64s()?.into_iter().map(whole).collect()
}

impl Fact {
    /// A declared type. `size_of` says what a named dim is, `unknown` what an unknown one at this axis is.
    pub(crate) fn declared(
        ty: &ValueType,
        size_of: &dyn Fn(&str) -> Option<Expr>,
        unknown: &dyn Fn(usize) -> Expr,
    ) -> Self {
        let dim = |(axis, dim): (usize, &Dim)| match dim {
            Dim::Known(n) => i64::try_from(*n).map_or_else(|_| unknown(axis), Expr::of),
            Dim::Symbol(name) => size_of(name).unwrap_or_else(|| unknown(axis)),
            Dim::Unknown(_) => unknown(axis),
        };
        match ty {
            ValueType::Unknown => Self::Unknown,
            ValueType::Tensor { dtype, shape } => {
                let shape = shape.as_ref().map(|dims| dims.iter().enumerate().map(dim).collect());
                Self::Tensor(Tensor { dtype: *dtype, shape, elems: None })
            }
            ValueType::Sequence(item) => Self::Sequence(Box::new(Self::declared(item, size_of, unknown))),
            ValueType::Optional(item) => Self::Optional(Box::new(Self::declared(item, size_of, unknown))),
            other => Self::Other(other.clone()),
        }
    }

    /// What constant data says.
    pub(crate) fn constant(data: &TensorData) -> Self {
        Self::Tensor(Tensor::constant(data).tidy())
    }

    pub(crate) fn tensor(&self) -> Option<&Tensor> {
        if let Self::Tensor(tensor) = self { Some(tensor) } else { None }
    }

    /// The type, as a file would declare it.
    pub(crate) fn ty(&self) -> ValueType {
        match self {
            Self::Unknown => ValueType::Unknown,
            Self::Other(ty) => ty.clone(),
            Self::Sequence(item) => ValueType::Sequence(Box::new(item.ty())),
            Self::Optional(item) => ValueType::Optional(Box::new(item.ty())),
            Self::Tensor(tensor) => {
                let dim = |e: &Expr| match (e.known(), e.symbol()) {
                    (Some(n), _) => u64::try_from(n).map_or(Dim::UNKNOWN, Dim::Known),
                    (None, Some(name)) => Dim::Symbol(name.into()),
                    _ => Dim::UNKNOWN,
                };
                let shape = tensor.shape.as_ref().map(|dims| dims.iter().map(dim).collect());
                ValueType::Tensor { dtype: tensor.dtype, shape }
            }
        }
    }

    /// What holds of a value that is one or the other. Dims that differ become unknown.
    pub(crate) fn join(&self, other: &Self, calc: &mut Calc<'_>) -> Self {
        match (self, other) {
            (Self::Tensor(a), Self::Tensor(b)) => Self::Tensor(a.join(b, calc)),
            (Self::Sequence(a), Self::Sequence(b)) => Self::Sequence(Box::new(a.join(b, calc))),
            (Self::Optional(a), Self::Optional(b)) => Self::Optional(Box::new(a.join(b, calc))),
            (Self::Other(a), Self::Other(b)) if a == b => self.clone(),
            _ => Self::Unknown,
        }
    }

    /// The same with every dim for which `test` holds made unknown, and without the elements that it holds for.
    pub(crate) fn forget(&self, calc: &mut Calc<'_>, test: &dyn Fn(&Expr) -> bool) -> Self {
        match self {
            Self::Tensor(tensor) => {
                let mut dim = |e: &Expr| if test(e) { calc.unknown() } else { e.clone() };
                let shape = tensor.shape.as_ref().map(|dims| dims.iter().map(&mut dim).collect());
                let elems = tensor.elems.clone().filter(|elems| !elems.iter().any(test));
                Self::Tensor(Tensor { dtype: tensor.dtype, shape, elems })
            }
            Self::Sequence(item) => Self::Sequence(Box::new(item.forget(calc, test))),
            Self::Optional(item) => Self::Optional(Box::new(item.forget(calc, test))),
            other => other.clone(),
        }
    }
}

impl Tensor {
    fn join(&self, other: &Self, calc: &mut Calc<'_>) -> Self {
        let shape = match (&self.shape, &other.shape) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Some(a.iter().zip(b).map(|(a, b)| if a == b { a.clone() } else { calc.unknown() }).collect())
            }
            _ => None,
        };
        let elems = self.elems.clone().filter(|_| self.elems == other.elems);
        Self { dtype: self.dtype.filter(|_| self.dtype == other.dtype), shape, elems }
    }
}
