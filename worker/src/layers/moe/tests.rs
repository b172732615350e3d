use mlx_rs::{random, transforms};

use super::*;
use crate::kernels::device_lock::device;
use crate::weights::config::{Packing, PackingMode};

const SHAPE: MoeShape = MoeShape {
    size: 64,
    hidden: 32,
    experts: 5,
    chosen: 3,
    weighting: Weighting::Chosen,
    activation: Activation::Silu,
    biases: true,
};

fn normal(shape: &[i32]) -> Array {
    random::normal::<f32>(shape, None, None, None).unwrap()
}

fn stacked_linear(weight: Weight, bias: Option<Array>) -> StackedLinear {
    LinearWeights { weight, bias, low_rank: None }.into()
}

fn stacked(outputs: i32, inputs: i32) -> StackedLinear {
    let weight = Weight::Dense(normal(&[SHAPE.experts, outputs, inputs]));
    stacked_linear(weight, Some(normal(&[SHAPE.experts, outputs])))
}

fn packed(linear: &StackedLinear) -> (StackedLinear, StackedLinear) {
    let Weight::Dense(weight) = &linear.weight else { panic!("dense") };
    let packing = Packing { group_size: 32, bits: 4, mode: PackingMode::Affine };
    let (words, scales, biases) = ops::quantize(weight, 32, 4).unwrap();
    let unpacked = ops::dequantize(&words, &scales, &biases, 32, 4).unwrap();
    let parts = [words, scales, biases];
    let with_bias = |weight| stacked_linear(weight, linear.bias.clone());
    (with_bias(Weight::Quantized { parts, packing }), with_bias(Weight::Dense(unpacked)))
}

