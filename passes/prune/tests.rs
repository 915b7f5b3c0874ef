//! A model without some channels against the same model with these channels masked.

use std::collections::BTreeMap;

use super::cut::Cut;
use crate::engine::interpret::Interpreter;
use crate::engine::{Bindings, Engine};
use crate::prelude::*;

/// A model; floats between `< >` without data are filled.
pub(super) fn model(text: &str, seed: u64) -> Model {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (head, rest) = text.split_once('<').unwrap();
    let (weights, body) = rest.split_once('>').unwrap();
    let filled = weights.split(", float").map(|item| {
        let (weight, rest) = item.split_at(item.find(", int64").unwrap_or(item.len()));
        if weight.contains('=') {
            return item.to_owned();
        }
        let (dims, name) = (weight.split(['[', ']']).nth(1).unwrap(), weight.split(' ').next_back().unwrap());
        let count = dims.split(',').map(|d| d.parse::<usize>().unwrap()).product::<usize>();
        let mut stream = Stream::new(seed, name);
        let positive = name.starts_with("var");
        let number = |x: f64| if positive { x.abs() + 0.5 } else { x };
        let items: Vec<String> = (0..count).map(|_| format!("{:.4}", number(stream.normal()))).collect();
        format!("{weight} = {{{}}}{rest}", items.join(", "))
    });
    let weights = filled.collect::<Vec<_>>().join(", float");
    let text = format!("<ir_version: 10, opset_import: [\"\": 21]> {head}<{weights}>{body}");
    crate::onnx::from_text(&text).unwrap().model
}

/// The model with zeros where nodes sum over what goes.
fn masked(model: &Model, channels: &Channels, cut: &Cut) -> Model {
    let mut model = model.clone();
    let mut cx = PassContext::with_kernels(&model);
    main_graph(&mut model, &mut cx, &mut |scope, _| {
        for (axis, nodes) in &channels.sums {
            let gone = cut.gone(*axis);
            if gone.is_empty() {
                continue;
            }
            let dims = scope.facts.shape(axis.value).unwrap().len();
            let size = scope.facts.dim(axis.value, axis.axis).and_then(crate::analysis::Expr::known).unwrap()
                as usize;
            let mut mask = vec![1f32; size];
            gone.iter().for_each(|&i| mask[i as usize] = 0.0);
            let mut shape = vec![1; dims];
            shape[axis.axis] = size as u64;
            let mask = scope.add_constant("mask", TensorData::from_slice(&shape, &mask)?)?;
            for &node in nodes {
                let slot = scope.graph.node_inputs(node).iter().position(|v| *v == Some(axis.value)).unwrap();
                let inputs = [Some(axis.value), Some(mask)];
                let op = OpName::onnx("Mul");
                let new =
                    NewOp { pass: "test", stands_for: &[node], op, attrs: Attrs::new(), inputs: &inputs };
                let product = scope.append(new, "masked")?;
                scope.feed(node, slot, product)?;
            }
        }
        Ok(())
    })
    .unwrap();
    model
}

pub(super) fn answers(model: &Model, seed: u64) -> Vec<Vec<f64>> {
    model.check().unwrap();
    let graph = &model.graph;
    let inputs = graph.inputs().iter().map(|&v| {
        let ValueType::Tensor { shape: Some(dims), .. } = &graph.value(v).ty else { panic!("no dims") };
        let dims: Vec<u64> = dims.iter().map(|d| if let Dim::Known(n) = d { *n } else { 2 }).collect();
        let mut stream = Stream::new(seed, &graph.value(v).name);
        let items: Vec<f64> = (0..dims.iter().product::<u64>()).map(|_| stream.normal()).collect();
        TensorData::from_f64s(DType::Float, &dims, &items).unwrap()
    });
    let inputs: Vec<TensorData> = inputs.collect();
    let session = Interpreter::default().prepare(model, &Bindings::new()).unwrap();
    session.run(&inputs).unwrap().iter().map(|t| t.to_f64s().unwrap()).collect()
}

