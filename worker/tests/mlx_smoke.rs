//! MLX is linked and multiplies correctly with the BLAS of this build.

use mlx_rs::Array;

/// Pseudo-random numbers, without a pattern that would hide a wrong stride.
fn pseudo_random(count: i32, salt: u32) -> Vec<f32> {
    let mixed = |n: u32| n.wrapping_mul(2_654_435_761).wrapping_add(salt).wrapping_mul(40_503) >> 20;
    (0..count as u32).map(|n| mixed(n) as f32 / 4096.0 - 0.5).collect()
}

/// Multiplies `[m, k]` by a transposed `[n, k]`, as linear layers do, and by `[k, n]`, as attention does.
#[test]
fn matmul_of_many_sizes_matches_plain_arithmetic() {
    for m in [1, 2, 3, 5, 7, 8, 9, 16, 31, 32, 33, 40] {
        for (n, k) in [(1, 1), (2, 15), (3, 16), (17, 33), (64, 64), (129, 576), (301, 250)] {
            let (a, b) = (pseudo_random(m * k, 1), pseudo_random(n * k, 2));
            let (left, right) = (Array::from_slice(&a, &[m, k]), Array::from_slice(&b, &[n, k]));
            let transposed = left.matmul(right.transpose_axes(&[1, 0]).unwrap()).unwrap();
            let contiguous = transpose(&b, n, k);
            let plain = left.matmul(Array::from_slice(&contiguous, &[k, n])).unwrap();
            for product in [transposed, plain] {
                for (at, got) in product.as_slice::<f32>().iter().enumerate() {
                    let (row, column) = (at / n as usize, at % n as usize);
                    let k = k as usize;
                    let expected: f32 = (0..k).map(|i| a[row * k + i] * b[column * k + i]).sum();
                    assert!((got - expected).abs() < 1e-3, "[{m},{k}]x[{k},{n}]: {got} for {expected}");
                }
            }
        }
    }
}

/// `[n, k]` → `[k, n]`.
fn transpose(b: &[f32], n: i32, k: i32) -> Vec<f32> {
    (0..k).flat_map(|i| (0..n).map(move |j| b[(j * k + i) as usize])).collect()
}