fn distance(a: &Array, b: &Array) -> f32 {
    assert_eq!(a.shape(), b.shape());
    transforms::eval([a, b]).unwrap();
    a.as_slice::<f32>().iter().zip(b.as_slice::<f32>()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Few rows are not sorted by expert, many rows are.
const TOKENS: [i32; 3] = [1, 4, 50];

#[test]
fn expert_rows_on_device_and_in_groups_agree() {
    let _device = device();
    for tokens in TOKENS {
        let (x, scores) = (normal(&[tokens, 64]), normal(&[tokens, SHAPE.experts]));
        let best = ops::argpartition_axis(scores, 2, -1).unwrap().try_index((.., ..3)).unwrap();
        let linear = stacked(32, 64);
        let (narrow, unpacked) = packed(&linear);
        let all =
            [ExpertRows::on_device(&best).unwrap(), ExpertRows::in_groups(&best).unwrap()].map(|rows| {
                let each = x.take_axis(&rows.tokens, 0).unwrap();
                [&linear, &narrow, &unpacked]
                    .map(|linear| rows.by_token(&linear.forward(&each, &rows).unwrap(), 3).unwrap())
            });
        let [gathered, grouped] = &all;
        for (one, other) in gathered.iter().zip(grouped) {
            assert_eq!(one.shape(), [tokens, 3, 32]);
            assert!(distance(one, other) < 1e-4, "{tokens} tokens");
        }
        assert!(distance(&grouped[1], &grouped[2]) < 1e-3, "{tokens} tokens, packed");
    }
}

#[test]
fn sparse_moe_returns_the_weighted_sum_of_its_experts() {
    let _device = device();
    let router = Linear::new(Weight::Dense(normal(&[SHAPE.experts, 64])), Some(normal(&[SHAPE.experts])));
    let (gate_proj, up_proj, down_proj) = (stacked(32, 64), stacked(32, 64), stacked(64, 32));
    for weighting in [
        Weighting::Chosen,
        Weighting::All { normalized: true, factor: 1.0 },
        Weighting::All { normalized: false, factor: 1.0 },
    ] {
        let parts = (router.clone(), gate_proj.clone(), up_proj.clone(), down_proj.clone());
        let (router, gate_proj, up_proj, down_proj) = parts;
        // With all experts chosen, every weighting is the plain softmax.
        let shape = MoeShape { chosen: SHAPE.experts, weighting, ..SHAPE };
        let moe = SparseMoe { router, by_expert: None, gate_proj, up_proj, down_proj, shape, on_cpu: true };
        let x = normal(&[7, 64]);
        let weights = ops::softmax_axis(moe.router.forward(&x).unwrap(), -1, true).unwrap();
        let mut sum = Array::from_f32(0.0);
        for expert in 0..SHAPE.experts {
            let forward = |x: &Array, linear: &StackedLinear| {
                let Weight::Dense(weight) = &linear.weight else { panic!("dense") };
                let bias = linear.bias.as_ref().unwrap().try_index(expert).unwrap();
                x.matmul(weight.try_index(expert).unwrap().t()).unwrap().add(bias).unwrap()
            };
            let (gate, up) = (forward(&x, &moe.gate_proj), forward(&x, &moe.up_proj));
            let answer = forward(&Activation::Silu.gate(&gate, &up).unwrap(), &moe.down_proj);
            let weight = weights.try_index((.., expert..expert + 1)).unwrap();
            sum = sum.add(answer.multiply(weight).unwrap()).unwrap();
        }
        assert!(distance(&moe.forward(&x).unwrap(), &sum) < 1e-2, "{weighting:?}");
    }
}

#[test]
fn check_with_impossible_number_of_experts_fails() {
    assert!(SHAPE.check().is_ok());
    for (experts, chosen) in [(4, 5), (4, 0), (0, 0), (-1, -1)] {
        assert!(MoeShape { experts, chosen, ..SHAPE }.check().is_err());
    }
}

#[test]
fn clipped_activation_clips_gate_from_above_and_up_from_both_sides() {
    let _device = device();
    let (gate, up) =
        (Array::from_slice(&[9.0f32, -9.0, 1.0], &[3]), Array::from_slice(&[9.0f32, -9.0, 0.5], &[3]));
    let sigmoid = |x: f32| 1.0 / (1.0 + (-1.702 * x).exp());
    let expected = [7.0 * sigmoid(7.0) * 8.0, -9.0 * sigmoid(-9.0) * -6.0, sigmoid(1.0) * 1.5];
    let ours = Activation::Clipped.gate(&gate, &up).unwrap();
    assert!(distance(&ours, &Array::from_slice(&expected, &[3])) < 1e-5);
}

/// The second group has the best expert, and the first the best two together.
#[test]
fn experts_of_the_best_groups_keep_their_scores() {
    let _device = device();
    let scores = Array::from_slice(&[0.5f32, 0.4, 0.8, 0.0, 0.1, 0.2], &[1, 6]);
    for (chosen, expected) in [
        (1, [0.5, 0.4, 0.0, 0.0, 0.0, 0.0]),
        (2, [0.5, 0.4, 0.8, 0.0, 0.0, 0.0]),
        (3, [0.5, 0.4, 0.8, 0.0, 0.1, 0.2]),
    ] {
        let kept = of_best_groups(&scores, ExpertGroups { count: 3, chosen }).unwrap();
        assert_eq!(kept.as_slice::<f32>(), expected, "{chosen}");
    }
}

#[test]
fn check_with_impossible_groups_fails() {
    let shape = |count, chosen| {
        let groups = Some(ExpertGroups { count, chosen });
        let routing = SigmoidRouting { bias: None, normalized: true, added: 0.0, factor: 1.0, groups };
        MoeShape { experts: 6, chosen: 3, weighting: Weighting::Sigmoid(routing), ..SHAPE }
    };
    assert!(shape(3, 2).check().is_ok() && shape(1, 1).check().is_ok());
    // One group of two has no three experts.
    for (count, chosen) in [(3, 1), (4, 2), (0, 0), (3, 4), (3, 0)] {
        assert!(shape(count, chosen).check().is_err(), "{count}, {chosen}");
    }
}

/// The bias decides on the choice, and does not count for the weights.
#[test]
fn sigmoid_routing_chooses_by_biased_scores_and_weighs_by_plain_ones() {
    let _device = device();
    let scores = Array::from_slice(&[2.0f32, 1.0, 0.0, -3.0], &[1, 4]);
    let bias = Array::from_slice(&[-1.0f32, 0.0, 0.0, 1.0], &[4]);
    for (normalized, factor) in [(true, 2.0), (false, 1.0)] {
        let routing = SigmoidRouting { bias: Some("bias"), normalized, added: 0.0, factor, groups: None };
        let (best, weights) = choose_by_sigmoid(&scores, 2, routing, Some(&bias)).unwrap();
        let best = best.as_dtype(Dtype::Int32).unwrap();
        transforms::eval([&best, &weights]).unwrap();
        let mut pairs: Vec<(i32, f32)> =
            best.as_slice::<i32>().iter().copied().zip(weights.as_slice::<f32>().iter().copied()).collect();
        pairs.sort_by_key(|(expert, _)| *expert);
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        let (one, other) = (sigmoid(1.0), sigmoid(-3.0));
        let sum = if normalized { one + other } else { 1.0 };
        for ((expert, weight), (expected, plain)) in pairs.into_iter().zip([(1, one), (3, other)]) {
            assert_eq!(expert, expected);
            assert!((weight - plain / sum * factor).abs() < 1e-6, "{expert}: {weight}");
        }
    }
}