/// Removes random atoms of all free groups, and compares with the masked model. Returns the names of the constants that
/// lost something.
fn compare(text: &str, seed: u64) -> Vec<String> {
    let original = model(text, seed);
    let mut pruned = original.clone();
    let mut cx = PassContext::with_kernels(&original);
    let mut found = None;
    main_graph(&mut pruned, &mut cx, &mut |scope, _| {
        let channels = Channels::of(scope.graph, scope.facts, Heads::default());
        let mut stream = Stream::new(seed, "atoms");
        let mut left: BTreeMap<Axis, i64> = BTreeMap::new();
        let mut chosen = Vec::new();
        for group in channels.groups.iter().filter(|g| g.frozen.is_none()) {
            for atom in &group.atoms {
                let size = |axis: &Axis| {
                    scope.facts.dim(axis.value, axis.axis).and_then(crate::analysis::Expr::known).unwrap()
                };
                let parts: Vec<(Axis, i64)> =
                    group.axes.iter().zip(&atom.0).map(|(axis, part)| (*axis, part.len() as i64)).collect();
                let fits = parts.iter().all(|(axis, part)| *left.entry(*axis).or_insert(size(axis)) > *part);
                if fits && stream.int(0, 2) > 0 {
                    parts.iter().for_each(|(axis, part)| *left.get_mut(axis).unwrap() -= part);
                    chosen.push((group, atom));
                }
            }
        }
        let cut = Cut::of("test", chosen);
        let lost = scope.graph.values().filter(|&v| scope.graph.constant(v).is_some() && cut.touches(v));
        let lost: Vec<String> = lost.map(|v| scope.graph.value(v).name.clone()).collect();
        cut.apply(scope)?;
        found = Some((channels, cut, lost));
        Ok(())
    })
    .unwrap();
    let (channels, cut, lost) = found.unwrap();
    let masked = masked(&original, &channels, &cut);
    let (wanted, got) = (answers(&masked, seed), answers(&pruned, seed));
    for (wanted, got) in wanted.iter().zip(&got) {
        assert_eq!(wanted.len(), got.len());
        let scale = wanted.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (a, b) in wanted.iter().zip(got) {
            assert!((a - b).abs() <= 1e-4 * scale, "seed {seed}: {a} and {b}, lost {lost:?}\n{text}");
        }
    }
    lost
}

const RESIDUAL: &str = "g (float[N,3,8,8] x) => (float[N,5] y)
<float[8,3,3,3] a, float[8] ab, float[8,1,3,3] dw, float[8,8,1,1] b, float[8] s, float[8] t, float[8] m, float[8] var,
 float[8] slope, float[12,8,3,3] c, float[6,4,1,1] gr, float[14,5] f, float[5] fb, int64[8] pads = {0, 1, 0, 0, 0, 1, 0, 0}>
{
  p = Conv <pads = [1, 1, 1, 1]> (x, a, ab)
  q = Conv <group = 8, pads = [1, 1, 1, 1]> (p, dw)
  r = Relu (q)
  u = Conv (r, b)
  n = BatchNormalization (u, s, t, m, var)
  z = Add (n, p)
  zz = Clip (z)
  w = Conv (zz, c)
  gg = Conv <group = 3> (w, gr)
  i = Sigmoid (gg)
  j = Pad (i, pads)
  k = Concat <axis = 1> (j, gg)
  g2 = GlobalAveragePool (k)
  h = Flatten (g2)
  y = Gemm (h, f, fb)
}";

