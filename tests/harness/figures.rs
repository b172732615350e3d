//! Figures that tests measure: printed (`--nocapture`) in a form that `cargo xtask bench fleet` reads.

/// The text before a figure.
pub const MARK: &str = "figure ";

/// Prints `name` and its value, whose unit is the end of the name.
#[expect(clippy::print_stdout, reason = "figures are for the terminal")]
pub fn print(name: &str, value: f64) {
    println!("{MARK}{name} {value:.3}");
}
