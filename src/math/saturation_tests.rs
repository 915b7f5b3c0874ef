use super::super::compensate::error_of;
use super::*;

/// Numbers that look random, from a counter: in −1..1.
fn noise(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

fn row(seed: u64, len: usize, reach: f64) -> Vec<f64> {
    (0..len as u64).map(|i| noise(seed * 1000 + i) * reach).collect()
}

fn is_exact(a: i32, b: i32, x: u8, y: u8) -> bool {
    let sum = a * i32::from(x) + b * i32::from(y);
    i16::try_from(sum).is_ok()
}

#[test]
fn fit_is_what_all_activations_say() {
    for codes in [Codes::ALL, Codes { low: 3, high: 200 }, Codes { low: 250, high: 255 }] {
        for a in (-128..=127).step_by(5).chain([127]) {
            for b in -128..=127 {
                let corners = [
                    (codes.low, codes.low),
                    (codes.low, codes.high),
                    (codes.high, codes.low),
                    (codes.high, codes.high),
                ];
                let exact = corners.iter().all(|&(x, y)| is_exact(a, b, x, y));
                assert_eq!(codes.fit(a, b), exact, "{a} {b} {codes:?}");
                let partners = codes.partners(a).is_some_and(|(low, high)| (low..=high).contains(&b));
                assert_eq!(partners, exact, "{a} {b} {codes:?}");
            }
        }
    }
}

#[test]
fn pairs_are_neighbours_from_an_even_position() {
    let hits = |row: &[i8]| overflowing(row, Codes::ALL).collect::<Vec<_>>();
    assert_eq!(hits(&[64, 64, -64, -64, 64, 65]), [2]);
    assert_eq!(hits(&[0, 127, 127, 0]), [0usize; 0], "not across pairs");
    assert_eq!(
        hits(&[127, -128, -128, -1, -128]),
        [1],
        "signs cancel; 129 do not fit; the last one is alone"
    );
    let rows: [&[i8]; 3] = [&[127, 127, 1], &[1, 1, 1], &[-100, -100, 9]];
    let found = Overflows::of(rows, Codes::ALL);
    assert_eq!(found, Overflows { pairs: 3, overflowing: 2, rows: 3, rows_hit: 2 });
    assert!((found.share() - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(Overflows::of(rows, Codes { low: 0, high: 127 }).overflowing, 0);
}

#[test]
fn convolutions_reduce_channels_first() {
    let order: Vec<usize> = conv_order(3, 4).collect();
    assert_eq!(order, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
}

#[test]
fn no_input_saturates_rounded_rows() {
    for seed in 0..60 {
        let codes = match seed % 3 {
            0 => Codes::ALL,
            1 => Codes { low: 0, high: 190 },
            _ => Codes { low: 100, high: 255 },
        };
        let wanted = row(seed, 31, 140.0);
        let made = round_pairs(&wanted, codes, (-127, 127));
        assert!(made.iter().all(|x| x.fract() == 0.0 && x.abs() <= 127.0));
        for pair in made.chunks_exact(2) {
            for x in (codes.low..=codes.high).step_by(7).chain([codes.high]) {
                let ends = [codes.low, codes.high];
                assert!(ends.iter().all(|&y| is_exact(pair[0] as i32, pair[1] as i32, x, y)));
                assert!(ends.iter().all(|&y| is_exact(pair[0] as i32, pair[1] as i32, y, x)));
            }
        }
    }
}

#[test]
fn every_pair_is_the_nearest_that_fits() {
    for seed in 0..40 {
        let wanted = row(seed + 500, 2, 130.0);
        let made = round_pairs(&wanted, Codes::ALL, (-128, 127));
        let cost = |a: f64, b: f64| (a - wanted[0]).powi(2) + (b - wanted[1]).powi(2);
        for a in -128..=127 {
            for b in -128..=127 {
                let better = cost(a.into(), b.into()) < cost(made[0], made[1]) - 1e-9;
                assert!(!(better && Codes::ALL.fit(a, b)), "{wanted:?}: {made:?}, but {a} {b}");
            }
        }
    }
}

#[test]
fn what_fits_is_rounded_plainly() {
    let wanted = row(7, 40, 60.0);
    let plain: Vec<f64> = wanted.iter().map(|x| x.round_ties_even()).collect();
    assert_eq!(round_pairs(&wanted, Codes::ALL, (-127, 127)), plain);
}

#[test]
fn compensation_keeps_pairs_exact_and_lowers_the_error() {
    let n = 25;
    let x = Array2::from_shape_fn((300, n), |(i, j)| {
        2.0 + noise(i as u64) + 0.5 * noise((i * n + j) as u64 + 9999)
    });
    let products = x.t().dot(&x) / 300.0;
    let rows: Vec<Vec<f64>> = (0..12).map(|r| row(r + 80, n, 127.0)).collect();
    let limit = (-127, 127);
    let (found, errors) = round_pairs_compensated(&rows, &products, 0.01, Codes::ALL, limit).unwrap();
    let mut gain = 0.0;
    for ((wanted, made), error) in rows.iter().zip(&found).zip(errors) {
        let codes: Vec<i8> = made.iter().map(|&x| x as i8).collect();
        assert_eq!(overflowing(&codes, Codes::ALL).count(), 0);
        assert!(made.iter().all(|x| x.fract() == 0.0 && x.abs() <= 127.0));
        let plain = round_pairs(wanted, Codes::ALL, limit);
        let (a, b) = (error_of(wanted, &plain, &products), error_of(wanted, made, &products));
        assert!(b <= a, "{b} > {a}");
        assert!((error - b).abs() <= 1e-12 * a, "{error} is not {b}");
        gain += a / b;
    }
    assert!(gain / 12.0 > 3.0, "{gain}");
    assert!(round_pairs_compensated(&rows, &Array2::zeros((n, n + 1)), 0.01, Codes::ALL, limit).is_none());
    assert!(
        round_pairs_compensated(&rows, &Array2::from_elem((n, n), f64::NAN), 0.01, Codes::ALL, limit)
            .is_none()
    );
}
