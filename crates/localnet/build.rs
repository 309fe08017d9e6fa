//! Lists the committed bytecode in publication order, so that it is compiled into the library.
//! Never compiles Move and never changes a file of the source tree.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let bytecode = root.join("bytecode");
    let order = bytecode.join("order.txt");
    println!("cargo::rerun-if-changed={}", bytecode.display());
    let listed = fs::read_to_string(&order).expect("bytecode/order.txt is committed");
    let mut source = String::from("&[\n");
    for name in listed.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let file = bytecode.join(format!("{name}.mv"));
        println!("cargo::rerun-if-changed={}", file.display());
        writeln!(source, "    ({name:?}, include_bytes!({:?})),", file.display().to_string())
            .expect("a string takes all");
    }
    source.push_str("]\n");
    let out = env::var_os("OUT_DIR").expect("cargo sets it");
    fs::write(Path::new(&out).join("bundle.rs"), source).expect("OUT_DIR is writable");
}
