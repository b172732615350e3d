//! The weights that a model asks a checking pass for: what a conversion of its files has to write.

/// A weight, with its shape before packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A tensor that is used as it is: a norm, a bias, sinks.
    Tensor {
        /// Its name.
        name: String,
        /// Its dimensions in mlx-lm's format.
        shape: Vec<i32>,
        /// Whether mlx-lm's format has the numbers plus one.
        plus_one: bool,
    },
    /// A matrix `[outputs, inputs]` of a linear layer or an embedding, or a stack of experts' `[experts, outputs, inputs]`. It may be
    /// packed.
    Matrix {
        /// Path of the layer in mlx-lm's format.
        path: String,
        /// Its dimensions.
        shape: Vec<i32>,
        /// Its parts in the files, in order: one, or one for each expert.
        parts: Vec<Source>,
    },
}

/// A tensor in the files, or every other block of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the tensor.
    pub tensor: String,
    /// The blocks; `None` for all rows.
    pub blocks: Option<AlternateBlocks>,
}

/// Every second of `count` blocks of equal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternateBlocks {
    /// Number of blocks.
    pub count: usize,
    /// Index of the first block that counts: 0 or 1.
    pub first: usize,
}

impl Source {
    /// A whole tensor.
    pub fn whole(tensor: String) -> Self {
        Self { tensor, blocks: None }
    }

    /// The bytes that count, of all bytes of the tensor.
    pub fn select<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        let AlternateBlocks { count, first } = self.blocks.unwrap_or(AlternateBlocks { count: 1, first: 0 });
        let step = if self.blocks.is_some() { 2 } else { 1 };
        bytes.chunks((bytes.len() / count.max(1)).max(1)).skip(first).step_by(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_alternate() {
        let bytes: Vec<u8> = (0..12).collect();
        let of = |blocks| Source { tensor: "x".into(), blocks }.select(&bytes).collect::<Vec<_>>().concat();
        assert_eq!(of(None), bytes);
        assert_eq!(of(Some(AlternateBlocks { count: 4, first: 0 })), [0, 1, 2, 6, 7, 8]);
        assert_eq!(of(Some(AlternateBlocks { count: 4, first: 1 })), [3, 4, 5, 9, 10, 11]);
    }
}
