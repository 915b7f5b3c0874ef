//! What operators say about the sizes of their inputs and results, after channels are gone.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::cut::Cut;

/// A node that is adjusted.
struct Site<'s> {
    cut: &'s Cut,
    node: NodeId,
    inputs: Slots,
    outputs: Slots,
}

/// Lets a node speak of the sizes that are left.
pub(super) fn adjust(cut: &Cut, scope: &mut Scope<'_>, node: NodeId) -> anyhow::Result<()> {
    let outputs = scope.graph.node_outputs(node);
    let touched = scope.graph.node_inputs(node).iter().chain(&outputs).flatten().any(|&v| cut.touches(v));
    let follows = say_anew(cut, scope, node, touched)?;
    if !touched && !follows {
        return Ok(());
    }
    let site = Site { cut, node, inputs: scope.graph.node_inputs(node), outputs };
    let op = scope.graph.node(node).op.name.clone();
    match &*op {
        "Attention" => site.attention(scope),
        "Conv" | "ConvTranspose" => site.groups(scope),
        "Expand" => site.sizes(scope, 1),
        "Gather" => site.indices(scope),
        "GroupNormalization" => site.normalized_groups(scope),
        "Reshape" => site.shape(scope),
        "Resize" => site.sizes(scope, 3),
        "Slice" => site.bounds(scope),
        "Split" => site.parts(scope),
        _ => Ok(()),
    }
}

/// Puts what a node is told of sizes and places into constants, where it was computed: of nodes that lose channels, and
/// of those which sizes that change would tell something else. Whether there are such sizes.
fn say_anew(cut: &Cut, scope: &mut Scope<'_>, node: NodeId, touched: bool) -> anyhow::Result<bool> {
    let mut any = false;
    // What loses channels gets its whole shape later.
    let touched = touched && !scope.graph.node(node).is("Reshape");
    for &slot in channels::said_in(scope.graph.node(node)) {
        let value = scope.graph.node_input(node, slot).filter(|&v| scope.graph.constant(v).is_none());
        let Some(value) = value else { continue };
        let follows = follows(cut, scope.graph, value);
        any |= follows;
        if !touched && !follows {
            continue;
        }
        if let Some(known) = scope.facts.value_i64s(value) {
            let data = integers(scope, value, &known)?;
            let name = scope.graph.value(value).name.clone();
            scope.set_parameter((node, slot), &name, data)?;
        }
    }
    Ok(any)
}

/// Whether a value is computed from sizes that change.
fn follows(cut: &Cut, graph: &Graph, value: ValueId) -> bool {
    let (mut open, mut seen) = (vec![value], BTreeSet::new());
    while let Some(value) = open.pop() {
        let Some((id, _)) = graph.producer(value).filter(|_| seen.insert(value)) else { continue };
        let node = graph.node(id);
        let inputs = graph.node_inputs(id).into_iter().flatten();
        if !node.is("Shape") && !node.is("Size") {
            open.extend(inputs);
        } else if inputs.into_iter().any(|x| cut.touches(x)) {
            return true;
        }
    }
    false
}

/// Integers of the type and the rank that a value has.
fn integers(scope: &Scope<'_>, value: ValueId, numbers: &[i64]) -> anyhow::Result<TensorData> {
    let dims: &[u64] = if scope.facts.rank(value) == Some(0) { &[] } else { &[numbers.len() as u64] };
    if scope.facts.dtype(value) == Some(DType::Int32) {
        let narrow: Vec<i32> =
            numbers.iter().map(|&n| n.clamp(i32::MIN.into(), i32::MAX.into()) as i32).collect();
        return Ok(TensorData::from_slice(dims, &narrow)?);
    }
    Ok(TensorData::from_slice(dims, numbers)?)
}

