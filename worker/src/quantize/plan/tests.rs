use super::*;

const FOUR: Packing = Packing { group_size: 64, bits: 4, mode: PackingMode::Affine };

fn wanted(packing: Packing) -> Wanted<'static> {
    Wanted { packing, model_type: "llama", dtype: None, prefix: "" }
}

fn matrix_of(path: &str, shape: &[i32]) -> Request {
    Request::Matrix {
        path: path.into(),
        shape: shape.to_vec(),
        parts: vec![Source::whole(format!("{path}.weight"))],
    }
}

fn types(names: &[(&str, Dtype)]) -> BTreeMap<String, Dtype> {
    names.iter().map(|(name, dtype)| ((*name).to_owned(), *dtype)).collect()
}

/// Names, types and shapes of what is written.
fn written(plan: &Plan) -> Vec<(String, Dtype, Vec<usize>)> {
    let tensors = plan.items.iter().flat_map(Item::tensors);
    tensors.map(|tensor| (tensor.name, tensor.dtype, tensor.shape)).collect()
}

#[test]
fn matrices_become_packed_weights_scales_and_biases_and_the_rest_stays() {
    let requests = [
        matrix_of("embed", &[10, 128]),
        Request::Tensor { name: "norm.weight".into(), shape: vec![128], plus_one: false },
        matrix_of("odd", &[4, 96]),
    ];
    let stored =
        types(&[("embed.weight", Dtype::BF16), ("norm.weight", Dtype::F32), ("odd.weight", Dtype::BF16)]);
    let plan = Plan::new(&requests, &stored, &wanted(FOUR)).unwrap();
    assert_eq!(
        written(&plan),
        [
            ("embed.weight".into(), Dtype::U32, vec![10, 16]),
            ("embed.scales".into(), Dtype::BF16, vec![10, 2]),
            ("embed.biases".into(), Dtype::BF16, vec![10, 2]),
            ("norm.weight".into(), Dtype::F32, vec![128]),
            ("odd.weight".into(), Dtype::BF16, vec![4, 96]),
        ]
    );
    assert_eq!((plan.kept.as_slice(), plan.parameters()), (&["odd".to_owned()][..], 10 * 128 + 128 + 4 * 96));
    // A type for all, and three bits, which need no whole number of weights a word.
    let all = Wanted { dtype: Some(Dtype::F16), ..wanted(Packing { bits: 3, ..FOUR }) };
    let plan = Plan::new(&requests, &stored, &all).unwrap();
    let kinds: Vec<Dtype> = written(&plan).into_iter().map(|(_, dtype, _)| dtype).collect();
    assert_eq!(kinds, [Dtype::U32, Dtype::F16, Dtype::F16, Dtype::F16, Dtype::F16]);
    assert_eq!(written(&plan)[0].2, [10, 12]);
}

#[test]
fn mxfp4_has_bytes_as_scales_and_no_biases() {
    let stored = types(&[("x.weight", Dtype::F16)]);
    let plan = Plan::new(&[matrix_of("x", &[6, 64])], &stored, &wanted(Packing::MXFP4)).unwrap();
    assert_eq!(
        written(&plan),
        [("x.weight".into(), Dtype::U32, vec![6, 8]), ("x.scales".into(), Dtype::U8, vec![6, 2])]
    );
    assert_eq!(
        plan.quantization(Packing::MXFP4),
        json!({"group_size": 32, "bits": 4, "mode": "mxfp4"}),
        "as mlx-lm writes it"
    );
}

#[test]
fn experts_are_stacked_and_routers_have_a_packing_of_their_own() {
    let parts: Vec<Source> =
        (0..3).map(|n| Source::whole(format!("model.layers.0.mlp.experts.{n}.up_proj.weight"))).collect();
    let stacked = Request::Matrix {
        path: "model.layers.0.mlp.switch_mlp.up_proj".into(),
        shape: vec![3, 8, 64],
        parts: parts.clone(),
    };
    let requests = [matrix_of("model.layers.0.mlp.gate", &[3, 64]), stacked];
    let family = Wanted { model_type: "qwen3_moe", prefix: "language_model.", ..wanted(FOUR) };
    let plan = Plan::new(&requests, &BTreeMap::new(), &family).unwrap();
    assert_eq!(
        plan.quantization(FOUR),
        json!({
            "group_size": 64, "bits": 4, "mode": "affine",
            "language_model.model.layers.0.mlp.gate": {"group_size": 64, "bits": 8},
        })
    );
    let weight = |at: usize| plan.items[at].tensors()[0].shape.clone();
    assert_eq!((weight(0), weight(1)), (vec![3, 16], vec![3, 8, 8]));
    assert_eq!(plan.items[1].sources, parts);
    // As in mlx-lm, it is named although it is the same.
    let same = Wanted { packing: FINE, ..family };
    let plan = Plan::new(&requests, &BTreeMap::new(), &same).unwrap();
    assert_eq!(plan.special, [("language_model.model.layers.0.mlp.gate".into(), FINE)]);
    // Another family's gate is an ordinary layer.
    let plan = Plan::new(&requests, &BTreeMap::new(), &wanted(FOUR)).unwrap();
    assert!(plan.special.is_empty());
}

#[test]
fn biases_of_routers_keep_their_type() {
    let names = ["model.layers.0.mlp.gate.e_score_correction_bias", "model.norm.weight"];
    let mut requests = vec![matrix_of("x", &[8, 64])];
    requests.extend(names.map(|name| Request::Tensor { name: name.into(), shape: vec![8], plus_one: false }));
    let stored = types(&names.map(|name| (name, Dtype::F32)));
    let all = Wanted { dtype: Some(Dtype::BF16), model_type: "glm4_moe", ..wanted(FOUR) };
    let plan = Plan::new(&requests, &stored, &all).unwrap();
    let kinds: Vec<Dtype> = plan.items[1..].iter().map(|item| item.dtype).collect();
    assert_eq!(kinds, [Dtype::F32, Dtype::BF16]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refusal = |requests: &[Request], stored: &BTreeMap<String, Dtype>, wanted: &Wanted| {
        Plan::new(requests, stored, wanted).unwrap_err().to_string()
    };
    let none = BTreeMap::new();
    let text = refusal(&[], &none, &wanted(Packing { bits: 7, ..FOUR }));
    assert!(text.starts_with("7 bits in groups of 64 is nothing that the mode affine has"), "{text}");
    let text = refusal(&[], &none, &wanted(Packing { group_size: 64, ..Packing::MXFP4 }));
    assert!(text.ends_with("the mode mxfp4 has: it has 4 bits in groups of 32"), "{text}");
    let text = refusal(&[matrix_of("a", &[8, 48])], &none, &wanted(FOUR));
    assert!(text.contains("groups of 64 do not divide the 48 inputs of a"), "{text}");
    let router = [matrix_of("model.layers.0.mlp.router", &[4, 96])];
    let family = Wanted { model_type: "gpt_oss", ..wanted(Packing::MXFP4) };
    let text = refusal(&router, &none, &family);
    assert!(text.starts_with("model.layers.0.mlp.router has 96 inputs, and groups of 64"), "{text}");
    let parts = ["a", "b"].map(|name| Source::whole(name.into())).into();
    let mixed = Request::Matrix { path: "x".into(), shape: vec![2, 8, 64], parts };
    let stored = types(&[("a", Dtype::F32), ("b", Dtype::BF16)]);
    let text = refusal(&[mixed], &stored, &wanted(FOUR));
    assert_eq!(text, "x.weight has parts of different types: F32 and BF16");
}
