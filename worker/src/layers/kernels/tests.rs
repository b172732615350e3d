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

/// Rows few and many, sizes that no vector divides, an input that lies the other way round, with and
/// without what is optional.
#[test]
fn a_linear_layer_is_product_bias_function_and_residual() {
    let _device = device();
    let (weight, bias) = (made_up(1, &[37, 19]), made_up(2, &[37]));
    for x in [made_up(3, &[1, 19]), made_up(4, &[700, 19]), made_up(5, &[19, 70]).t()] {
        let residual = made_up(6, &[x.dim(0), 37]);
        let linear = |after| linear(&x, Before::Nothing, &weight, after).unwrap().unwrap();
        let product = x.matmul(weight.t()).unwrap();
        close("plain", &linear(After::default()), &product);
        let after = After { residual: Some(&residual), ..After::default() };
        close("added", &linear(after), &product.add(&residual).unwrap());
        let bent = gelu(&product.add(&bias).unwrap()).unwrap();
        let after = After { bias: Some(&bias), function: Some(Function::Gelu), residual: None };
        close("bent", &linear(after), &bent);
        let all = After { residual: Some(&residual), ..after };
        close("all", &linear(all), &bent.add(&residual).unwrap());
    }
}

#[test]
fn a_linear_layer_norms_or_gates_its_input() {
    let _device = device();
    let (weight, norm) = (made_up(1, &[37, 19]), made_up(2, &[19]));
    for rows in [1, 900] {
        let x = made_up(3, &[rows, 19]);
        let normed = fast::rms_norm(&x, Some(&norm), 1e-5).unwrap().matmul(weight.t()).unwrap();
        let ours = linear(&x, Before::Norm(&norm, 1e-5), &weight, After::default());
        close("normed", &ours.unwrap().unwrap(), &normed);
        let both = made_up(4, &[rows, 38]);
        let halves = (both.try_index((.., ..19)).unwrap(), both.try_index((.., 19..)).unwrap());
        let gated = nn::silu(&halves.0).unwrap().multiply(&halves.1).unwrap().matmul(weight.t()).unwrap();
        let ours = linear(&both, Before::Gate(Function::Silu), &weight, After::default());
        close("gated", &ours.unwrap().unwrap(), &gated);
    }
}

/// From bytes that begin anywhere, more than one thread's share of them.
#[test]
fn weights_begin_at_a_cache_line() {
    let _device = device();
    let numbers: Vec<f32> = (0..600_000).map(|at| (at % 251) as f32 - 125.0).collect();
    let mut f32s = vec![0u8];
    let mut bf16s = vec![0u8];
    for number in &numbers {
        f32s.extend(number.to_le_bytes());
        bf16s.extend(half::bf16::from_f32(*number).to_le_bytes());
    }
    let shape = [6000, 10, 10];
    let of = |bytes: &[u8], stored| floats(bytes, stored, &shape).unwrap().unwrap();
    let (one, other) = (of(&f32s[1..], Stored::F32), of(&bf16s[1..], Stored::Bf16));
    let small = made_up(1, &[3, 10, 10]);
    let joined = joined(&[&one, &small, &other]).unwrap().unwrap();
    assert_eq!(joined.shape(), [12_003, 10, 10]);
    for array in [&one, &other, &joined] {
        assert_eq!(array.as_slice::<f32>().as_ptr().addr() % 64, 0);
    }
    assert_eq!(one.as_slice::<f32>(), numbers);
    assert_eq!(other.as_slice::<f32>(), numbers);
    let theirs = ops::concatenate(&[&one, &small, &other], 0).unwrap();
    assert_eq!(joined.as_slice::<f32>(), theirs.as_slice::<f32>());
    // They are arrays like others.
    let sum = |array: &Array| array.sum(None).unwrap().item_exact::<f32>();
    assert_eq!(sum(&joined), sum(&theirs));
}