impl Site<'_> {
    fn input(&self, slot: usize) -> anyhow::Result<ValueId> {
        self.inputs.get(slot).copied().flatten().ok_or_else(|| anyhow::anyhow!("an input is missing"))
    }

    fn output(&self, slot: usize) -> anyhow::Result<ValueId> {
        self.outputs.get(slot).copied().flatten().ok_or_else(|| anyhow::anyhow!("an output is missing"))
    }

    /// The size of an axis before and after.
    fn size(&self, scope: &Scope<'_>, value: ValueId, axis: usize) -> Option<(u64, u64)> {
        let before = u64::try_from(scope.facts.dim(value, axis)?.known()?).ok()?;
        Some((before, self.cut.kept_before(Axis { value, axis }, before)))
    }

    fn changed(&self, scope: &Scope<'_>, value: ValueId, axis: usize) -> Option<(u64, u64)> {
        self.size(scope, value, axis).filter(|(before, after)| before != after)
    }

    fn ints(&self, scope: &Scope<'_>, slot: usize) -> Option<Vec<i64>> {
        scope.graph.constant(self.input(slot).ok()?)?.to_i64s()
    }

    fn set(&self, scope: &mut Scope<'_>, slot: usize, ints: &[i64]) -> anyhow::Result<()> {
        let old = self.input(slot)?;
        let (name, data) = (scope.graph.value(old).name.clone(), integers(scope, old, ints)?);
        Ok(scope.set_parameter((self.node, slot), &name, data)?)
    }

    /// The number of groups where whole groups went.
    fn groups(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let node = scope.graph.node(self.node);
        let (transposed, groups) = (node.is("ConvTranspose"), node.attrs.int("group").unwrap_or(1) as u64);
        let (x, w) = (self.input(0)?, self.input(1)?);
        let channels = self.size(scope, x, 1);
        let per_group = if transposed {
            self.size(scope, w, 0).map(|(all, _)| all / groups.max(1))
        } else {
            self.size(scope, w, 1).map(|(before, _)| before)
        };
        let Some(((_, channels), per_group)) = channels.zip(per_group) else { return Ok(()) };
        if groups > 1 && goes_by_group(groups, per_group) {
            let left = channels / per_group.max(1);
            scope.set_attr(self.node, "group", left as i64);
        }
        Ok(())
    }

    fn normalized_groups(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let groups = scope.graph.node(self.node).attrs.int("num_groups").unwrap_or(1) as u64;
        if let Some((before, after)) = self.changed(scope, self.input(0)?, 1) {
            scope.set_attr(self.node, "num_groups", (after * groups / before) as i64);
        }
        Ok(())
    }

    fn attention(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let Some((before, after)) = self.changed(scope, self.input(0)?, 2) else { return Ok(()) };
        for name in ["q_num_heads", "kv_num_heads"] {
            let heads = scope.graph.node(self.node).attrs.int(name).unwrap_or(1) as u64;
            scope.set_attr(self.node, name, (heads * after / before) as i64);
        }
        Ok(())
    }

    /// The shape that a Reshape asks for: sizes that changed, where it names them; a new one where it was computed.
    fn shape(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let (x, y) = (self.input(0)?, self.output(0)?);
        let rank = scope.facts.rank(y).unwrap_or(0);
        let new = |axis: usize| self.size(scope, y, axis).map(|(_, after)| after as i64);
        let Some(old) = self.ints(scope, 1) else {
            return self.computed_shape(scope, (x, y), &(0..rank).map(new).collect::<Vec<_>>());
        };
        let copies = scope.graph.node(self.node).attrs.int("allowzero").unwrap_or(0) == 0;
        // A dim is copied by its place: what it is a part of may lose other indices than the dim there.
        let stays = |axis: usize| {
            let after = |value: ValueId| self.size(scope, value, axis).map(|(_, after)| after);
            !copies || after(x) == after(y)
        };
        let entry = |(axis, &old): (usize, &i64)| match old {
            1.. => new(axis).unwrap_or(old),
            0 if !stays(axis) => new(axis).unwrap_or(old),
            _ => old,
        };
        let shape: Vec<i64> = old.iter().enumerate().map(entry).collect();
        if shape == old { Ok(()) } else { self.set(scope, 1, &shape) }
    }

    /// The shape that was computed: a constant, where at most one dim is neither known nor copied; else the same parts
    /// joined, with other constants.
    fn computed_shape(
        &self,
        scope: &mut Scope<'_>,
        (x, y): (ValueId, ValueId),
        new: &[Option<i64>],
    ) -> anyhow::Result<()> {
        let entry = |(axis, size): (usize, &Option<i64>)| match size {
            Some(size) => *size,
            None if scope.facts.same_dim((x, axis), (y, axis)) => 0,
            None => -1,
        };
        let shape: Vec<i64> = new.iter().enumerate().map(entry).collect();
        if shape.iter().filter(|&&n| n == -1).count() <= 1 {
            scope.set_attr(self.node, "allowzero", 0);
            return self.set(scope, 1, &shape);
        }
        let old = self.input(1)?;
        let name = scope.graph.value(old).name.clone();
        let parts = channels::joined_shape(scope.graph, scope.facts, old);
        let parts = parts.ok_or_else(|| anyhow::anyhow!("the shape `{name}` cannot be said"))?;
        let (mut at, mut inputs) = (0, Vec::new());
        for (value, count) in parts {
            let wanted = new.get(at..at + count).unwrap_or_default();
            at += count;
            let known = scope.graph.constant(value).and_then(TensorData::to_i64s);
            let said = known.map(|known| {
                let entry = |(&old, new): (&i64, &Option<i64>)| new.filter(|_| old > 0).unwrap_or(old);
                known.iter().zip(wanted).map(entry).collect::<Vec<i64>>()
            });
            inputs.push(Some(match said {
                Some(said) => scope.add_constant(&name, TensorData::vector(&said))?,
                None => value,
            }));
        }
        let (op, attrs) = (OpName::onnx("Concat"), Attrs::new().with("axis", 0i64));
        let new = NewOp { pass: self.cut.pass, stands_for: &[self.node], op, attrs, inputs: &inputs };
        let joined = scope.append(new, &name)?;
        Ok(scope.feed(self.node, 1, joined)?)
    }

    /// Sizes of the result in a constant.
    fn sizes(&self, scope: &mut Scope<'_>, slot: usize) -> anyhow::Result<()> {
        let y = self.output(0)?;
        let Some(mut sizes) = self.ints(scope, slot).filter(|sizes| !sizes.is_empty()) else { return Ok(()) };
        let rank = scope.facts.rank(y).unwrap_or(0);
        let axes: Vec<usize> = match scope.graph.node(self.node).attrs.ints("axes").filter(|_| slot == 3) {
            Some(axes) => axes.iter().map(|&a| if a < 0 { a + rank as i64 } else { a } as usize).collect(),
            None => (rank.saturating_sub(sizes.len())..rank).collect(),
        };
        let mut differs = false;
        for (axis, entry) in axes.into_iter().zip(&mut sizes) {
            if let Some((before, after)) = self.changed(scope, y, axis).filter(|(b, _)| *b as i64 == *entry) {
                (*entry, differs) = (after as i64, before != after);
            }
        }
        if differs { self.set(scope, slot, &sizes) } else { Ok(()) }
    }

    fn parts(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let x = self.input(0)?;
        let rank = scope.facts.rank(x).unwrap_or(0) as i64;
        let axis = scope.graph.node(self.node).attrs.int("axis").unwrap_or(0);
        let axis = if axis < 0 { axis + rank } else { axis } as usize;
        if self.changed(scope, x, axis).is_none() {
            return Ok(());
        }
        let size = |value: &Option<ValueId>| self.size(scope, (*value)?, axis).map(|(_, after)| after as i64);
        let sizes: Option<Vec<i64>> = self.outputs.iter().map(size).collect();
        let sizes = sizes.ok_or_else(|| anyhow::anyhow!("a part of a Split has no known size"))?;
        self.set(scope, 1, &sizes)
    }

    /// Bounds of the axes that lose indices, counted from the front.
    fn bounds(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let x = self.input(0)?;
        let rank = scope.facts.rank(x).unwrap_or(0) as i64;
        let (Some(mut starts), Some(mut ends)) = (self.ints(scope, 1), self.ints(scope, 2)) else {
            return Ok(());
        };
        let axes = self.ints(scope, 3).unwrap_or_else(|| (0..starts.len() as i64).collect());
        let mut differs = false;
        for (at, axis) in axes.into_iter().enumerate() {
            let axis = if axis < 0 { axis + rank } else { axis } as usize;
            let Some((before, _)) = self.changed(scope, x, axis) else { continue };
            for bound in [starts.get_mut(at), ends.get_mut(at)].into_iter().flatten() {
                let front = if *bound < 0 { *bound + before as i64 } else { *bound }.clamp(0, before as i64);
                *bound = self.cut.kept_before(Axis { value: x, axis }, front as u64) as i64;
            }
            differs = true;
        }
        if differs {
            self.set(scope, 1, &starts)?;
            self.set(scope, 2, &ends)?;
        }
        Ok(())
    }

    /// Numbers of what is picked, without those that are gone.
    fn indices(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let (x, y) = (self.input(0)?, self.output(0)?);
        let rank = scope.facts.rank(x).unwrap_or(0) as i64;
        let axis = scope.graph.node(self.node).attrs.int("axis").unwrap_or(0);
        let axis = if axis < 0 { axis + rank } else { axis } as usize;
        let Some((before, _)) = self.changed(scope, x, axis) else { return Ok(()) };
        let picked = self.input(1)?;
        let Some(data) = scope.graph.constant(picked).cloned() else { return Ok(()) };
        let left = |i: i64| {
            let front = if i < 0 { i + before as i64 } else { i };
            self.cut.kept_before(Axis { value: x, axis }, front as u64) as i64
        };
        let all = data.to_i64s().unwrap_or_default();
        let gone = if data.rank() == 1 { self.cut.gone(Axis { value: y, axis }) } else { &[] };
        let stays = |at: usize| gone.binary_search(&(at as u32)).is_err();
        let kept: Vec<i64> =
            all.iter().enumerate().filter(|(at, _)| stays(*at)).map(|(_, &i)| left(i)).collect();
        let data = match data.rank() {
            1 => TensorData::vector(&kept),
            _ => TensorData::from_slice(data.dims(), &kept)?,
        };
        let name = scope.graph.value(picked).name.clone();
        Ok(scope.set_parameter((self.node, 1), &name, data)?)
    }
}
