use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{fast, nn, ops};

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

/// Enough rows that both cores have some, and widths that no vector divides.
#[test]
fn a_root_mean_square_norm_is_mlx_s() {
    let _device = device();
    for (rows, width) in [(1, 45), (900, 45), (3, 9000)] {
        let (x, weight) = (made_up(1, &[rows, width]), made_up(2, &[width]));
        let theirs = fast::rms_norm(&x, Some(&weight), 1e-5).unwrap();
        close("norm", &rms_norm(&x, &weight, 1e-5).unwrap().unwrap(), &theirs);
        assert!(rms_norm(&x, &made_up(2, &[width + 1]), 1e-5).unwrap().is_err());
    }
}

#[test]
fn a_gate_is_the_first_half_of_each_row() {
    let _device = device();
    for (rows, width) in [(1, 37), (700, 37)] {
        let both = made_up(1, &[rows, 2 * width]);
        let (gate, up) = (both.try_index((.., ..width)).unwrap(), both.try_index((.., width..)).unwrap());
        let theirs = nn::silu(&gate).unwrap().multiply(&up).unwrap();
        close("gate", &gated(Function::Silu, &both).unwrap().unwrap(), &theirs);
        let theirs = gelu(&gate).unwrap().multiply(&up).unwrap();
        close("gelu", &gated(Function::Gelu, &both).unwrap().unwrap(), &theirs);
    }
    assert!(gated(Function::Silu, &made_up(1, &[2, 7])).unwrap().is_err());
}

/// Heads that are a part of others, as queries beside keys and values are, and halves that are a part of a head.
#[test]
fn heads_turn_by_each_token_s_angle() {
    let _device = device();
    for (tokens, width) in [(1, 12), (300, 12), (3, 8)] {
        let x = made_up(1, &[tokens, 5, 12]).try_index((.., 1..4, ..width)).unwrap();
        let positions = made_up(2, &[tokens]).multiply(Array::from_f32(100.0)).unwrap();
        let frequencies = made_up(3, &[1, width / 2]);
        let angles = positions.reshape(&[-1, 1]).unwrap().multiply(&frequencies).unwrap();
        let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
        let [cos, sin] = [cos, sin].map(|x| x.reshape(&[tokens, 1, width / 2]).unwrap());
        let (a, b) =
            (x.try_index((.., .., ..width / 2)).unwrap(), x.try_index((.., .., width / 2..)).unwrap());
        let of = |one: &Array, other: &Array| one.multiply(&cos).unwrap().add(other.multiply(&sin).unwrap());
        let theirs = ops::concatenate(&[of(&a, &b.negative().unwrap()).unwrap(), of(&b, &a).unwrap()], 2);
        let sines = ops::stack(&[&sin.negative().unwrap(), &sin], 2).unwrap();
        let cosines = cos.reshape(&[tokens, 1, 1, width / 2]).unwrap();
        close("turned", &rotate(&x, &cosines, &sines).unwrap().unwrap(), &theirs.unwrap());
    }
}

/// (What it computes is tested with the pool, in `mlx/kv/tests.rs`.)
#[test]
fn attention_keeps_to_the_pool() {
    let _device = device();
    let (queries, pool) = (made_up(1, &[3, 2, 8]), made_up(2, &[1, 8, 8]));
    let attend = |tokens, position, blocks: &[u32], window| {
        let mut paged = Paged { block: 4, ..Paged::default() };
        paged.push(tokens, position, blocks);
        attention_paged(&queries, (&pool, &pool), &paged, (1.0, window)).unwrap()
    };
    attend(0..3, 2, &[1, 0], None).unwrap().eval().unwrap();
    assert!(attend(0..3, 2, &[1, 2], None).is_err(), "a block behind the pool's end");
    assert!(attend(0..3, 2, &[1], None).is_err(), "too few blocks");
    assert!(attend(0..2, 2, &[1, 0], None).is_err(), "too few tokens");
    assert!(attend(1..4, 2, &[1, 0], None).is_err(), "tokens behind the step's end");
    attend(0..3, 5, &[7, 1], Some(2)).unwrap().eval().unwrap();
    assert!(attend(0..3, 5, &[7, 1], Some(3)).is_err(), "the window reaches into a block that is not there");
}