const TRANSFORMER: &str = "g (float[N,5,6] x) => (float[N,5,6] y)
<float[6] ls, float[6] lb, float[6,24] qkv, float[24] qb, float[8,6] o, float[6,10] up, float[10] ub, float[10,6] down,
 float half = {0.5}, int64[5] parts = {0, 5, 3, 4, 2}, int64[3] joined = {0, 5, 8}, int64 zero = {0}, int64 one = {1}, int64 two = {2}>
{
  l = LayerNormalization (x, ls, lb)
  a0 = MatMul (l, qkv)
  a = Add (a0, qb)
  b = Reshape (a, parts)
  c = Transpose <perm = [2, 0, 3, 1, 4]> (b)
  q0 = Gather <axis = 0> (c, zero)
  q = Mul (q0, half)
  k = Gather <axis = 0> (c, one)
  v = Gather <axis = 0> (c, two)
  kt = Transpose <perm = [0, 1, 3, 2]> (k)
  s = MatMul (q, kt)
  w = Softmax <axis = -1> (s)
  z = MatMul (w, v)
  zt = Transpose <perm = [0, 2, 1, 3]> (z)
  m = Reshape (zt, joined)
  p = MatMul (m, o)
  r = Add (p, x)
  u0 = MatMul (r, up)
  u = Add (u0, ub)
  e = Gelu (u)
  d = MatMul (e, down)
  y = Add (d, r)
}";

const SHUFFLE: &str = "g (float[N,2,4,4] x) => (float[N,2,4,4] y)
<float[6,2,1,1] a, float[8,6,1,1] b, float[3,3,1,1] c, float[2,2,2,2] tt, float[2,10,1,1] d, float[2,3,1,1] e, float[8] in1, float[8] in2, float[8] gn1, float[8] gn2,
 int64[5] five = {0, 2, 3, 4, 4}, int64[4] four = {0, 6, 4, 4}, int64[2] sizes = {3, 3}, int64[1] st = {1}, int64[1] en = {4}, int64[1] ax = {1}, int64[3] pick = {2, 0, 2}>
{
  p = Conv (x, a)
  q = Reshape (p, five)
  r = Transpose <perm = [0, 2, 1, 3, 4]> (q)
  s = Reshape (r, four)
  l, m = Split <axis = 1> (s, sizes)
  n = Conv (l, c)
  o = Sum (n, m)
  sl = Slice (s, st, en, ax)
  ga = Gather <axis = 1> (o, pick)
  go = Mul (ga, sl)
  ge = Conv (go, e)
  u0 = Conv (s, b)
  u1 = InstanceNormalization (u0, in1, in2)
  u2 = GroupNormalization <num_groups = 4> (u1, gn1, gn2)
  u = DepthToSpace <blocksize = 2> (u2)
  v = SpaceToDepth <blocksize = 2> (u)
  w0 = Conv <kernel_shape = [2, 2], strides = [2, 2]> (u, tt)
  w = AveragePool <kernel_shape = [1, 1]> (v)
  k = Concat <axis = 1> (w, w0)
  yy = Conv (k, d)
  y = Add (yy, ge)
}";

const SELECT: &str = "g (float[N,2,4,4] x) => (float[N,2,4,4] y, float[N,3] z)
<float[9,2,1,1] a, float[6,2,2,2] t2, float[4] tb, float[4,1,1] slope, float[2,4,1,1] b, float[6,1,1] gn1, float[6] gn2, float[6] gn3, float[2,3,1,1] c,
 float[2,12,1,1] d, float[6,3] out, int64[2] sizes = {6, 3}, int64[1] st = {1}, int64[1] en = {6}, int64[1] ax = {1}, int64[3] pick = {4, 1, 2},
 int64[4] twice = {1, 2, 1, 1}, int64[4] wide = {1, 6, 4, 4}, int64[2] space = {2, 3}>
{
  p = Conv (x, a)
  l, m = Split <axis = 1> (p, sizes)
  u = ConvTranspose <group = 2, strides = [2, 2]> (l, t2, tb)
  v = PRelu (u, slope)
  w = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (v)
  o = Conv (w, b)
  sl = Slice (l, st, en, ax)
  ga = Gather <axis = 1> (sl, pick)
  gm = Sum (ga, m)
  oc = Conv (gm, c)
  ti = Tile (l, twice)
  od = Conv (ti, d)
  ex = Expand (gn1, wide)
  le = Mul (ex, l)
  no = GroupNormalization <num_groups = 6> (le, gn2, gn3)
  rs = ReduceSum <keepdims = 0> (no, space)
  z = MatMul (rs, out)
  y = Sum (o, oc, od)
}";

