//! What the report says of a quantized layer, and how much of what it reads and makes its codes leave out.

use crate::prelude::windows::floats;
use crate::prelude::*;

use super::codes::bounds;
use super::layer::Layer;
use super::measure::Measurement;

use super::plan::Plan;
use super::seen::Scale;
use super::stays::entry;

/// A layer that was quantized.
pub(super) struct Line {
    /// The layer.
    pub node: NodeId,
    /// What it makes.
    pub result: ValueId,
    /// What the report says of it.
    pub told: LayerReport,
    /// The ranges of its activations, in the order of the report's.
    pub ranges: Vec<Range>,
}

/// The range that the codes of a value hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    /// The value, in the model before.
    pub value: ValueId,
    /// The axis of the channels, where there are several ranges.
    axis: Option<usize>,
    /// The smallest number and the largest one, channel by channel.
    ends: Vec<(f64, f64)>,
}

impl Line {
    /// What is known of a layer before its weight is stored.
    pub fn of(graph: &Graph, layer: &Layer, plan: &Plan, found: &Measurement) -> Self {
        let (told, ranges) = (entry(graph, layer.node), Vec::new());
        let mut line = Self { node: layer.node, result: layer.result, told, ranges };
        let read = layer.activations.iter().map(|&(_, value)| (value, true));
        let made = layer.gives_integers.then_some((layer.result, false));
        for (value, read) in read.chain(made) {
            let Some(scale) = found.scales.get(&value) else { continue };
            let axis = plan.points.get(&value).and_then(|point| point.axis);
            line.ranges.push(Range::of(value, scale, axis, found.told_apart.get(&value).copied()));
            line.told.activations.push(ActivationReport {
                read,
                seen: found.shown.get(&value).copied(),
                ..activation(&graph.value(value).name, scale)
            });
        }
        line
    }
}

/// How a value is quantized.
fn activation(name: &str, scale: &Scale) -> ActivationReport {
    let (step, zero) = (f64::from(scale.grid.scale), i64::from(scale.grid.zero_point));
    let (first, last) = bounds(scale.grid.dtype);
    ActivationReport {
        tensor: name.to_owned(),
        scale: step,
        zero_point: zero,
        low: (first - zero) as f64 * step,
        high: (last - zero) as f64 * step,
        by_channel: scale.factors.is_some(),
        ..ActivationReport::default()
    }
}

impl Range {
    /// The range of a value. Where it ends at or beyond what its readers tell apart, nothing is lost outside.
    fn of(value: ValueId, scale: &Scale, axis: Option<usize>, told_apart: Option<(f64, f64)>) -> Self {
        let (first, last) = bounds(scale.grid.dtype);
        let all = [1.0];
        let factors = scale.factors.as_deref().unwrap_or(&all);
        let end = |(channel, factor): (usize, &f64)| {
            let zero = scale.zeros.as_ref().and_then(|z| z.get(channel)).unwrap_or(&scale.grid.zero_point);
            let step = f64::from(scale.grid.scale) * factor;
            let number = |code: i64| (code - i64::from(*zero)) as f64 * step;
            // What rounds to the last code is inside.
            let (low, high) = (number(first) - step / 2.0, number(last) + step / 2.0);
            match told_apart {
                Some((least, most)) => (
                    if low <= least { f64::NEG_INFINITY } else { low },
                    if high >= most { f64::INFINITY } else { high },
                ),
                None => (low, high),
            }
        };
        let ends = factors.iter().enumerate().map(end).collect();
        Self { value, axis: axis.filter(|_| scale.factors.is_some()), ends }
    }

    /// How many numbers of a tensor lie outside, and of how many.
    pub fn outside(&self, tensor: &TensorData) -> Option<(u64, u64)> {
        let items = floats(tensor)?;
        let inner = self.axis.map_or(1, |axis| tensor.dims().iter().skip(axis + 1).product::<u64>().max(1));
        let one = (self.ends.len() == 1).then(|| self.ends[0]);
        let lies_outside = |(at, &x): (usize, &f32)| {
            let (low, high) = one.unwrap_or_else(|| self.ends[at / inner as usize % self.ends.len().max(1)]);
            f64::from(x) < low || f64::from(x) > high
        };
        Some((items.iter().enumerate().filter(|&item| lies_outside(item)).count() as u64, items.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::codes::Grid;
    use super::*;

    fn outside(scale: &Scale, axis: Option<usize>, told_apart: Option<(f64, f64)>) -> (u64, u64) {
        let mut model = crate::onnx::from_text(
            "<ir_version: 8, opset_import: [\"\": 17]> g (float[2, 3] x) => (float[2, 3] y) { y = Relu (x) }",
        );
        let value = model.as_mut().unwrap().model.graph.inputs()[0];
        let range = Range::of(value, scale, axis, told_apart);
        let items = [-1.0, 0.0, 5.0, 25.6, 2.0, -0.06];
        range.outside(&TensorData::from_f64s(DType::Float, &[2, 3], &items).unwrap()).unwrap()
    }

    #[test]
    fn what_rounds_to_the_ends_is_inside() {
        let grid = Grid { dtype: DType::Uint8, scale: 0.1, zero_point: 0 };
        let plain = Scale { grid, factors: None, zeros: None };
        assert_eq!(outside(&plain, None, None), (3, 6), "-1, 25.6 and -0.06; 25.5 is the last");
        assert_eq!(outside(&plain, Some(1), None), (3, 6), "one range for all channels");
        assert_eq!(outside(&plain, None, Some((0.0, f64::INFINITY))), (1, 6), "Relu makes 0 of all below");
        assert_eq!(outside(&plain, None, Some((-3.0, 6.0))), (2, 6), "6 and 25.6 are the same");
        let wide = Grid { zero_point: 128, ..grid };
        assert_eq!(outside(&Scale { grid: wide, ..plain.clone() }, None, None), (1, 6), "-12.8 to 12.7");
        let scaled = Scale { grid: wide, factors: Some(vec![1.0, 1.0, 0.01]), zeros: None };
        assert_eq!(outside(&scaled, Some(1), None), (2, 6), "5 in the third channel: up to 0.127");
        let zeros = Some(vec![0, 128, 0]);
        let own = Scale { zeros, ..scaled };
        assert_eq!(outside(&own, Some(1), None), (4, 6), "-1 and -0.06, where zero is the first code");
    }
}
