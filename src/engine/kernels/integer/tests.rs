use super::super::testing::{Dice, floats, ints, raw};
use super::*;
use crate::ir::{Attrs, OpName};

const BOTH: [Arithmetic; 2] = [Arithmetic::Exact, Arithmetic::Avx2Pairs];

fn run(at: usize, attrs: &Attrs, inputs: &[Option<TensorData>], arithmetic: Arithmetic) -> Outputs {
    let (domain, name, _) = TABLE[at];
    let inputs: Vec<_> = inputs.iter().map(Option::as_ref).collect();
    let op = OpName::new(domain, name);
    let call = NodeCall { op: &op, attrs, inputs: &inputs, outputs: &[true], limit: 4096 };
    eval(&call, arithmetic).unwrap()
}

fn place(name: &str) -> usize {
    TABLE.iter().position(|row| row.1 == name).unwrap()
}

#[allow(clippy::unnecessary_wraps, reason = "inputs may be absent")]
fn u8s(dims: &[u64], items: &[u8]) -> Option<TensorData> {
    Some(raw(DType::Uint8, dims, items))
}

#[allow(clippy::unnecessary_wraps, reason = "inputs may be absent")]
fn s8s(dims: &[u64], items: &[i8]) -> Option<TensorData> {
    Some(TensorData::from_slice(dims, items).unwrap())
}

#[test]
fn pairs_saturate_and_the_odd_one_does_not() {
    let (x, w) = (u8s(&[1, 5], &[255; 5]), s8s(&[5, 2], &[127, -128, 127, -128, 1, 0, 1, 0, 127, -128]));
    let sums = |arithmetic| {
        let made = run(place("MatMulInteger"), &Attrs::new(), &[x.clone(), w.clone()], arithmetic).unwrap();
        made[0].to_vec::<i32>().unwrap()
    };
    assert_eq!(sums(Arithmetic::Exact), [255 * 383, -255 * 384]);
    assert_eq!(sums(Arithmetic::Avx2Pairs), [32767 + 255 * 129, -32768 - 255 * 128]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let scale = || Some(TensorData::scalar(0.1f32));
    let (x, w, zero) = (u8s(&[2, 3], &[1; 6]), s8s(&[3, 2], &[1; 6]), u8s(&[], &[0]));
    let wrong: [(usize, Option<TensorData>, &str); 6] = [
        (0, Some(floats(&[2, 3], &[0.0; 6])), "element type float"),
        (1, Some(TensorData::vector(&[0.1f32; 5])), "5 scales for 1 channels"),
        (2, s8s(&[], &[0]), "input 2 does not fit as zero point"),
        (3, s8s(&[4, 2], &[1; 8]), "do not multiply"),
        (5, s8s(&[3], &[0; 3]), "input 5 does not fit as zero point"),
        (7, u8s(&[2], &[0; 2]), "more than one zero point of the output"),
    ];
    let good = || vec![x.clone(), scale(), zero.clone(), w.clone(), scale(), None, scale(), zero.clone()];
    let at = place("QLinearMatMul");
    for arithmetic in BOTH {
        assert!(run(at, &Attrs::new(), &good(), arithmetic).is_ok());
        for (slot, tensor, says) in &wrong {
            let mut inputs = good();
            inputs[*slot].clone_from(tensor);
            let error = run(at, &Attrs::new(), &inputs, arithmetic).unwrap_err().to_string();
            assert!(error.contains(says) && error.contains("QLinearMatMul"), "{slot}: {error}");
        }
    }
    let conv = [
        u8s(&[1, 1, 2], &[1; 2]),
        scale(),
        zero.clone(),
        s8s(&[1, 1, 1], &[1]),
        scale(),
        None,
        scale(),
        zero,
    ];
    let bias = Some(TensorData::vector(&[1i32, 2]));
    let inputs: Vec<_> = conv.into_iter().chain([bias]).collect();
    let error = run(place("QLinearConv"), &Attrs::new(), &inputs, Arithmetic::Exact).unwrap_err().to_string();
    assert!(error.contains("a bias of 2 for 1 channels"), "{error}");
}

/// What the operators take: codes (`c`), scales (`s`), zero points (`z`).
const SIGNATURES: [&str; 5] = ["csz", "cszcszsz", "cszsz", "szcszcsz", "ccsszz"];

/// Inputs that are often what the operators take.
fn inputs(dice: &mut Dice) -> Vec<Option<TensorData>> {
    let mut shape: Vec<u64> = (0..2 + dice.roll(3)).map(|_| [1, 2, 2, 3, 0][dice.roll(5)]).collect();
    let kind = dice.of(&[DType::Uint8, DType::Int8]);
    let mut made = Vec::new();
    for slot in dice.of(&SIGNATURES).chars() {
        if dice.roll(6) == 0 {
            shape.rotate_left(1);
        }
        let odd = dice.roll(30);
        let dims: &[u64] = if slot == 'c' || odd == 1 { &shape } else { &[] };
        let len = dims.iter().product::<u64>() as usize;
        let codes: Vec<u8> = (0..len).map(|_| dice.roll(256) as u8).collect();
        made.push(match (odd, slot) {
            (0, _) => None,
            (2, _) => Some(dice.tensor()),
            (3, _) => Some(ints(dims, &vec![3; len])),
            (_, 's') | (4, _) => Some(floats(dims, &vec![0.01; len])),
            _ => Some(raw(kind, dims, &codes)),
        });
    }
    made
}

#[test]
fn nonsense_is_an_error_and_no_panic() {
    let mut dice = Dice(11);
    let mut answers = 0;
    for round in 0..800 * TABLE.len() {
        let inputs = inputs(&mut dice);
        let mut attrs = Attrs::new();
        for name in ["axis", "group", "transA", "transB", "strides", "pads", "kernel_shape"] {
            if dice.roll(6) == 0 {
                attrs.set(name, dice.attr());
            }
        }
        for output in run(round % TABLE.len(), &attrs, &inputs, BOTH[dice.roll(2)]).unwrap_or_default() {
            answers += 1;
            assert!(output.byte_len() <= 4096);
        }
    }
    assert!(answers > 200, "{answers}");
}
