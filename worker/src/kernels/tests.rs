use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{fast, nn, ops};

use super::exponential::gelu;
use super::*;
use crate::kernels::device_lock::device;

fn pseudo_random(salt: i32, shape: &[i32]) -> Array {
    let count: i32 = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|at| ((at * 37 + salt * 11) % 101) as f32 / 50.0 - 1.0).collect();
    Array::from_slice(&values, shape)
}

fn assert_close(case: &str, ours: &Array, theirs: &Array) {
    assert_eq!(ours.shape(), theirs.shape(), "{case}");
    for (ours, theirs) in ours.as_slice::<f32>().iter().zip(theirs.as_slice::<f32>()) {
        assert!((ours - theirs).abs() <= 1e-4, "{case}: {ours} instead of {theirs}");
    }
}

/// Few and many rows, sizes that no vector width divides, a transposed input, with and without optional operands.
#[test]
fn linear_applies_bias_activation_and_residual() {
    let _device = device();
    let (weight, bias) = (pseudo_random(1, &[37, 19]), pseudo_random(2, &[37]));
    for x in [pseudo_random(3, &[1, 19]), pseudo_random(4, &[700, 19]), pseudo_random(5, &[19, 70]).t()] {
        let residual = pseudo_random(6, &[x.dim(0), 37]);
        let linear = |epilogue| linear(&x, Prologue::None, &weight, epilogue).unwrap().unwrap();
        let product = x.matmul(weight.t()).unwrap();
        assert_close("plain", &linear(Epilogue::default()), &product);
        let epilogue = Epilogue { residual: Some(&residual), ..Epilogue::default() };
        assert_close("added", &linear(epilogue), &product.add(&residual).unwrap());
        let activated = gelu(&product.add(&bias).unwrap()).unwrap();
        let epilogue = Epilogue { bias: Some(&bias), activation: Some(UnaryOp::Gelu), residual: None };
        assert_close("activated", &linear(epilogue), &activated);
        let all = Epilogue { residual: Some(&residual), ..epilogue };
        assert_close("all", &linear(all), &activated.add(&residual).unwrap());
    }
}

#[test]
fn linear_norms_or_gates_its_input() {
    let _device = device();
    let (weight, norm) = (pseudo_random(1, &[37, 19]), pseudo_random(2, &[19]));
    for rows in [1, 900] {
        let x = pseudo_random(3, &[rows, 19]);
        let normed = fast::rms_norm(&x, Some(&norm), 1e-5).unwrap().matmul(weight.t()).unwrap();
        let ours = linear(&x, Prologue::RmsNorm(&norm, 1e-5), &weight, Epilogue::default());
        assert_close("normed", &ours.unwrap().unwrap(), &normed);
        let both = pseudo_random(4, &[rows, 38]);
        let halves = (both.try_index((.., ..19)).unwrap(), both.try_index((.., 19..)).unwrap());
        let gated = nn::silu(&halves.0).unwrap().multiply(&halves.1).unwrap().matmul(weight.t()).unwrap();
        let ours = linear(&both, Prologue::Gate(UnaryOp::Silu), &weight, Epilogue::default());
        assert_close("gated", &ours.unwrap().unwrap(), &gated);
    }
}

/// From unaligned bytes, and enough of them for several threads.
#[test]
fn weights_are_aligned_to_a_cache_line() {
    let _device = device();
    let numbers: Vec<f32> = (0..600_000).map(|at| (at % 251) as f32 - 125.0).collect();
    let mut f32s = vec![0u8];
    let mut bf16s = vec![0u8];
    for number in &numbers {
        f32s.extend(number.to_le_bytes());
        bf16s.extend(half::bf16::from_f32(*number).to_le_bytes());
    }
    let shape = [6000, 10, 10];
    let load = |bytes: &[u8], stored| weight_from_bytes(bytes, stored, &shape).unwrap().unwrap();
    let (one, other) = (load(&f32s[1..], StoredFloat::F32), load(&bf16s[1..], StoredFloat::Bf16));
    let small = pseudo_random(1, &[3, 10, 10]);
    let joined = concatenate_rows(&[&one, &small, &other]).unwrap().unwrap();
    assert_eq!(joined.shape(), [12_003, 10, 10]);
    for array in [&one, &other, &joined] {
        assert_eq!(array.as_slice::<f32>().as_ptr().addr() % 64, 0);
    }
    assert_eq!(one.as_slice::<f32>(), numbers);
    assert_eq!(other.as_slice::<f32>(), numbers);
    let theirs = ops::concatenate(&[&one, &small, &other], 0).unwrap();
    assert_eq!(joined.as_slice::<f32>(), theirs.as_slice::<f32>());
    // Other operations accept them.
    let sum = |array: &Array| array.sum(None).unwrap().item_exact::<f32>();
    assert_eq!(sum(&joined), sum(&theirs));
}