#[test]
fn weights_of_other_sizes_are_not_made_up() {
    let _device = device();
    assert!(floats(&[0; 12], Stored::F32, &[2, 2]).is_none());
    assert!(floats(&[0; 12], Stored::F32, &[-3, -1]).is_none());
    assert_eq!(floats(&[], Stored::F32, &[0, 4]).unwrap().unwrap().size(), 0);
    let (a, b) = (made_up(1, &[3, 4]), made_up(2, &[3, 5]));
    assert!(joined(&[&a, &b]).unwrap().is_err());
    assert!(joined(&[&a.t()]).unwrap().is_err());
    assert!(joined(&[]).is_none());
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
    let odd = made_up(3, &[6]);
    let odd_rows = made_up(3, &[1, 5]);
    for (before, after) in [
        (Before::Nothing, After { bias: Some(&odd), ..After::default() }),
        (Before::Nothing, After { residual: Some(&odd_rows), ..After::default() }),
        (Before::Norm(&weight, 1e-5), After::default()),
        (Before::Gate(Function::Silu), After::default()),
    ] {
        let error = linear(&x, before, &weight, after).unwrap().unwrap_err();
        assert!(error.what().contains("other shapes"), "{error}");
    }
    assert!(layer_norm(&x, None, (&made_up(4, &[4]), None), 1e-5).unwrap().is_err());
    let heads = made_up(5, &[2, 3, 4, 8]);
    let rows = |lengths| Rows { lengths, back: 9, ahead: 0 };
    assert!(attention(&heads, &heads, &heads, rows(&[4, 5]), 1.0).unwrap().is_err());
    assert!(attention(&heads, &heads, &heads, rows(&[4]), 1.0).unwrap().is_err());
    let half = x.as_dtype(mlx_rs::Dtype::Bfloat16).unwrap();
    assert!(each(Function::Silu, &half).is_none());
    assert!(linear(&half, Before::Nothing, &weight, After::default()).is_none());
    assert!(linear(&x, Before::Norm(&half, 1e-5), &weight, After::default()).is_none());
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

/// Heads that are a part of others, as queries beside keys and values are, and halves that are a part of a
/// head.
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
#[expect(unsafe_code, reason = "it calls what changes its inputs")]
fn attention_keeps_to_the_pool() {
    let _device = device();
    let (heads, pools) = (made_up(1, &[3, 4 * 8]), [made_up(2, &[1, 8, 8]), made_up(3, &[1, 8, 8])]);
    let turn = Turn { angles: None, norms: None };
    let scores = |window| Scores { heads: 2, scale: 1.0, window };
    let attend = |tokens, position, blocks: &[u32], window| {
        let mut paged = Paged { block: 4, ..Paged::default() };
        paged.push(tokens, position, blocks);
        // SAFETY: the pool is this test's, which evaluates one step after the other.
        unsafe { attention_paged(&heads, turn, (&pools[0], &pools[1]), &paged, scores(window)) }.unwrap()
    };
    attend(0..3, 2, &[1, 0], None).unwrap().eval().unwrap();
    assert!(attend(0..3, 2, &[1, 2], None).is_err(), "a block behind the pool's end");
    assert!(attend(0..3, 2, &[1], None).is_err(), "too few blocks");
    assert!(attend(0..2, 2, &[1, 0], None).is_err(), "too few tokens");
    assert!(attend(1..4, 2, &[1, 0], None).is_err(), "tokens behind the step's end");
    attend(0..3, 5, &[7, 1], Some(2)).unwrap().eval().unwrap();
    assert!(attend(0..3, 5, &[7, 1], Some(3)).is_err(), "the window reaches into a block that is not there");
    // Heads, angles and norms of other shapes than the pool's.
    let mut paged = Paged { block: 4, ..Paged::default() };
    paged.push(0..3, 2, &[1, 0]);
    let (odd, wide) = (made_up(4, &[5]), made_up(5, &[3, 1, 2, 8]));
    let scores = scores(None);
    for (turn, scores) in [
        (turn, Scores { heads: 3, ..scores }),
        (turn, Scores { heads: 0, ..scores }),
        (Turn { angles: None, norms: Some(([&odd, &odd], 1e-5)) }, scores),
        (Turn { angles: Some([&wide, &wide]), norms: None }, scores),
    ] {
        // SAFETY: as above.
        let step = unsafe { attention_paged(&heads, turn, (&pools[0], &pools[1]), &paged, scores) };
        let error = step.unwrap().unwrap_err();
        assert!(error.what().contains("other shapes"), "{error}");
    }
}
