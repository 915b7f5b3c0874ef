//! What is tied, in models of a few operators.

use super::reshape::{Digit, Parting};
use super::{Channels, Group, Heads};
use crate::analysis::{Expr, Facts, InferContext};
use crate::ir::Graph;

/// A graph; weights between `< >` without data are zeros.
fn graph(text: &str) -> Graph {
    let (head, rest) = text.split_once('<').unwrap();
    let (weights, body) = rest.split_once('>').unwrap();
    let filled = weights.split(", float").map(|item| {
        let (weight, rest) = item.split_at(item.find(", int64").unwrap_or(item.len()));
        let dims = weight.split(['[', ']']).nth(1).unwrap();
        let count = dims.split(',').map(|d| d.parse::<usize>().unwrap()).product::<usize>();
        format!("{weight} = {{{}}}{rest}", vec!["0"; count].join(", "))
    });
    let weights = filled.collect::<Vec<_>>().join(", float");
    let text = format!("<ir_version: 10, opset_import: [\"\": 21]> {head}<{weights}>{body}");
    crate::onnx::from_text(&text).unwrap().model.graph
}

/// Groups, a line each: axes, then atoms or the reason.
fn told(graph: &Graph) -> Vec<String> {
    told_with(graph, Heads::default())
}

fn told_with(graph: &Graph, heads: Heads) -> Vec<String> {
    let facts = Facts::of(graph, &InferContext::default());
    Channels::of(graph, &facts, heads).groups.iter().map(|group| line(graph, group)).collect()
}

fn line(graph: &Graph, group: &Group) -> String {
    let axes = group.axes.iter().map(|a| format!("{}.{}", graph.value(a.value).name, a.axis));
    let axes: Vec<String> = axes.collect();
    let atom = |atom: &super::Atom| {
        let of = |indices: &Vec<u32>| indices.iter().map(u32::to_string).collect::<Vec<_>>().join("+");
        atom.0.iter().map(of).collect::<Vec<_>>().join(",")
    };
    let atoms = group.atoms.iter().map(atom).collect::<Vec<_>>().join(" ");
    let atoms = group.frozen.map_or(atoms, |reason| format!("{} atoms, {}", group.atoms.len(), reason.why));
    format!("{}: {atoms}", axes.join(" "))
}

#[test]
fn a_residual_block_ties_what_is_added() {
    let graph = graph(
        "g (float[N,3,8,8] x) => (float[N,2] y)
        <float[2,3,1,1] a, float[2] ab, float[2,2,3,3] b, float[2,2] f, float[2] s>
        {
          p = Conv (x, a, ab)
          r = Relu (p)
          q = Conv <pads = [1, 1, 1, 1]> (r, b)
          z = Add (q, p)
          m = GlobalAveragePool (z)
          v = Flatten (m)
          y = MatMul (v, f)
        }",
    );
    let lines = told(&graph);
    assert_eq!(lines[0], "x.1 a.1: 3 atoms, an input of the model");
    assert_eq!(
        lines[1],
        "a.0 p.1 ab.0 r.1 b.1 b.0 q.1 z.1 m.1 v.1 f.0: 0,0,0,0,0,0,0,0,0,0,0 1,1,1,1,1,1,1,1,1,1,1"
    );
    assert_eq!(lines[2], "f.1 y.1: 2 atoms, an output of the model");
    assert_eq!(lines.len(), 3, "{lines:?}");
}

#[test]
fn groups_of_a_convolution_go_whole_or_place_by_place() {
    let of = |group: u32, per: u32, outs: u32| {
        let ins = group * per;
        let text = format!(
            "g (float[N,1,8,8] x) => (float[N,1,8,8] y)
            <float[{ins},1,1,1] a, float[{outs},{per},1,1] b, float[1,{outs},1,1] c>
            {{ p = Conv (x, a) q = Conv <group = {group}> (p, b) y = Conv (q, c) }}"
        );
        told(&graph(&text))
    };
    // Depthwise: channels in and out go together.
    assert_eq!(of(2, 1, 2), ["a.0 p.1 b.0 q.1 c.1: 0,0,0,0,0 1,1,1,1,1"]);
    // With a multiplier of two.
    assert_eq!(of(2, 1, 4), ["a.0 p.1 b.0 q.1 c.1: 0,0,0+1,0+1,0+1 1,1,2+3,2+3,2+3"]);
    // Three groups of two: whole groups.
    assert_eq!(of(3, 2, 3)[0], "a.0 p.1 b.0 q.1 c.1: 0+1,0+1,0,0,0 2+3,2+3,1,1,1 4+5,4+5,2,2,2");
    // Two groups of three: the same places in both.
    let two = of(2, 3, 4);
    assert_eq!(two[0], "a.0 p.1 b.1: 0+3,0+3,0 1+4,1+4,1 2+5,2+5,2");
    assert_eq!(two[1], "b.0 q.1 c.1: 0+2,0+2,0+2 1+3,1+3,1+3");
}

