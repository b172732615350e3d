use mlx_rs::Array;

use super::*;
use crate::mlx::tests::device;

fn numbers() -> Array {
    let numbers: Vec<f32> = (-1000..1000).map(|n| n as f32 * 0.05).collect();
    Array::from_slice(&numbers, &[20, 100])
}

fn close(ours: &Array, theirs: &Array) {
    for (ours, theirs) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
        assert!((ours - theirs).abs() <= 1e-5 * theirs.abs() + 1e-7, "{ours} instead of {theirs}");
    }
}

#[test]
fn they_are_what_mlx_gives() {
    let _device = device();
    let x = numbers();
    for (ours, theirs) in [
        (exp(&x).unwrap(), ops::exp(&x).unwrap()),
        (silu(&x).unwrap(), x.multiply(ops::sigmoid(&x).unwrap()).unwrap()),
        (softmax(&x).unwrap(), ops::softmax_axis(&x, -1, true).unwrap()),
    ] {
        ours.eval().unwrap();
        theirs.eval().unwrap();
        close(&ours, &theirs);
    }
}

#[test]
fn what_is_masked_weighs_nothing_and_extremes_are_no_accidents() {
    let _device = device();
    let x = Array::from_slice(&[0.0, f32::NEG_INFINITY, 200.0, 200.0], &[1, 4]);
    assert_eq!(softmax(&x).unwrap().as_slice::<f32>(), [0.0, 0.0, 0.5, 0.5]);
    let x = Array::from_slice(&[-200.0, 200.0, 0.0], &[3]);
    assert_eq!(silu(&x).unwrap().as_slice::<f32>(), [-0.0, 200.0, 0.0]);
}
