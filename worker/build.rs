//! Linux: passes the folders of MLX and our kernels to the linker.
//!
//! `mlx-cpu-kernels` names the folders. They become the binaries' search path, so that no LD_LIBRARY_PATH
//! is needed; `cargo xtask dist` replaces it. `libmlxd_blas.so` is linked although nothing in Rust may
//! refer to it. Only if the executable itself names it does MLX call its BLAS, and not the reference one in
//! MLX's wheel.

fn main() {
    let Ok(folders) = std::env::var("DEP_MLXD_KERNELS_FOLDERS") else { return };
    for folder in folders.split(':') {
        println!("cargo::rustc-link-arg=-L{folder}");
        println!("cargo::rustc-link-search=native={folder}");
    }
    println!("cargo::rustc-link-arg=-Wl,-rpath,{folders}");
    for argument in ["-Wl,--push-state,--no-as-needed", "-lmlxd_blas", "-Wl,--pop-state"] {
        println!("cargo::rustc-link-arg={argument}");
    }
}
