use super::*;

fn rows(dims: &[u64], items: &[f64]) -> Rows {
    Rows::of(&TensorData::from_f64s(DType::Float, dims, items).unwrap(), 0).unwrap()
}

fn steps(rows: &Rows, apart: bool, pairs: Option<Vec<usize>>) -> Steps {
    let largest = rows.items.iter().map(|row| row.iter().fold(0f64, |m, x| m.max(x.abs())));
    Steps { by_row: largest.map(|x| (x / 127.0) as f32).collect(), apart, bounds: (-127, 127), pairs }
}

fn worst_pair(codes: &[i32], order: &[usize]) -> i32 {
    let line: Vec<i32> = order.iter().map(|&at| codes[at]).collect();
    let side = |pair: &[i32], sign: i32| pair.iter().map(|c| (c * sign).max(0)).sum::<i32>();
    line.chunks(2).map(|pair| side(pair, 1).max(side(pair, -1))).max().unwrap_or(0)
}

#[test]
fn pairs_fit_and_rows_without_overflow_keep_their_step() {
    // Two rows of 2 channels and 3 cells: in the order of the kernel, pairs are the channels of one cell.
    let rows = rows(&[2, 2, 1, 3], &[1.0, 0.1, 0.1, 0.9, 0.1, 0.1, 1.0, 0.9, 0.8, -1.0, -0.9, -0.8]);
    let order: Vec<usize> = conv_order(2, 3).collect();
    let on = steps(&rows, true, Some(order.clone()));
    let made = on.round(&rows, None, |_, _| 1.0);
    let found = made.overflows.unwrap();
    assert_eq!(
        (found.pairs, found.overflowing, found.rows_hit),
        (6, 1, 1),
        "1.0 with 0.9; the second row differs in sign"
    );
    assert!(made.codes.iter().all(|codes| worst_pair(codes, &order) <= 128), "{:?}", made.codes);
    let left = made.left.unwrap();
    assert_eq!((left.pairs, left.overflowing), (6, 0), "counted on the codes that were stored");
    assert!(made.widened > 1.1);
    assert!(
        made.steps[0] > on.by_row[0] * 1.1,
        "clipping a pair of 240 to 128 would cost more than a wider step"
    );
    assert_eq!(made.steps[1].to_bits(), on.by_row[1].to_bits());
    let plain = steps(&rows, true, None).round(&rows, None, |_, _| 1.0);
    assert!(worst_pair(&plain.codes[0], &order) > 128, "without the order nothing is done");
}

#[test]
fn rows_of_one_step_are_widened_together() {
    let rows = rows(&[2, 4], &[1.0, 0.9, 0.1, 0.1, 0.2, 0.1, 0.1, 0.2]);
    let on = steps(&rows, false, Some((0..4).collect()));
    let on = Steps { by_row: vec![on.by_row[0]; 2], ..on };
    let made = on.round(&rows, None, |_, _| 1.0);
    assert_eq!(made.steps[0].to_bits(), made.steps[1].to_bits());
    assert!(made.steps[0] > on.by_row[0]);
    assert!(worst_pair(&made.codes[0], &[0, 1, 2, 3]) <= 128);
}

#[test]
fn depthwise_convolutions_are_exact() {
    let depthwise = rows(&[4, 1, 1, 2], &[1.0; 8]);
    assert!(pair_order((true, 4), &depthwise).is_none());
    assert_eq!(pair_order((true, 2), &depthwise).unwrap().len(), 2, "two output channels a group");
}
