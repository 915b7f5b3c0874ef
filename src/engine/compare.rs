//! How far two answers of the same output lie apart.

use serde::Serialize;

use crate::ir::{DType, TensorData};

/// How much a float may differ. `None`: what suits its element type.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tolerance {
    /// Relative to the output's largest magnitude.
    pub rtol: Option<f64>,
    /// Absolute.
    pub atol: Option<f64>,
}

impl Tolerance {
    /// The largest difference that passes, for an output of this type and largest magnitude.
    pub fn allowed(&self, dtype: DType, largest: f64) -> f64 {
        let (rtol, atol) = match dtype {
            DType::Double | DType::Complex128 => (1e-7, 1e-9),
            DType::Float16 => (1e-2, 1e-3),
            DType::Bfloat16 => (4e-2, 1e-2),
            _ => (1e-4, 1e-5),
        };
        self.rtol.unwrap_or(rtol) * largest + self.atol.unwrap_or(atol)
    }
}

/// Two answers of one output, compared; over several runs, the worst of each figure.
///
/// Equality is relative to the output's own range: `max|a−b| ≤ rtol·max|a| + atol`, or four times what scaling the
/// float inputs by `1+1e-6` does to the original's answer, where that is more. NaNs and infinities must sit at the
/// same places. Integers, booleans and strings must be equal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputReport {
    /// The output's name.
    pub name: String,
    /// Element type of the original's answer.
    pub dtype: String,
    /// Dims of the original's answer.
    pub dims: Vec<u64>,
    /// The verdict.
    pub equal: bool,
    /// Why the verdict is no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Largest difference of two floats.
    pub max_abs: Option<f64>,
    /// The same, relative to the largest magnitude of the original's answer.
    pub max_rel: Option<f64>,
    /// Cosine of the angle between the two answers.
    pub cosine: Option<f64>,
    /// Share of rows of the last axis whose largest element sits at the same place.
    pub argmax_agreement: Option<f64>,
    /// Share of elements that are equal.
    pub equal_share: f64,
    /// The largest difference that would have passed.
    pub allowed: Option<f64>,
    /// All of the original's answer lies within the absolute tolerance of zero, so that "equal" says little.
    pub faint: bool,
    /// What scaling the inputs by `1+1e-6` changes, where that had to be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<f64>,
}

/// Compares the answer `b` with the original's answer `a`.
pub fn compare(
    name: &str,
    a: &TensorData,
    b: &TensorData,
    tolerance: Tolerance,
    noise: Option<f64>,
) -> OutputReport {
    let mut report = OutputReport {
        name: name.to_owned(),
        dtype: a.dtype().name().to_owned(),
        dims: a.dims().to_vec(),
        equal: false,
        why: None,
        max_abs: None,
        max_rel: None,
        cosine: None,
        argmax_agreement: None,
        equal_share: 0.0,
        allowed: None,
        faint: false,
        noise,
    };
    if a.dtype() != b.dtype() || a.dims() != b.dims() {
        report.why = Some(format!("{a:?} became {b:?}"));
        return report;
    }
    report.equal_share = equal_share(a, b);
    if let (Some(x), Some(y)) = (floats(a), floats(b)) {
        judge_floats(&mut report, a, (&x, &y), tolerance);
    } else {
        report.equal = report.equal_share >= 1.0;
        if !report.equal {
            let share = (1.0 - report.equal_share) * 100.0;
            report.why = Some(format!("{share:.3} % of the elements differ"));
        }
    }
    report
}

fn judge_floats(report: &mut OutputReport, a: &TensorData, (x, y): (&[f64], &[f64]), tolerance: Tolerance) {
    let largest = x.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs()));
    let gap = difference(x, y);
    report.max_abs = Some(gap);
    report.max_rel = Some(if gap == 0.0 { 0.0 } else { gap / largest.max(f64::MIN_POSITIVE) });
    report.cosine = Some(cosine(x, y));
    report.argmax_agreement = argmax_agreement(x, y, a.dims());
    let allowed = tolerance.allowed(a.dtype(), largest).max(4.0 * report.noise.unwrap_or(0.0));
    report.allowed = Some(allowed);
    report.faint = largest > 0.0 && largest <= tolerance.allowed(a.dtype(), 0.0);
    let at_odds = x.iter().zip(y).filter(|(a, b)| !a.is_finite() || !b.is_finite());
    let special = at_odds.filter(|&(&a, &b)| !identical(a, b)).count();
    report.equal = special == 0 && gap <= allowed;
    if special > 0 {
        report.why = Some(format!("{special} elements are NaN or infinite in one answer only"));
    } else if !report.equal {
        report.why = Some(format!("differs by {gap:.3e}, where {allowed:.3e} is allowed"));
    }
}