#[test]
fn concat_split_and_slice_shift_indices() {
    let graph = graph(
        "g (float[N,1,4] x) => (float[N,1,4] y)
        <float[2,1,1] a, float[3,1,1] b, float[1,2,1] c, float[1,3,1] d, float[1,3,1] e, int64[2] sizes = {2, 3}, int64[1] one = {1}, int64[1] four = {4}>
        {
          p = Conv (x, a)
          q = Conv (x, b)
          z = Concat <axis = 1> (p, q)
          s, t = Split <axis = 1> (z, sizes)
          m = Slice (z, one, four, one)
          u = Conv (s, c)
          v = Conv (t, d)
          w = Conv (m, e)
          y = Sum (u, v, w)
        }",
    );
    let lines = told(&graph);
    assert_eq!(
        lines,
        [
            "a.0 p.1 z.1 s.1 m.1 c.1 e.1: 1,1,1,1,0,1,0",
            "a.0 p.1 z.1 s.1 c.1: 0,0,0,0,0",
            "b.0 q.1 z.1 t.1 m.1 d.1 e.1: 0,0,2,0,1,0,1 1,1,3,1,2,1,2",
            "b.0 q.1 z.1 t.1 d.1: 2,2,4,2,2",
        ]
    );
}

#[test]
fn a_channel_shuffle_keeps_the_longer_part() {
    let graph = graph(
        "g (float[N,1,8,8] x) => (float[N,1,8,8] y)
        <float[6,1,1,1] a, float[1,6,1,1] b, int64[5] five = {0, 2, 3, 8, 8}, int64[4] four = {0, 6, 8, 8}>
        {
          p = Conv (x, a)
          q = Reshape (p, five)
          r = Transpose <perm = [0, 2, 1, 3, 4]> (q)
          s = Reshape (r, four)
          y = Conv (s, b)
        }",
    );
    assert_eq!(
        told(&graph)[0],
        "a.0 p.1 q.2 r.1 s.1 b.1: 0+3,0+3,0,0,0+1,0+1 1+4,1+4,1,1,2+3,2+3 2+5,2+5,2,2,4+5,4+5"
    );
}

#[test]
fn heads_of_an_attention_are_atoms() {
    let graph = graph(
        "g (float[N,5,4] x) => (float[N,5,4] y)
        <float[4,18] qkv, float[6,4] o, int64[5] parts = {0, 5, 3, 2, 3}, int64[3] joined = {0, 5, 6}, int64 zero = {0}, int64 one = {1}, int64 two = {2}>
        {
          a = MatMul (x, qkv)
          b = Reshape (a, parts)
          c = Transpose <perm = [2, 0, 3, 1, 4]> (b)
          q = Gather <axis = 0> (c, zero)
          k = Gather <axis = 0> (c, one)
          v = Gather <axis = 0> (c, two)
          kt = Transpose <perm = [0, 1, 3, 2]> (k)
          s = MatMul (q, kt)
          w = Softmax <axis = -1> (s)
          z = MatMul (w, v)
          zt = Transpose <perm = [0, 2, 1, 3]> (z)
          m = Reshape (zt, joined)
          y = MatMul (m, o)
        }",
    );
    let lines = told(&graph);
    let heads = lines.iter().find(|l| l.contains("o.0")).unwrap();
    assert!(heads.starts_with("qkv.1 a.2 b.3 c.2 q.1 k.1 v.1 kt.1 s.1 w.1 z.1 zt.2 m.2 o.0: "), "{heads}");
    let first = "0+1+2+6+7+8+12+13+14,0+1+2+6+7+8+12+13+14,0,0,0,0,0,0,0,0,0,0,0+1+2,0+1+2";
    assert!(heads.contains(first), "{heads}");
    assert_eq!(heads.matches(' ').count(), 15, "two atoms: {heads}");
    let lines = told_with(&graph, Heads::Width);
    let width = lines.iter().find(|l| l.contains("o.0")).unwrap();
    let first = "0+3+6+9+12+15,0+3+6+9+12+15,";
    assert!(width.starts_with("qkv.1 a.2 b.4 ") && width.contains(first), "{width}");
    let lines = told_with(&graph, Heads::Keep);
    assert!(
        lines.iter().all(|l| !l.contains("o.0") || l.contains("the option `heads` keeps it")),
        "{lines:?}"
    );
}

