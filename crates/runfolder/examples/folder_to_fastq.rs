//! The library alone: a run folder on disk becomes FASTQ.
//!
//! `cargo run --release -p runfolder --example folder_to_fastq -- RUN SHEET OUT [THREADS [isa-l]]`

use std::error::Error;

use runfolder::dir::{DirSink, DirSource};
use runfolder::{PlanOptions, RunInfo, SampleSheet, demultiplex, limits, plan, read_small};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("RUN SHEET OUT [THREADS [isa-l]] are expected");
    let source = DirSource::new(next()?)?;
    let sheet = SampleSheet::parse(&std::fs::read(next()?)?)?;
    let mut sink = DirSink::create(next()?)?;
    let mut options = PlanOptions::default();
    if let Ok(threads) = next() {
        options.threads = threads.parse()?;
    }
    match next() {
        #[cfg(feature = "isa-l")]
        Ok(name) if name == "isa-l" => options.deflate = runfolder::Deflate::IsaL,
        Ok(_) => return Err("this program was built without another compressor".into()),
        Err(_) => {}
    }
    let run_info = RunInfo::parse(&read_small(&source, "RunInfo.xml", limits::MAX_TEXT_BYTES)?)?;
    let plan = plan(run_info, &sheet, options)?;
    demultiplex(&source, &plan, &mut sink, &|_| ())?;
    sink.finish()?;
    Ok(())
}
