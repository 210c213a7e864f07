//! The guest's program: the vault alone, built without the unattested mode.
//!
//! It waits for the evidence of AMD SEV-SNP, which this version does not make yet; until then it says so and ends, since
//! a guest that showed anything less would not be one.

use std::process::ExitCode;

fn main() -> ExitCode {
    let missing = vault::task::TaskError::NoEvidence;
    let _nobody_reads_the_console = std::io::Write::write_fmt(
        &mut std::io::stderr(),
        format_args!(
            "error: {missing}\n\nhint: on a machine without SEV-SNP, `chorion vault run` runs the same tasks unattested\n"
        ),
    );
    ExitCode::FAILURE
}