#[test]
fn weights_of_wrong_sizes_are_refused() {
    let _device = device();
    assert!(weight_from_bytes(&[0; 12], StoredFloat::F32, &[2, 2]).is_none());
    assert!(weight_from_bytes(&[0; 12], StoredFloat::F32, &[-3, -1]).is_none());
    assert_eq!(weight_from_bytes(&[], StoredFloat::F32, &[0, 4]).unwrap().unwrap().size(), 0);
    let (a, b) = (pseudo_random(1, &[3, 4]), pseudo_random(2, &[3, 5]));
    assert!(concatenate_rows(&[&a, &b]).unwrap().is_err());
    assert!(concatenate_rows(&[&a.t()]).unwrap().is_err());
    assert!(concatenate_rows(&[]).is_none());
}

#[test]
fn layer_norm_matches_mlx_with_and_without_optional_operands() {
    let _device = device();
    let (weight, bias) = (pseudo_random(1, &[45]), pseudo_random(2, &[45]));
    let (x, added) = (pseudo_random(3, &[2, 7, 45]), pseudo_random(4, &[2, 7, 45]));
    for bias in [None, Some(&bias)] {
        for added in [None, Some(&added)] {
            let sum = added.map_or_else(|| x.clone(), |added| x.add(added).unwrap());
            let theirs = fast::layer_norm(&sum, &weight, bias, 1e-5).unwrap();
            let ours = layer_norm(&x, added, (&weight, bias), 1e-5).unwrap().unwrap();
            assert_close(&format!("{} {}", bias.is_some(), added.is_some()), &ours, &theirs);
        }
    }
}

#[test]
fn wrong_shapes_are_errors_and_other_types_are_left_to_mlx() {
    let _device = device();
    let (x, weight) = (pseudo_random(1, &[4, 6]), pseudo_random(2, &[5, 6]));
    let odd = pseudo_random(3, &[6]);
    let odd_rows = pseudo_random(3, &[1, 5]);
    for (prologue, epilogue) in [
        (Prologue::None, Epilogue { bias: Some(&odd), ..Epilogue::default() }),
        (Prologue::None, Epilogue { residual: Some(&odd_rows), ..Epilogue::default() }),
        (Prologue::RmsNorm(&weight, 1e-5), Epilogue::default()),
        (Prologue::Gate(UnaryOp::Silu), Epilogue::default()),
    ] {
        let error = linear(&x, prologue, &weight, epilogue).unwrap().unwrap_err();
        assert!(error.what().contains("other shapes"), "{error}");
    }
    assert!(layer_norm(&x, None, (&pseudo_random(4, &[4]), None), 1e-5).unwrap().is_err());
    let heads = pseudo_random(5, &[2, 3, 4, 8]);
    let rows = |lengths| PaddedRows { lengths, back: 9, ahead: 0 };
    assert!(attention(&heads, &heads, &heads, rows(&[4, 5]), 1.0).unwrap().is_err());
    assert!(attention(&heads, &heads, &heads, rows(&[4]), 1.0).unwrap().is_err());
    let half = x.as_dtype(mlx_rs::Dtype::Bfloat16).unwrap();
    assert!(unary(UnaryOp::Silu, &half).is_none());
    assert!(linear(&half, Prologue::None, &weight, Epilogue::default()).is_none());
    assert!(linear(&x, Prologue::RmsNorm(&half, 1e-5), &weight, Epilogue::default()).is_none());
}

/// Kernels reuse the buffer of an input only if nothing else holds it.
#[test]
fn inputs_in_use_are_not_overwritten() {
    let _device = device();
    let x = pseudo_random(1, &[300]);
    let before = x.as_slice::<f32>().to_vec();
    let doubled = x.add(&x).unwrap();
    let activated = unary(UnaryOp::Exp2, &doubled).unwrap().unwrap().add(&doubled).unwrap();
    activated.eval().unwrap();
    for ((x, doubled), activated) in
        before.iter().zip(doubled.as_slice::<f32>()).zip(activated.as_slice::<f32>())
    {
        assert_eq!(x + x, *doubled);
        assert!((doubled.exp2() + doubled - activated).abs() < 1e-5);
    }
    assert_eq!(before, x.as_slice::<f32>());
}

/// Enough rows for several threads, and widths that no vector width divides.
#[test]
fn rms_norm_matches_mlx() {
    let _device = device();
    for (rows, width) in [(1, 45), (900, 45), (3, 9000)] {
        let (x, weight) = (pseudo_random(1, &[rows, width]), pseudo_random(2, &[width]));
        let theirs = fast::rms_norm(&x, Some(&weight), 1e-5).unwrap();
        assert_close("norm", &rms_norm(&x, &weight, 1e-5).unwrap().unwrap(), &theirs);
        assert!(rms_norm(&x, &pseudo_random(2, &[width + 1]), 1e-5).unwrap().is_err());
    }
}