#[test]
fn what_is_left_computes_what_the_masked_model_does() {
    let mut lost: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..25 {
        for text in [RESIDUAL, TRANSFORMER, SHUFFLE, SELECT] {
            compare(text, seed).into_iter().for_each(|name| *lost.entry(name).or_default() += 1);
        }
    }
    for name in "a ab dw b var c gr f qkv qb o up ub down d tt t2 tb slope gn1 gn2 out".split(' ') {
        assert!(lost.contains_key(name), "nothing of `{name}` went: {lost:?}");
    }
}

/// Zeros some slices of weights and scales, removes what is dead then, and compares the answers. How many channels went.
fn remove_dead(text: &str, seed: u64) -> usize {
    let mut original = model(text, seed);
    let mut cx = PassContext::with_kernels(&original);
    main_graph(&mut original, &mut cx, &mut |scope, _| {
        let mut stream = Stream::new(seed, "zeros");
        let weights = |v: &ValueId| scope.graph.constant(*v).is_some_and(|d| d.dtype() == DType::Float);
        let weights: Vec<ValueId> = scope.graph.values().filter(weights).collect();
        for value in weights {
            let Some(data) = scope.graph.constant(value).cloned() else { continue };
            let name = &scope.graph.value(value).name;
            if name.starts_with("var") || stream.int(0, 2) == 0 {
                continue;
            }
            let axis = stream.int(0, data.rank().clamp(1, 2) as i64 - 1) as usize;
            let Some(&size) = data.dims().get(axis) else { continue };
            let gone: Vec<bool> = (0..size).map(|_| stream.int(0, 2) == 0).collect();
            let inner = data.dims()[axis + 1..].iter().product::<u64>() as usize;
            let zeroed =
                data.map_f64(|at, x| if gone[at / inner % size as usize] { 0.0 } else { x }).unwrap();
            scope.set_constant_and_type(value, zeroed);
        }
        Ok(())
    })
    .unwrap();
    let mut removed = original.clone();
    let summary = super::dead_channels::RemoveDeadChannels::default().run(&mut removed, &mut cx).unwrap();
    for (wanted, got) in answers(&original, seed).iter().zip(&answers(&removed, seed)) {
        assert_eq!(wanted.len(), got.len());
        let scale = wanted.iter().fold(1e-3f64, |m, x| m.max(x.abs()));
        for (a, b) in wanted.iter().zip(got) {
            assert!((a - b).abs() <= 1e-4 * scale, "seed {seed}: {a} and {b}\n{text}");
        }
    }
    summary.applied
}

#[test]
fn without_dead_channels_the_answers_are_the_same() {
    for text in [RESIDUAL, TRANSFORMER, SHUFFLE, SELECT, PLAIN] {
        let gone: Vec<usize> = (0..25).map(|seed| remove_dead(text, seed)).collect();
        assert!(gone.iter().sum::<usize>() > 5, "{gone:?} in\n{text}");
    }
}

/// Constants that are folded.
const PLAIN: &str = "g (float[N,3,6,6] x) => (float[N,4] y)
<float[6,3,3,3] a, float[6] ab, float[6,6,1,1] b, float[6] s, float[6] t, float[6] m, float[6] var, float[6,1,3,3] dw, float[6] db,
 float[6,7] c, float[7] cb, float[7,4] f>
{
  p = Conv <pads = [1, 1, 1, 1]> (x, a, ab)
  q = Sigmoid (p)
  r = Conv (q, b)
  u = BatchNormalization (r, s, t, m, var)
  v = HardSwish (u)
  w = Conv <group = 6> (v, dw, db)
  z = LeakyRelu (w)
  k = GlobalAveragePool (z)
  h = Flatten (k)
  i = MatMul (h, c)
  j = Add (i, cb)
  l = Tanh (j)
  y = Gemm (l, f)
}";
