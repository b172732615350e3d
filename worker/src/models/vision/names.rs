//! One name for each tensor of a vision part, whichever program wrote the file. Pure.

/// Prefixes in files of Transformers 4 and 5 and of mlx-vlm, and here. The first that fits counts.
const PREFIXES: [(&str, &str); 5] = [
    ("vision_tower.vision_model.", "vision_tower."),
    ("vision_tower.vision_tower.", "vision_tower."),
    ("vision_model.", "vision_tower."),
    ("vision_encoder.", "vision_tower."),
    ("visual.", "vision_tower."),
];

/// The name of a tensor or layer; `name` has no `model.` before it.
pub fn canonical(name: &str) -> String {
    for (theirs, ours) in PREFIXES {
        if let Some(rest) = name.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_s_names_become_one() {
        for (theirs, ours) in [
            ("vision_model.encoder.layers.0.mlp.fc1.weight", "vision_tower.encoder.layers.0.mlp.fc1.weight"),
            ("vision_tower.vision_model.post_layernorm.bias", "vision_tower.post_layernorm.bias"),
            ("vision_tower.encoder.layers.1.mlp.fc2.bias", "vision_tower.encoder.layers.1.mlp.fc2.bias"),
            ("visual.blocks.0.attn.qkv.weight", "vision_tower.blocks.0.attn.qkv.weight"),
            ("vision_tower.merger.ln_q.weight", "vision_tower.merger.ln_q.weight"),
            ("connector.modality_projection.proj.weight", "connector.modality_projection.proj.weight"),
            ("multi_modal_projector.linear_1.bias", "multi_modal_projector.linear_1.bias"),
        ] {
            assert_eq!(canonical(theirs), ours);
        }
    }
}