#[test]
fn gate_applies_to_the_first_half_of_each_row() {
    let _device = device();
    for (rows, width) in [(1, 37), (700, 37)] {
        let both = pseudo_random(1, &[rows, 2 * width]);
        let (first, second) =
            (both.try_index((.., ..width)).unwrap(), both.try_index((.., width..)).unwrap());
        let theirs = nn::silu(&first).unwrap().multiply(&second).unwrap();
        assert_close("gate", &gate(UnaryOp::Silu, &both).unwrap().unwrap(), &theirs);
        let theirs = gelu(&first).unwrap().multiply(&second).unwrap();
        assert_close("gelu", &gate(UnaryOp::Gelu, &both).unwrap().unwrap(), &theirs);
    }
    assert!(gate(UnaryOp::Silu, &pseudo_random(1, &[2, 7])).unwrap().is_err());
}

/// Heads that are a view of more heads, as queries beside keys and values are, and of wider heads.
#[test]
fn rotate_matches_the_rotary_formula() {
    let _device = device();
    for (tokens, width) in [(1, 12), (300, 12), (3, 8)] {
        let x = pseudo_random(1, &[tokens, 5, 12]).try_index((.., 1..4, ..width)).unwrap();
        let positions = pseudo_random(2, &[tokens]).multiply(Array::from_f32(100.0)).unwrap();
        let frequencies = pseudo_random(3, &[1, width / 2]);
        let angles = positions.reshape(&[-1, 1]).unwrap().multiply(&frequencies).unwrap();
        let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
        let [cos, sin] = [cos, sin].map(|x| x.reshape(&[tokens, 1, width / 2]).unwrap());
        let (a, b) =
            (x.try_index((.., .., ..width / 2)).unwrap(), x.try_index((.., .., width / 2..)).unwrap());
        let rotated =
            |one: &Array, other: &Array| one.multiply(&cos).unwrap().add(other.multiply(&sin).unwrap());
        let theirs =
            ops::concatenate(&[rotated(&a, &b.negative().unwrap()).unwrap(), rotated(&b, &a).unwrap()], 2);
        let sines = ops::stack(&[&sin.negative().unwrap(), &sin], 2).unwrap();
        let cosines = cos.reshape(&[tokens, 1, 1, width / 2]).unwrap();
        assert_close("rotated", &rotate(&x, &cosines, &sines).unwrap().unwrap(), &theirs.unwrap());
    }
}

/// (Its results are tested with the pool, in `kv/tests.rs`.)
#[test]
#[expect(unsafe_code, reason = "the kernel changes its inputs")]
fn paged_attention_outside_the_pool_is_an_error() {
    let _device = device();
    let (heads, pools) =
        (pseudo_random(1, &[3, 4 * 8]), [pseudo_random(2, &[1, 8, 8]), pseudo_random(3, &[1, 8, 8])]);
    let transform = HeadTransform { rotary: None, norms: None };
    let params = |window| PagedAttentionParams { heads: 2, scale: 1.0, window };
    let attend = |tokens, position, blocks: &[u32], window| {
        let mut batch = PagedBatch { block_size: 4, ..PagedBatch::default() };
        batch.push(tokens, position, blocks);
        // SAFETY: only this test holds the pool, and it evaluates one step after the other.
        unsafe { paged_attention(&heads, transform, (&pools[0], &pools[1]), &batch, params(window)) }.unwrap()
    };
    attend(0..3, 2, &[1, 0], None).unwrap().eval().unwrap();
    assert!(attend(0..3, 2, &[1, 2], None).is_err(), "a block beyond the pool's end");
    assert!(attend(0..3, 2, &[1], None).is_err(), "too few blocks");
    assert!(attend(0..2, 2, &[1, 0], None).is_err(), "too few tokens");
    assert!(attend(1..4, 2, &[1, 0], None).is_err(), "tokens beyond the step's end");
    attend(0..3, 5, &[7, 1], Some(2)).unwrap().eval().unwrap();
    assert!(attend(0..3, 5, &[7, 1], Some(3)).is_err(), "the window includes a block outside the pool");
    // Heads, cosines, sines and norms that do not match the pool's shape.
    let mut batch = PagedBatch { block_size: 4, ..PagedBatch::default() };
    batch.push(0..3, 2, &[1, 0]);
    let (odd, wide) = (pseudo_random(4, &[5]), pseudo_random(5, &[3, 1, 2, 8]));
    let params = params(None);
    for (transform, params) in [
        (transform, PagedAttentionParams { heads: 3, ..params }),
        (transform, PagedAttentionParams { heads: 0, ..params }),
        (HeadTransform { rotary: None, norms: Some(([&odd, &odd], 1e-5)) }, params),
        (HeadTransform { rotary: Some([&wide, &wide]), norms: None }, params),
    ] {
        // SAFETY: as above.
        let step = unsafe { paged_attention(&heads, transform, (&pools[0], &pools[1]), &batch, params) };
        let error = step.unwrap().unwrap_err();
        assert!(error.what().contains("other shapes"), "{error}");
    }
}