#[test]
fn heads_may_be_digits_beside_an_open_batch() {
    let graph = graph(
        "g (float[5,N,4] x) => (float[5,N,4] y)
        <float[4,6] qw, float[4,6] kw, float[4,6] vw, float[6,4] o, int64[3] heads = {5, -1, 3}, int64[3] joined = {5, -1, 6}>
        {
          q0 = MatMul (x, qw)
          q1 = Reshape (q0, heads)
          q = Transpose <perm = [1, 0, 2]> (q1)
          k0 = MatMul (x, kw)
          k1 = Reshape (k0, heads)
          k = Transpose <perm = [1, 2, 0]> (k1)
          v0 = MatMul (x, vw)
          v1 = Reshape (v0, heads)
          v = Transpose <perm = [1, 0, 2]> (v1)
          s = MatMul (q, k)
          w = Softmax <axis = -1> (s)
          z = MatMul (w, v)
          zt = Transpose <perm = [1, 0, 2]> (z)
          m = Reshape (zt, joined)
          y = MatMul (m, o)
        }",
    );
    let lines = told(&graph);
    let heads = lines.iter().find(|l| l.contains("o.0")).unwrap();
    assert!(heads.contains("qw.1") && heads.contains("kw.1") && heads.contains("vw.1"), "{lines:?}");
    assert!(heads.contains("0+1+2,") && heads.ends_with("3+4+5"), "two atoms: {heads}");
}

#[test]
fn what_has_no_formula_freezes_what_it_touches() {
    let graph = graph(
        "g (float[N,1,4] x) => (float[N,1,4] y)
        <float[2,1,1] a, float[2,2,1] b, float[2,2,1] c, float[1,2,1] d, int64[1] axes = {1}, float[2] s>
        {
          p = Conv (x, a)
          pp = LRN <size = 1> (p)
          q = Conv (pp, b)
          qt = Transpose <perm = [0, 2, 1]> (q)
          l = LayerNormalization <axis = -1> (qt, s)
          m = Transpose <perm = [0, 2, 1]> (l)
          r = Conv (m, c)
          t = ReduceMean <keepdims = 1> (r, axes)
          u = Sub (r, t)
          y = Conv (u, d)
        }",
    );
    let lines = told(&graph);
    let of = |axis: &str| lines.iter().find(|l| l.contains(axis)).cloned().unwrap_or_default();
    assert!(of("a.0").ends_with("no formula for its channels"), "{lines:?}");
    assert!(of("b.0").ends_with("it normalizes over this axis"), "{lines:?}");
    assert!(of("c.0").ends_with("it reduces this axis"), "{lines:?}");
}

#[test]
fn a_weight_of_two_layers_ties_both() {
    let graph = graph(
        "g (float[N,2,4] x) => (float[N,1,4] y)
        <float[2,2,1] a, float[1,2,1] b>
        { p = Conv (x, a) q = Conv (p, a) y = Conv (q, b) }",
    );
    let lines = told(&graph);
    assert_eq!(lines, ["x.1 a.1 a.0 p.1 q.1 b.1: 2 atoms, an input of the model"]);
}

#[test]
fn blocks_of_space_are_digits_of_channels() {
    let graph = graph(
        "g (float[N,1,4,4] x) => (float[N,1,4,4] y)
        <float[8,1,1,1] a, float[1,2,1,1] b, float[1,2,1,1] c>
        {
          p = Conv (x, a)
          q = DepthToSpace <blocksize = 2> (p)
          r = DepthToSpace <blocksize = 2, mode = \"CRD\"> (p)
          s = Conv (q, b)
          t = Conv (r, c)
          y = Add (s, t)
        }",
    );
    // DCR ties by the last digit, CRD by the first: together everything.
    assert_eq!(told(&graph)[0], "a.0 p.1 q.1 r.1 b.1 c.1: 0+1+2+3+4+5+6+7,0+1+2+3+4+5+6+7,0+1,0+1,0+1,0+1");
}

#[test]
fn dims_part_into_common_digits() {
    let of = |before: &[i64], after: &[i64]| {
        let dims = |dims: &[i64]| dims.iter().map(|&d| Expr::of(d)).collect::<Vec<_>>();
        Parting::of(&dims(before), &dims(after))
    };
    assert_eq!(of(&[2, 1, 6], &[2, 6]).same, [(0, 0), (2, 1)]);
    let heads = of(&[5, 12], &[5, 3, 4]);
    assert_eq!(heads.same, [(0, 0)]);
    assert_eq!(
        heads.digits,
        [Digit { size: 3, before: (1, 4), after: (1, 1) }, Digit { size: 4, before: (1, 1), after: (2, 1) }]
    );
    let groups = of(&[6, 4, 4], &[2, 48]);
    assert_eq!(
        groups.digits,
        [
            Digit { size: 2, before: (0, 3), after: (0, 1) },
            Digit { size: 3, before: (0, 1), after: (1, 16) },
            Digit { size: 4, before: (1, 1), after: (1, 4) },
            Digit { size: 4, before: (2, 1), after: (1, 1) },
        ]
    );
    let none = of(&[6, 4], &[4, 6]);
    assert_eq!((none.lost.0, none.lost.1), (vec![0, 1], vec![0, 1]));
}
