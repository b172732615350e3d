//! Functions of numbers and rows, at every level.

use mlx_cpu_kernels as native;

use crate::arrays::numbers;
use crate::level::Level;

/// Lengths with and without a remainder for every vector width.
const LENGTHS: [usize; 8] = [1, 3, 8, 15, 16, 33, 100, 1000];

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Calls `test` with every level and length.
fn each(test: impl Fn(Level, usize)) {
    for level in Level::all() {
        for length in LENGTHS {
            test(level, length);
        }
    }
}

fn assert_close(level: Level, ours: &[f32], theirs: impl IntoIterator<Item = f64>) {
    let theirs: Vec<f64> = theirs.into_iter().collect();
    assert_eq!(ours.len(), theirs.len());
    for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let tolerance = 2e-5 * theirs.abs().max(1.0);
        let of = ours;
        assert!(
            (f64::from(*ours) - theirs).abs() <= tolerance,
            "{}, {at} of {}: {of} for {theirs}",
            level.name(),
            theirs
        );
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

/// Phi by the trapezoidal rule: the standard library has no error function.
fn gelu(x: f64) -> f64 {
    let steps = 4000;
    let width = x / f64::from(steps);
    let density = |t: f64| (-t * t / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let inner: f64 = (1..steps).map(|i| density(f64::from(i) * width)).sum();
    x * (0.5 + width * (inner + (density(0.0) + density(x)) / 2.0))
}

type Reference = fn(f64) -> f64;
const ACTIVATIONS: [(native::MlxdActivation, Reference); 5] = [
    (native::MLXD_IDENTITY, |x| x),
    (native::MLXD_GELU, gelu),
    (native::MLXD_GELU_TANH, gelu_tanh),
    (native::MLXD_SILU, silu),
    (native::MLXD_EXP2, f64::exp2),
];

#[test]
fn activations_match() {
    each(|level, length| {
        let x: Vec<f32> = numbers(1, length).iter().map(|x| x * 7.0).collect();
        for (f, reference) in ACTIVATIONS {
            assert_close(level, &level.activate(f, &x), wide(&x).into_iter().map(reference));
        }
    });
}

#[test]
fn exp2_stays_within_its_limits() {
    for level in Level::all() {
        let ends = level.activate(native::MLXD_EXP2, &[-1e30, -126.0, 127.0, 1e30]);
        assert_eq!(ends, [-126.0, -126.0, 127.0, 127.0].map(f32::exp2), "{}", level.name());
    }
}

#[test]
fn gate_applies_to_the_first_half_of_each_row() {
    each(|level, width| {
        let x = numbers(1, 3 * 2 * width);
        let theirs = x.chunks(2 * width).flat_map(|row| {
            let (gate, up) = row.split_at(width);
            wide(gate).into_iter().zip(wide(up)).map(|(gate, up)| silu(gate) * up)
        });
        assert_close(level, &level.activate_gate(native::MLXD_SILU, &x, 3), theirs);
    });
}

#[test]
fn norms_match() {
    each(|level, width| {
        let [x, added, weight, bias] = [1, 2, 3, 4].map(|salt| numbers(salt, width));
        let n = width as f64;
        let scale = 1.0 / (wide(&x).iter().map(|x| x * x).sum::<f64>() / n + 1e-5).sqrt();
        let theirs = wide(&x).into_iter().zip(wide(&weight)).map(|(x, weight)| x * scale * weight);
        assert_close(level, &level.rms_norm(&x, &weight), theirs);
        if width < 8 {
            return; // Next to no variance: nothing to compare.
        }
        let sum: Vec<f64> = wide(&x).iter().zip(wide(&added)).map(|(x, added)| x + added).collect();
        let mean = sum.iter().sum::<f64>() / n;
        let scale = 1.0 / (sum.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt();
        let affine = wide(&weight).into_iter().zip(wide(&bias));
        let theirs = sum.iter().zip(affine).map(|(x, (weight, bias))| (x - mean) * scale * weight + bias);
        assert_close(level, &level.layer_norm(&x, &added, &weight, &bias), theirs);
    });
}

#[test]
fn rotation_and_sums_match() {
    each(|level, half| {
        let [x, sines] = [1, 3].map(|salt| numbers(salt, 2 * half));
        let cosines = numbers(2, half);
        let rotated = (0..2 * half).map(|i| {
            let other = (i + half) % (2 * half);
            f64::from(x[i]) * f64::from(cosines[i % half]) + f64::from(x[other]) * f64::from(sines[i])
        });
        assert_close(level, &level.rotate(&x, &cosines, &sines), rotated);
        let sums = wide(&x).into_iter().zip(wide(&sines)).map(|(x, y)| y + 0.3 * x);
        assert_close(level, &level.add_scaled(0.3, &x, &sines), sums);
    });
}

#[test]
fn softmax_ignores_scores_outside_the_range() {
    each(|level, count| {
        let scores: Vec<f32> = numbers(1, count).iter().map(|x| x * 30.0).collect();
        for (begin, end) in [(0, count), (count / 3, count), (count / 3, count / 2 + 1)] {
            let mut weights = scores.clone();
            let total = level.softmax(&mut weights, begin, end);
            let maximum = scores[begin..end].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let seen = |(i, x): (usize, &f32)| match (begin..end).contains(&i) {
                true => f64::from(x - maximum).exp2(),
                false => 0.0,
            };
            let theirs: Vec<f64> = scores.iter().enumerate().map(seen).collect();
            assert_close(level, &[total], [theirs.iter().sum()]);
            assert_close(level, &weights, theirs);
        }
    });
}

/// Steps of any size give the result of one step.
#[test]
fn online_softmax_equals_softmax() {
    each(|level, count| {
        let width = 13;
        let scores: Vec<f32> = numbers(1, count).iter().map(|x| x * 20.0).collect();
        let values = numbers(2, count * width);
        let maximum = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weights: Vec<f64> = scores.iter().map(|x| f64::from(x - maximum).exp2()).collect();
        let total: f64 = weights.iter().sum();
        let weighted = |j: usize| -> f64 {
            weights.iter().enumerate().map(|(i, w)| w * f64::from(values[i * width + j])).sum()
        };
        let theirs: Vec<f64> = (0..width).map(|j| weighted(j) / total).collect();
        for step in [1, 7, 64, count] {
            assert_close(level, &level.attend(&scores, &values, step), theirs.iter().copied());
        }
    });
}

#[test]
fn bfloat16_is_read_at_any_address() {
    each(|level, count| {
        let numbers = numbers(1, count);
        let halves = numbers.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes());
        let bytes: Vec<u8> = std::iter::once(0).chain(halves).collect();
        let theirs: Vec<f32> = numbers.iter().map(|x| f32::from_bits(x.to_bits() & 0xffff_0000)).collect();
        assert_eq!(level.widen_bf16(&bytes[1..]), theirs, "{}", level.name());
    });
}
