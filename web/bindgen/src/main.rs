//! `bindgen MODULE.wasm FOLDER`: writes what a browser loads, `authenticator.js` with its types and `authenticator_bg.wasm`.
//!
//! It is wasm-bindgen's own library, in the version of the crate that the module was compiled with. Names and the list of producers
//! are left out: they are of no use in a browser, and would make the bytes tell who built them.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, folder] = &arguments[..] else {
        eprintln!("error: two arguments are needed\n\nhint: bindgen MODULE.wasm FOLDER");
        return ExitCode::from(2);
    };
    let mut bindgen = wasm_bindgen_cli_support::Bindgen::new();
    let written = bindgen.input_path(module).web(true).and_then(|bindgen| {
        bindgen
            .typescript(true)
            .omit_default_module_path(true)
            .remove_name_section(true)
            .remove_producers_section(true)
            .generate(folder)
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {} gives no module for a browser: {error:#}", module.display());
            ExitCode::FAILURE
        }
    }
}
