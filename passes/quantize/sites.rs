//! Which constant weights are quantized, and what reads them.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::blocks::{Granularity, Layout, Scales};
use super::stays::{in_bodies, is_other, stays};

/// Why a weight stays that has other readers, or readers that see it in other ways.
pub(super) const ELSEWHERE: &str = "its weight is read by something else too";

/// Why a weight stays that is no float.
const ALREADY: &str = "its weight is quantized already";

/// A constant weight that may become integers.
pub(super) struct Site {
    /// The weight.
    pub value: ValueId,
    /// How its readers see it.
    pub view: View,
    /// What reads it.
    pub readers: Vec<Reader>,
}

/// An operator that reads a weight.
pub(super) struct Reader {
    /// The operator.
    pub node: NodeId,
    /// The slot of the weight.
    pub slot: usize,
    /// What it multiplies the weight with.
    pub input: ValueId,
    /// Where a number is added to every output channel.
    pub bias: Option<(NodeId, usize)>,
    /// What it makes, bias included.
    pub result: ValueId,
    /// Whether it is a plain product of rows and the weight, that `MatMulNBits` can stand for.
    pub plain: bool,
}

/// How an operator sees its weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct View {
    /// Its operator.
    pub kind: Kind,
    /// The axis of the output channels.
    pub axis: usize,
    /// The axis that is summed over; for a table, that of the numbers of an entry.
    pub summed: usize,
    /// Groups of channels.
    pub group: usize,
}

/// Kinds of operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `Conv`.
    Conv,
    /// `ConvTranspose`.
    Transposed,
    /// `Gemm` and `MatMul`.
    Product,
    /// `Gather`.
    Table,
}

/// Operators with weights.
pub(super) const LAYERS: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];

/// The operator that looks numbers up in a table.
pub(super) const TABLE: &str = "Gather";

/// Which weights are wanted.
pub(super) struct Wanted {
    /// The operators that read them: some of [`LAYERS`], and [`TABLE`].
    pub ops: Vec<&'static str>,
    /// The fewest elements.
    pub min_elements: u64,
}

impl Wanted {
    /// The weights of a graph, in its order; the others are counted in the summary.
    pub fn sites(
        &self,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        summary: &mut Summary,
    ) -> Result<Vec<Site>, IrError> {
        let mut sites: Vec<Site> = Vec::new();
        let mut places: BTreeMap<ValueId, usize> = BTreeMap::new();
        for node in scope.graph.order()? {
            in_bodies(summary, scope.graph.node(node));
            let (value, view, reader) = match self.look(scope, node) {
                Ok(_) if !cx.may_change(scope.graph, &[node]) => {
                    stays(summary, scope.graph, node, "the step does not select it");
                    continue;
                }
                Ok(found) => found,
                Err(skip) => {
                    leave(summary, scope.graph, [node], &skip);
                    continue;
                }
            };
            match places.get(&value) {
                Some(&at) if sites[at].view == view => sites[at].readers.push(reader),
                Some(_) => leave(summary, scope.graph, [node], &Skip::because(ELSEWHERE)),
                None => {
                    places.insert(value, sites.len());
                    sites.push(Site { value, view, readers: vec![reader] });
                }
            }
        }
        sites.retain(|site| {
            let suits = self.suits(scope.graph, site);
            suits.map_err(|skip| leave(summary, scope.graph, site.nodes(), &skip)).is_ok()
        });
        Ok(sites)
    }

    /// The weight of an operator, and how it reads it.
    fn look(&self, scope: &Scope<'_>, id: NodeId) -> Result<(ValueId, View, Reader), Skip> {
        let graph = &*scope.graph;
        let node = graph.node(id);
        let is = |op: &str| node.is(op);
        Skip::unless(!is_other(node), "the pass does not know its weights")?;
        if !self.ops.iter().any(|op| is(op)) {
            return Err(Skip::no_concern());
        }
        let table = is(TABLE);
        let (slot, other) = if table { (0, 1) } else { (1, 0) };
        let get = |slot: usize| graph.node_input(id, slot).ok_or_else(Skip::no_concern);
        let (value, input, output) =
            (get(slot)?, get(other)?, graph.node_output(id, 0).ok_or_else(Skip::no_concern)?);
        Skip::unless(!is_quantized(graph, value), ALREADY)?;
        let data = graph.constant(value);
        // A table of integers is none of weights.
        if table && data.is_none_or(|d| !d.dtype().is_float() || d.rank() != 2) {
            return Err(Skip::no_concern());
        }
        let data = data.ok_or_else(|| Skip::because("its weight is not constant"))?;
        let known = matches!(data.dtype(), DType::Float | DType::Float16);
        Skip::unless(known, "its weight is neither float32 nor float16")?;
        let view = view(node, data)?;
        let attrs = &node.attrs;
        let unit = |name: &str| attrs.float(name).is_none_or(|x| x.to_bits() == 1f32.to_bits());
        let straight = attrs.int("transA").unwrap_or(0) == 0 && unit("alpha") && unit("beta");
        let plain = view.kind == Kind::Product && data.rank() == 2 && straight;
        let channels =
            data.dims()[view.axis] * if view.kind == Kind::Transposed { view.group as u64 } else { 1 };
        let (bias, result) = match view.kind {
            _ if is("MatMul") => added(graph, output, channels).unwrap_or((None, output)),
            Kind::Table => (None, output),
            _ => {
                let bias = graph.node_input(id, 2).filter(|&b| straight && is_bias(graph, b, channels));
                (bias.map(|_| (id, 2)), output)
            }
        };
        Ok((value, view, Reader { node: id, slot, input, bias, result, plain }))
    }

