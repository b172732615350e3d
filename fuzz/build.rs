//! On Linux: where MLX and our kernels lie, for the linker and for the targets when they run. What
//! `worker/build.rs` says of its own binaries reaches no other package's. cargo-fuzz runs targets without a
//! search path of its own.

fn main() {
    let Ok(folders) = std::env::var("DEP_MLXD_KERNELS_FOLDERS") else { return };
    for folder in folders.split(':') {
        println!("cargo::rustc-link-arg=-L{folder}");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folders}");
}
