//! Matrix products.

use crate::arrays::{Product, numbers};
use crate::level::Level;

/// op(A) op(B) in double precision.
fn reference(product: Product, a: &[f32], b: &[f32]) -> Vec<f64> {
    let [m, n, k] = product.shape;
    let [trans_a, trans_b] = product.transposed;
    let of_a = |row, depth| f64::from(a[if trans_a { depth * m + row } else { row * k + depth }]);
    let of_b = |depth, column| f64::from(b[if trans_b { column * k + depth } else { depth * n + column }]);
    (0..m * n).map(|at| (0..k).map(|depth| of_a(at / n, depth) * of_b(depth, at % n)).sum()).collect()
}

fn assert_close(ours: &[f32], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert!((f64::from(*ours) - theirs).abs() < 1e-3, "{what}, at {at}: {ours} for {theirs}");
    }
}

#[test]
fn skinny_products_of_every_number_of_rows_match_at_every_level() {
    for level in Level::all() {
        for m in 1..=32 {
            for [n, k] in [[1, 1], [3, 16], [7, 63], [9, 131], [33, 64], [5, 600]] {
                let (a, b) = (numbers(1, m * k), numbers(2, n * k));
                let ours = level.skinny_product([m, n, k], k, &a, &b);
                let what = format!("{}: {m} x {n} x {k}", level.name());
                assert_close(&ours, &reference(Product::of(m, n, k), &a, &b), &what);
            }
        }
    }
}

/// Rows with gaps between them that begin at no multiple of a vector.
#[test]
fn skinny_products_need_no_alignment() {
    let ([m, n, k], stride) = ([6, 21, 77], 83);
    let (a, b) = (numbers(1, m * stride + 3), numbers(2, n * stride + 3));
    let packed = |x: &[f32], rows| -> Vec<f32> {
        (0..rows).flat_map(|row: usize| x[row * stride..][..k].to_vec()).collect()
    };
    for level in Level::all() {
        for offset in 0..4 {
            let (a, b) = (&a[offset..], &b[offset..]);
            let ours = level.skinny_product([m, n, k], stride, a, b);
            let theirs = reference(Product::of(m, n, k), &packed(a, m), &packed(b, n));
            assert_close(&ours, &theirs, &format!("{} at {offset}", level.name()));
        }
    }
}

#[test]
fn products_of_every_layout_match() {
    for [m, n, k] in [[1, 5, 9], [1, 300, 400], [4, 300, 400], [32, 70, 90], [33, 70, 90], [65, 129, 33]] {
        for transposed in [[false, false], [false, true], [true, false], [true, true]] {
            for factors in [[1.0, 0.0], [2.0, 0.5]] {
                let product = Product { transposed, factors, ..Product::of(m, n, k) };
                let (a, b, before) = (numbers(1, m * k), numbers(2, n * k), numbers(3, m * n));
                let mut c = before.clone();
                product.run(&a, &b, &mut c);
                let [alpha, beta] = factors.map(f64::from);
                let sums = reference(product, &a, &b).into_iter().zip(&before);
                let theirs: Vec<f64> =
                    sums.map(|(sum, before)| alpha * sum + beta * f64::from(*before)).collect();
                assert_close(&c, &theirs, &format!("{product:?}"));
            }
        }
    }
}

#[test]
fn parallel_product_is_bit_identical_to_serial() {
    for m in [1, 2, 5, 8, 12, 32] {
        let parallel = Product::of(m, 1030, 301);
        let (a, b) = (numbers(1, m * 301), numbers(2, 1030 * 301));
        let [mut one, mut other] = [vec![0.0; m * 1030], vec![0.0; m * 1030]];
        parallel.run(&a, &b, &mut one);
        Product { parallel: false, ..parallel }.run(&a, &b, &mut other);
        assert!(one == other, "{m} rows");
    }
}
