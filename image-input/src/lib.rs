//! From the bytes of an image file to what a vision tower takes.
//!
//! The reference is Transformers' default image processors (torchvision backend): for a picture with the same pixels, this crate gives
//! the same `pixel_values`, and it writes the same text in place of a chat template's image placeholder.
//!
//! - [`size`] and [`decode`] read a file: the format by its content, upright, transparency on white, within [`Limits`].
//! - [`Processor`] holds what a model folder says about its images, and makes a [`Prepared`] image of a [`Picture`].
//!
//! This crate fetches nothing, tokenises nothing and runs no model. Files come from strangers: no input makes it panic.

mod error;
mod families;
mod fields;
mod levels;
mod picture;
mod prepared;
mod processor;
mod resample;

pub use error::ImageError;
pub use picture::{Limits, Picture, decode, size};
pub use prepared::Prepared;
pub use processor::{Detail, Processor};
