use mlx_rs::Array;

use super::*;
use crate::mlx::tests::device;

/// From -50 to 50, so many times as to make `rows` rows of 2,000.
fn numbers(rows: i32) -> Array {
    let row: Vec<f32> = (-1000..1000).map(|n| n as f32 * 0.05).collect();
    Array::from_slice(&row.repeat(rows as usize), &[rows, 2000])
}

fn close(what: &str, ours: &Array, theirs: &Array) {
    for (ours, theirs) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
        assert!((ours - theirs).abs() <= 1e-5 * theirs.abs() + 1e-5, "{what}: {ours} instead of {theirs}");
    }
}

/// The functions as they are written in books, by MLX's own.
fn by_the_book(x: &Array) -> [Array; 4] {
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
fn few_and_many_are_what_mlx_gives() {
    let _device = device();
    for rows in [1, 10] {
        let x = numbers(rows);
        let ours = [silu(&x).unwrap(), softmax(&x).unwrap(), gelu(&x).unwrap(), gelu_tanh(&x).unwrap()];
        for ((what, ours), theirs) in
            ["silu", "softmax", "gelu", "gelu_tanh"].iter().zip(ours).zip(by_the_book(&x))
        {
            close(what, &ours, &theirs);
        }
    }
}

#[test]
fn powers_of_two_are_so_in_every_binade() {
    let _device = device();
    let powers: Vec<f32> = (0..20_000).map(|n| n as f32 * -0.0063).collect();
    let ours = exp2(&Array::from_slice(&powers, &[powers.len() as i32])).unwrap();
    for (power, ours) in powers.iter().zip(ours.as_slice::<f32>()) {
        let right = power.exp2();
        assert!((ours - right).abs() <= 5e-7 * right, "2^{power}: {ours} instead of {right}");
    }
}

#[test]
fn what_is_masked_weighs_nothing_and_extremes_are_no_accidents() {
    let _device = device();
    let softmaxed = Array::from_slice(&[0.0, f32::NEG_INFINITY, 200.0, 200.0].repeat(5000), &[5000, 4]);
    for x in [Array::from_slice(&[0.0, f32::NEG_INFINITY, 200.0, 200.0], &[1, 4]), softmaxed] {
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