/// Whether two numbers are the same; two NaNs are.
#[allow(clippy::float_cmp)] // Exactly the same is meant.
fn identical(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

/// The largest difference of two answers where both are finite; `None` where they are no floats of the same dims.
pub(crate) fn noise(a: &TensorData, b: &TensorData) -> Option<f64> {
    if a.dtype() != b.dtype() || a.dims() != b.dims() {
        return None;
    }
    Some(difference(&floats(a)?, &floats(b)?))
}

fn difference(x: &[f64], y: &[f64]) -> f64 {
    let finite = x.iter().zip(y).filter(|(a, b)| a.is_finite() && b.is_finite());
    finite.fold(0.0, |m: f64, (a, b)| m.max((a - b).abs()))
}

/// The floats of a tensor; those of complex numbers one after the other.
fn floats(tensor: &TensorData) -> Option<Vec<f64>> {
    let bytes = tensor.bytes()?;
    match tensor.dtype() {
        DType::Complex64 => {
            Some(bytes.chunks_exact(4).map(|c| f64::from(<f32 as crate::ir::Element>::read(c))).collect())
        }
        DType::Complex128 => Some(bytes.chunks_exact(8).map(<f64 as crate::ir::Element>::read).collect()),
        _ => tensor.to_f64s(),
    }
}

fn equal_share(a: &TensorData, b: &TensorData) -> f64 {
    let share = |equal: usize, count: usize| if count == 0 { 1.0 } else { equal as f64 / count as f64 };
    if a.same_data(b) {
        return 1.0;
    }
    if let (Some(x), Some(y)) = (a.string_items(), b.string_items()) {
        return share(x.iter().zip(y).filter(|(x, y)| x == y).count(), x.len());
    }
    if let (Some(x), Some(y)) = (a.to_i64s(), b.to_i64s()) {
        return share(x.iter().zip(&y).filter(|(x, y)| x == y).count(), x.len());
    }
    if let (Some(x), Some(y)) = (floats(a), floats(b)) {
        return share(x.iter().zip(&y).filter(|&(&x, &y)| identical(x, y)).count(), x.len());
    }
    let width = (a.dtype().bits() as usize).div_ceil(8).max(1);
    let (x, y) = (a.bytes().map_or(&[][..], |b| b), b.bytes().map_or(&[][..], |b| b));
    let equal = x.chunks(width).zip(y.chunks(width)).filter(|(x, y)| x == y).count();
    share(equal, x.len().div_ceil(width))
}

fn cosine(x: &[f64], y: &[f64]) -> f64 {
    let finite = || x.iter().zip(y).filter(|(a, b)| a.is_finite() && b.is_finite());
    let scale = finite().fold(0.0, |m: f64, (a, b)| m.max(a.abs()).max(b.abs()));
    if scale == 0.0 {
        return 1.0;
    }
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in finite() {
        let (a, b) = (a / scale, b / scale);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    if xx == 0.0 || yy == 0.0 { 0.0 } else { (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0) }
}

fn argmax_agreement(x: &[f64], y: &[f64], dims: &[u64]) -> Option<f64> {
    let width = usize::try_from(*dims.last()?).ok().filter(|&w| w > 1)?;
    let argmax = |row: &[f64]| {
        let top = |best: (usize, f64), (i, &v): (usize, &f64)| if v > best.1 { (i, v) } else { best };
        row.iter().enumerate().fold((0, f64::NEG_INFINITY), top).0
    };
    let rows = x.len() / width;
    let agree = x.chunks(width).zip(y.chunks(width)).filter(|(a, b)| argmax(a) == argmax(b)).count();
    (rows > 0).then(|| agree as f64 / rows as f64)
}

impl OutputReport {
    /// Takes the worse of each figure of another run of the same output.
    pub(crate) fn worst(&mut self, other: Self) {
        let most = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::max);
        let least = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
        self.max_abs = most(self.max_abs, other.max_abs);
        self.max_rel = most(self.max_rel, other.max_rel);
        self.noise = most(self.noise, other.noise);
        self.allowed = least(self.allowed, other.allowed);
        self.cosine = least(self.cosine, other.cosine);
        self.argmax_agreement = least(self.argmax_agreement, other.argmax_agreement);
        self.equal_share = self.equal_share.min(other.equal_share);
        self.faint &= other.faint;
        self.equal &= other.equal;
        self.why = self.why.take().or(other.why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(a: &TensorData, b: &TensorData) -> OutputReport {
        compare("y", a, b, Tolerance::default(), None)
    }

    #[test]
    fn equality_is_relative_to_the_range_of_the_output() {
        let a = TensorData::vector(&[1000f32, 0.0, 3.0]);
        let near = run(&a, &TensorData::vector(&[1000f32, 0.09, 3.0]));
        assert!(near.equal && near.max_abs.is_some_and(|m| (m - 0.09).abs() < 1e-6), "{near:?}");
        let far = run(&a, &TensorData::vector(&[1000f32, 0.11, 3.0]));
        assert!(!far.equal && far.why.is_some(), "{far:?}");
        let wide = Tolerance { rtol: Some(1e-2), atol: None };
        assert!(compare("y", &a, &TensorData::vector(&[1000f32, 9.0, 3.0]), wide, None).equal);
    }

    #[test]
    fn an_answer_within_the_absolute_tolerance_is_called_faint() {
        let a = TensorData::vector(&[1e-6f32, 0.0]);
        let found = run(&a, &TensorData::vector(&[0f32, 1e-6]));
        assert!(found.equal && found.faint, "{found:?}");
        let a = TensorData::vector(&[1e-4f32, 0.0]);
        assert!(!run(&a, &a.clone()).faint);
    }

    #[test]
    fn the_noise_of_the_model_widens_what_is_allowed() {
        let (a, b) = (TensorData::vector(&[1f32]), TensorData::vector(&[1.01f32]));
        assert!(!run(&a, &b).equal);
        assert!(!compare("y", &a, &b, Tolerance::default(), Some(0.002)).equal);
        assert!(compare("y", &a, &b, Tolerance::default(), Some(0.003)).equal);
        assert_eq!(noise(&a, &TensorData::vector(&[1.5f32])), Some(0.5));
    }

    #[test]
    fn nan_and_infinity_must_sit_at_the_same_places() {
        let a = TensorData::vector(&[f32::NAN, f32::INFINITY, 1.0]);
        assert!(run(&a, &a.clone()).equal);
        assert!(!run(&a, &TensorData::vector(&[0f32, f32::INFINITY, 1.0])).equal);
        assert!(!run(&a, &TensorData::vector(&[f32::NAN, f32::NEG_INFINITY, 1.0])).equal);
        assert!(!run(&a, &TensorData::vector(&[f32::NAN, f32::MAX, 1.0])).equal);
    }

    #[test]
    fn integers_must_be_equal_and_types_and_dims_too() {
        let a = TensorData::vector(&[1i64, 2, 3, 4]);
        let off = run(&a, &TensorData::vector(&[1i64, 2, 3, 5]));
        assert!(!off.equal && (off.equal_share - 0.75).abs() < 1e-9, "{off:?}");
        assert!(run(&a, &a.clone()).equal);
        assert!(!run(&a, &TensorData::vector(&[1i32, 2, 3, 4])).equal);
        assert!(!run(&a, &a.with_dims(&[2, 2]).unwrap()).equal);
        let strings = |s: &'static str| TensorData::strings(&[1], vec![s.into()]).unwrap();
        assert!(run(&strings("a"), &strings("a")).equal && !run(&strings("a"), &strings("b")).equal);
    }

    #[test]
    fn cosine_and_argmax_say_what_they_mean() {
        let a = TensorData::from_slice(&[2, 2], &[1f32, 2.0, 4.0, 3.0]).unwrap();
        let b = TensorData::from_slice(&[2, 2], &[2f32, 1.0, 4.0, 3.0]).unwrap();
        let report = run(&a, &b);
        assert_eq!(report.argmax_agreement, Some(0.5));
        let expected = (2.0 + 2.0 + 16.0 + 9.0) / 30.0;
        assert!(report.cosine.is_some_and(|c| (c - expected).abs() < 1e-12), "{report:?}");
        let zero = TensorData::vector(&[0f32, 0.0]);
        assert_eq!(run(&zero, &zero.clone()).cosine, Some(1.0));
    }

    #[test]
    fn the_worst_of_several_runs_is_kept() {
        let a = TensorData::vector(&[1f32]);
        let mut report = run(&a, &a.clone());
        report.worst(run(&a, &TensorData::vector(&[2f32])));
        assert!(!report.equal && report.max_abs == Some(1.0) && report.equal_share == 0.0);
        report.worst(run(&a, &a.clone()));
        assert!(!report.equal && report.max_abs == Some(1.0));
    }
}
