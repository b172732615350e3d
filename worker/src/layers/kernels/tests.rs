use mlx_rs::{fast, ops};

use super::*;
use crate::layers::exponential::gelu;
use crate::mlx::tests::device;

fn made_up(salt: i32, shape: &[i32]) -> Array {
    let count: i32 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
    Array::from_slice(&values, shape)
}

fn close(what: &str, ours: &Array, theirs: &Array) {
    assert_eq!(ours.shape(), theirs.shape(), "{what}");
    for (ours, theirs) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
        assert!((ours - theirs).abs() <= 1e-4, "{what}: {ours} instead of {theirs}");
    }
}

/// Rows few and many, sizes that no vector divides, an input that lies the other way round.
#[test]
fn a_linear_layer_is_product_bias_and_function() {
    let _device = device();
    let (weight, bias) = (made_up(1, &[37, 19]), made_up(2, &[37]));
    for x in [made_up(3, &[1, 19]), made_up(4, &[70, 19]), made_up(5, &[19, 70]).t()] {
        let plain = ops::addmm(&bias, &x, weight.t(), None, None).unwrap();
        close("plain", &linear(Function::Identity, &x, &weight, &bias).unwrap().unwrap(), &plain);
        let bent = linear(Function::Gelu, &x, &weight, &bias).unwrap().unwrap();
        close("bent", &bent, &gelu(&plain).unwrap());
    }
}

#[test]
fn norms_are_mlx_s_with_and_without_what_is_optional() {
    let _device = device();
    let (weight, bias) = (made_up(1, &[45]), made_up(2, &[45]));
    let (x, added) = (made_up(3, &[2, 7, 45]), made_up(4, &[2, 7, 45]));
    for bias in [None, Some(&bias)] {
        for added in [None, Some(&added)] {
            let sum = added.map_or_else(|| x.clone(), |added| x.add(added).unwrap());
            let theirs = fast::layer_norm(&sum, &weight, bias, 1e-5).unwrap();
            let ours = layer_norm(&x, added, (&weight, bias), 1e-5).unwrap().unwrap();
            close(&format!("{} {}", bias.is_some(), added.is_some()), &ours, &theirs);
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error_and_other_types_are_left_to_mlx() {
    let _device = device();
    let (x, weight) = (made_up(1, &[4, 6]), made_up(2, &[5, 6]));
    let error = linear(Function::Identity, &x, &weight, &made_up(3, &[6])).unwrap().unwrap_err();
    assert!(error.what().contains("other shapes"), "{error}");
    assert!(layer_norm(&x, None, (&made_up(4, &[4]), None), 1e-5).unwrap().is_err());
    let heads = made_up(5, &[2, 3, 4, 8]);
    let rows = |lengths| Rows { lengths, back: 9, ahead: 0 };
    assert!(attention(&heads, &heads, &heads, rows(&[4, 5]), 1.0).unwrap().is_err());
    assert!(attention(&heads, &heads, &heads, rows(&[4]), 1.0).unwrap().is_err());
    let half = x.as_dtype(mlx_rs::Dtype::Bfloat16).unwrap();
    assert!(each(Function::Silu, &half).is_none());
    assert!(linear(Function::Identity, &half, &weight, &weight).is_none());
}

/// Whoever else holds an array finds it as it was.
#[test]
fn inputs_that_are_still_needed_stay() {
    let _device = device();
    let x = made_up(1, &[300]);
    let before = x.as_slice::<f32>().to_vec();
    let doubled = x.add(&x).unwrap();
    let bent = each(Function::Exp2, &doubled).unwrap().unwrap().add(&doubled).unwrap();
    bent.eval().unwrap();
    for ((x, doubled), bent) in before.iter().zip(doubled.as_slice::<f32>()).zip(bent.as_slice::<f32>()) {
        assert_eq!(x + x, *doubled);
        assert!((doubled.exp2() + doubled - bent).abs() < 1e-5);
    }
    assert_eq!(before, x.as_slice::<f32>());
}