    /// Whether a weight can be replaced, and is worth it.
    fn suits(&self, graph: &Graph, site: &Site) -> Result<(), Skip> {
        let alone = graph.use_count(site.value) == site.readers.len() && !graph.is_pinned(site.value);
        Skip::unless(alone, ELSEWHERE)?;
        let data = graph.constant(site.value).ok_or_else(Skip::no_concern)?;
        let enough = data.len() as u64 >= self.min_elements.max(1);
        Skip::unless(enough, "its weight has fewer elements than min-elements")?;
        let finite = data.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
        Skip::unless(finite, "its weight is not finite")?;
        Ok(())
    }
}

/// Counts the reason why a weight stays float, and tells it of everything that reads the weight.
pub(super) fn leave(
    summary: &mut Summary,
    graph: &Graph,
    readers: impl IntoIterator<Item = NodeId>,
    why: &Skip,
) {
    if *why == Skip::no_concern() {
        return;
    }
    if why.0 != ALREADY {
        readers.into_iter().for_each(|node| stays(summary, graph, node, &why.0));
    }
    summary.skip(why.0.clone());
}

/// Whether a value comes from constant integers.
fn is_quantized(graph: &Graph, value: ValueId) -> bool {
    let Some((node, _)) = graph.producer(value) else { return false };
    let through = ["Reshape", "Transpose"].iter().any(|op| graph.node(node).is(op));
    let codes = graph.node_input(node, 0);
    (graph.node(node).is("DequantizeLinear") && codes.is_some_and(|c| graph.constant(c).is_some()))
        || (through && codes.is_some_and(|c| is_quantized(graph, c)))
}

/// How an operator sees its weight.
fn view(node: &Node, data: &TensorData) -> Result<View, Skip> {
    let rank = data.rank();
    let whole = usize::try_from(node.attrs.int("group").unwrap_or(1)).unwrap_or(0);
    let (kind, axis, summed) = match &*node.op.name {
        "Conv" => (Kind::Conv, 0, 1),
        "ConvTranspose" => (Kind::Transposed, 1, 0),
        "Gather" if node.attrs.int("axis").unwrap_or(0) == 0 => (Kind::Table, 0, 1),
        "Gather" => return Err(Skip::no_concern()),
        "Gemm" if node.attrs.int("transB").unwrap_or(0) != 0 => (Kind::Product, 0, 1),
        "Gemm" => (Kind::Product, 1, 0),
        _ => (Kind::Product, rank.saturating_sub(1), rank.saturating_sub(2)),
    };
    let least = if matches!(kind, Kind::Conv | Kind::Transposed) { 3 } else { 2 };
    Skip::unless(rank >= least && !data.is_empty(), "its weight has too few dims")?;
    let first = data.dims()[0];
    let fits = whole > 0 && first.is_multiple_of(whole as u64);
    Skip::unless(fits, "its group does not divide the channels")?;
    Ok(View { kind, axis, summed, group: whole })
}

/// Whether a value is a constant of one number a channel.
fn is_bias(graph: &Graph, value: ValueId, channels: u64) -> bool {
    let fits = |data: &TensorData| data.dims().last() == Some(&channels) && data.len() as u64 == channels;
    graph.constant(value).is_some_and(|data| data.dtype().has_f64s() && fits(data))
}

/// The constant that alone is added to a product, and the sum.
pub(super) fn added(
    graph: &Graph,
    product: ValueId,
    channels: u64,
) -> Option<(Option<(NodeId, usize)>, ValueId)> {
    let [(add, Some(slot))] = graph.uses(product)[..] else { return None };
    let other = graph.node_input(add, 1 - slot.min(1))?;
    let fits = graph.node(add).is("Add") && !graph.is_pinned(product) && is_bias(graph, other, channels);
    fits.then(|| Some((Some((add, 1 - slot.min(1))), graph.node_output(add, 0)?)))?
}

impl Site {
    /// What reads it.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.readers.iter().map(|reader| reader.node)
    }

    /// How its codes are stored by `DequantizeLinear`.
    ///
    /// Blocks run along what is summed over. onnxruntime makes `MatMulNBits` of a product whose weight has them on axis 0,
    /// or scales on axis 1, so that a `Gemm` on a transposed weight gets its codes turned. The blocks of a `Conv` run over its window too, in a
    /// matrix that `Reshape` unfolds. Where one block holds a whole row, the row has one scale without blocks.
    pub fn layout(&self, dims: &[u64], granularity: Granularity, block: usize) -> Layout {
        let View { kind, axis, summed, .. } = self.view;
        let plain = |scales| Layout { dims: dims.to_vec(), axis, scales, reshape: None, transposed: false };
        let turned =
            |scales| Layout { dims: vec![dims[1], dims[0]], axis: 1, transposed: true, ..plain(scales) };
        let row: u64 = dims[1..].iter().product();
        let reach = if kind == Kind::Conv { row } else { dims[summed] };
        let turns = kind == Kind::Product && axis == 0;
        match granularity {
            Granularity::PerTensor => plain(Scales::Tensor),
            Granularity::Block if reach > block as u64 => match kind {
                _ if turns => turned(Scales::Block { axis: 0, size: block }),
                Kind::Conv if row > dims[summed] => Layout {
                    dims: vec![dims[0], row],
                    reshape: Some(dims.to_vec()),
                    ..plain(Scales::Block { axis: 1, size: block })
                },
                _ => plain(Scales::Block { axis: summed, size: block }),
            },
            _ if turns => turned(Scales::Channel),
            _ => plain(Scales::Channel),
        }
    }
}
