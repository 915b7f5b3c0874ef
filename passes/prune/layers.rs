//! Layers whose weights are a matrix: what they read, what they make, and how their weights are laid out.

use ndarray::Array2;

use crate::prelude::windows::Window;
use crate::prelude::*;

/// A `Conv`, `Gemm` or `MatMul` with a constant weight.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub node: NodeId,
    pub input: ValueId,
    pub output: ValueId,
    pub weight: ValueId,
    /// The axis of the weight over which it sums.
    pub sums: usize,
    /// The axis of the output channels of the weight, and of the output.
    pub makes: (usize, usize),
    pub bias: Bias,
    kind: Kind,
}

/// Where a layer adds a number to every output channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bias {
    /// In its third slot: a constant, or nothing yet.
    Slot(Option<ValueId>),
    /// In an `Add` that alone reads its result.
    After(NodeId, usize, ValueId),
    /// Nowhere.
    None,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Conv,
    /// `[outputs, inputs]`.
    Rows,
    /// `[inputs, outputs]`.
    Columns,
}

/// The layers of a graph, in topological order.
pub(super) fn layers(graph: &Graph) -> anyhow::Result<Vec<Layer>> {
    Ok(graph.order()?.into_iter().filter_map(|node| Layer::of(graph, node)).collect())
}

/// Neighbours that one run over the samples is for: so many at most, and few enough for the numbers that are kept of each to
/// be held, but for one layer, which always is.
pub(super) fn turns(
    layers: &[Layer],
    (most, held): (usize, usize),
    numbers: impl Fn(&Layer) -> usize,
) -> Vec<&[Layer]> {
    let (mut turns, mut start, mut sum) = (Vec::new(), 0, 0usize);
    for (at, layer) in layers.iter().enumerate() {
        let more = numbers(layer);
        if at > start && (at - start == most || sum.saturating_add(more) > held) {
            turns.push(&layers[start..at]);
            (start, sum) = (at, 0);
        }
        sum = sum.saturating_add(more);
    }
    turns.extend(layers.get(start..).filter(|rest| !rest.is_empty()));
    turns
}

impl Layer {
    /// The layer that a node is.
    pub fn of(graph: &Graph, id: NodeId) -> Option<Self> {
        let node = graph.node(id);
        let (input, weight) = (graph.node_input(id, 0)?, graph.node_input(id, 1)?);
        let output = graph.node_output(id, 0)?;
        let data = graph.constant(weight).filter(|d| d.dtype().has_f64s() && !d.is_empty())?;
        if graph.constant(input).is_some() {
            return None;
        }
        let one = |name: &str| node.attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        let (kind, sums, makes) = if node.is("Conv") && data.rank() >= 3 {
            (Kind::Conv, 1, (0, 1))
        } else if node.is("Gemm") && node.attrs.int("transA").unwrap_or(0) == 0 && one("alpha") && one("beta")
        {
            let turned = node.attrs.int("transB").unwrap_or(0) != 0;
            let kind = if turned { Kind::Rows } else { Kind::Columns };
            (kind, usize::from(turned), (usize::from(!turned), 1))
        } else if node.is("MatMul") && data.rank() == 2 {
            (Kind::Columns, 0, (1, usize::MAX))
        } else {
            return None;
        };
        let outputs = *data.dims().get(makes.0)?;
        let bias = bias(graph, id, output, outputs);
        Some(Self { node: id, input, output, weight, sums, makes, bias, kind })
    }

    /// The axis of the output channels of its output, where its rank is known.
    pub fn output_axis(&self, facts: &Facts) -> Option<Axis> {
        let axis =
            if self.makes.1 == usize::MAX { facts.rank(self.output)?.checked_sub(1)? } else { self.makes.1 };
        Some(Axis { value: self.output, axis })
    }

    /// How it looks at its input.
    pub fn window(&self, graph: &Graph) -> Option<Window> {
        let dims = graph.constant(self.weight)?.dims();
        match self.kind {
            Kind::Conv => Window::of_conv(graph.node(self.node), dims.get(2..)?, dims[1] as usize),
            _ => Some(Window::of_rows(*dims.get(self.sums)? as usize)),
        }
    }

    /// The numbers of its output at some places, all channels of a place one after the other.
    pub fn answers(&self, (items, dims): (&[f32], &[u64]), places: impl Iterator<Item = usize>) -> Vec<f32> {
        if self.kind != Kind::Conv {
            let width = dims.last().map_or(0, |&d| d as usize);
            return places
                .flat_map(|at| items.get(at * width..(at + 1) * width).unwrap_or_default())
                .copied()
                .collect();
        }
        let plane = dims.get(2..).unwrap_or_default().iter().product::<u64>() as usize;
        let channels = dims.get(1).map_or(0, |&d| d as usize);
        let at = |place: usize, channel: usize| (place / plane * channels + channel) * plane + place % plane;
        let row = |place: usize| (0..channels).map(move |channel| (place, channel));
        places
            .flat_map(row)
            .map(|(place, channel)| items.get(at(place, channel)).copied().unwrap_or(0.0))
            .collect()
    }

