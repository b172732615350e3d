use mlx_rs::Array;

use super::*;
use crate::kernels::device_lock::device;

/// `rows` rows of 2,000 numbers from -50 to 50.
fn numbers(rows: i32) -> Array {
    let row: Vec<f32> = (-1000..1000).map(|n| n as f32 * 0.05).collect();
    Array::from_slice(&row.repeat(rows as usize), &[rows, 2000])
}

fn assert_close(case: &str, ours: &Array, theirs: &Array) {
    for (ours, theirs) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
        assert!((ours - theirs).abs() <= 1e-5 * theirs.abs() + 1e-5, "{case}: {ours} instead of {theirs}");
    }
}

/// The textbook formulas, by MLX operations.
fn textbook(x: &Array) -> [Array; 4] {
    let half = x.multiply(number(0.5)).unwrap();
    let erf = ops::erf(x.multiply(number(FRAC_1_SQRT_2)).unwrap()).unwrap();
    let cube = x.power(number(3.0)).unwrap().multiply(number(0.044_715)).unwrap();
    let inner = x.add(cube).unwrap().multiply(number((2.0 / PI).sqrt())).unwrap();
    [
        x.multiply(ops::sigmoid(x).unwrap()).unwrap(),
        ops::softmax_axis(x, -1, true).unwrap(),
        half.multiply(erf.add(number(1.0)).unwrap()).unwrap(),
        half.multiply(ops::tanh(inner).unwrap().add(number(1.0)).unwrap()).unwrap(),
    ]
}

#[test]
fn activations_and_softmax_match_the_formulas() {
    let _device = device();
    for rows in [1, 10] {
        let x = numbers(rows);
        let ours = [silu(&x).unwrap(), softmax(&x).unwrap(), gelu(&x).unwrap(), gelu_tanh(&x).unwrap()];
        for ((case, ours), theirs) in
            ["silu", "softmax", "gelu", "gelu_tanh"].iter().zip(ours).zip(textbook(&x))
        {
            assert_close(case, &ours, &theirs);
        }
    }
}

#[test]
fn exp2_is_exact_to_rounding_in_every_binade() {
    let _device = device();
    let powers: Vec<f32> = (0..20_000).map(|n| n as f32 * -0.0063).collect();
    let ours = exp2(&Array::from_slice(&powers, &[powers.len() as i32])).unwrap();
    for (power, ours) in powers.iter().zip(ours.as_slice::<f32>()) {
        let expected = power.exp2();
        assert!((ours - expected).abs() <= 5e-7 * expected, "2^{power}: {ours} instead of {expected}");
    }
}

#[test]
fn masked_and_extreme_values_are_finite() {
    let _device = device();
    let many_rows = Array::from_slice(&[0.0, f32::NEG_INFINITY, 200.0, 200.0].repeat(5000), &[5000, 4]);
    for x in [Array::from_slice(&[0.0, f32::NEG_INFINITY, 200.0, 200.0], &[1, 4]), many_rows] {
        for weights in softmax(&x).unwrap().as_slice::<f32>().chunks(4) {
            assert!(weights[..2].iter().all(|weight| *weight < 1e-37), "{weights:?}");
            assert!(weights[2..].iter().all(|weight| (weight - 0.5).abs() < 1e-5), "{weights:?}");
        }
    }
    let many = Array::from_slice(&[-200.0, 200.0, 0.0].repeat(6000), &[18_000]);
    for x in [Array::from_slice(&[-200.0, 200.0, 0.0], &[3]), many] {
        for values in silu(&x).unwrap().as_slice::<f32>().chunks(3) {
            assert!(values[0].abs() < 1e-30 && values[1] == 200.0 && values[2] == 0.0, "{values:?}");
        }
    }
}
