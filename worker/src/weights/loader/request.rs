//! The weights that a model asks a checking pass for: what a conversion of its files has to write.

/// A weight, with its shape before packing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// A tensor that is used as it is: a norm, a bias, sinks.
    Tensor {
        /// Its name.
        name: String,
        /// Its dimensions.
        shape: Vec<i32>,
    },
    /// A matrix `[outputs, inputs]` of a linear layer or an embedding, or a stack of experts' `[experts, outputs, inputs]`. It may be
    /// packed.
    Matrix {
        /// Path of the layer in mlx-lm's format.
        path: String,
        /// Its dimensions.
        shape: Vec<i32>,
        /// Paths of the layers in the files, in order: its own, or one for each expert.
        parts: Vec<String>,
    },
}