    /// Whether it is a convolution.
    pub fn is_conv(&self) -> bool {
        self.kind == Kind::Conv
    }

    /// The dims of the kernel of its weight; none for a matrix.
    pub fn kernel<'d>(&self, data: &'d TensorData) -> &'d [u64] {
        if self.is_conv() { data.dims().get(2..).unwrap_or_default() } else { &[] }
    }

    /// How many neighbours of a row of the matrix belong to one input channel.
    pub fn each(&self, data: &TensorData) -> usize {
        match self.kind {
            Kind::Conv => self.kernel(data).iter().product::<u64>() as usize,
            _ => 1,
        }
    }

    /// Its weights as a matrix: a row for every output channel, with the inputs of its group.
    pub fn matrix(&self, data: &TensorData) -> Option<Array2<f64>> {
        let (dims, items) = (data.dims(), data.to_f64s()?);
        let outputs = *dims.get(self.makes.0)? as usize;
        match self.kind {
            Kind::Columns => {
                let columns = Array2::from_shape_vec((dims[0] as usize, outputs), items).ok()?;
                Some(columns.reversed_axes().as_standard_layout().into_owned())
            }
            _ => Array2::from_shape_vec((outputs, items.len() / outputs.max(1)), items).ok(),
        }
    }

    /// The inverse of [`Layer::matrix`], with the type and dims of a tensor.
    pub fn tensor(&self, matrix: &Array2<f64>, like: &TensorData) -> Option<TensorData> {
        TensorData::from_f64s(like.dtype(), like.dims(), &self.items(matrix))
    }

    /// The weight of a layer of the same kind, with other channels and another kernel.
    pub fn alike(&self, matrix: &Array2<f64>, kernel: &[u64], dtype: DType) -> Option<TensorData> {
        let cells = kernel.iter().product::<u64>().max(1);
        let (makes, sums) = (matrix.nrows() as u64, matrix.ncols() as u64 / cells);
        let dims = match self.kind {
            Kind::Columns => vec![sums, makes],
            _ => [&[makes, sums], kernel].concat(),
        };
        TensorData::from_f64s(dtype, &dims, &self.items(matrix))
    }

    fn items(&self, matrix: &Array2<f64>) -> Vec<f64> {
        match self.kind {
            Kind::Columns => matrix.t().iter().copied().collect(),
            _ => matrix.iter().copied().collect(),
        }
    }

    /// Adds a number to every output channel, where it has a place for that. Its weight is of that type.
    pub fn add(&self, scope: &mut Scope<'_>, shift: &[f64], dtype: DType) -> anyhow::Result<()> {
        match self.bias {
            Bias::Slot(Some(value)) | Bias::After(.., value) => {
                let old = scope.graph.constant(value).and_then(|old| Some((old.clone(), old.to_f64s()?)));
                if let Some((old, items)) = old {
                    let items: Vec<f64> = items.iter().zip(shift).map(|(a, b)| a + b).collect();
                    if let Some(data) = TensorData::from_f64s(old.dtype(), old.dims(), &items) {
                        scope.set_constant_and_type(value, data);
                    }
                }
            }
            Bias::Slot(None) => {
                let name = format!("{}_bias", scope.graph.value(self.weight).name);
                if let Some(data) = TensorData::from_f64s(dtype, &[shift.len() as u64], shift) {
                    let value = scope.add_constant(&name, data)?;
                    scope.feed(self.node, 2, value)?;
                }
            }
            Bias::None => {}
        }
        Ok(())
    }
}

/// Where a number can be added to every output channel, of which there are so many.
fn bias(graph: &Graph, id: NodeId, output: ValueId, outputs: u64) -> Bias {
    let own = |value: ValueId| {
        let data = graph.constant(value).filter(|d| d.dims().iter().filter(|&&n| n > 1).count() <= 1);
        data.is_some_and(|d| {
            d.len() as u64 == outputs && d.dtype().has_f64s() && d.dims().last() == Some(&outputs)
        }) && graph.use_count(value) == 1
    };
    if !graph.node(id).is("MatMul") {
        return match graph.node_input(id, 2) {
            None => Bias::Slot(None),
            Some(value) if own(value) => Bias::Slot(Some(value)),
            Some(_) => Bias::None,
        };
    }
    let [(reader, Some(slot))] = graph.uses(output)[..] else { return Bias::None };
    match graph.node_input(reader, 1 - slot.min(1)) {
        Some(value) if graph.node(reader).is("Add") && own(value) && !graph.is_pinned(output) => {
            Bias::After(reader, 1 - slot.min(1), value)
        }
        _ => Bias::None,
    }
}
