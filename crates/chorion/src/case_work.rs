//! What a clinician does from a case: an app is launched on its samples, and the variants of its results are read beside the phenotypes.
//!
//! Results are opened here, on the clinician's machine: the hub says which datasets belong to the case and releases their keys, each by
//! policy and with an event of its own.

use std::io::Write;

use api::{Case, CaseField, CaseId, DatasetId, DatasetKind, OpenedCase, ReadCase};
use clap::Args;
use flate2::write::MultiGzDecoder;
use genome::query::parse_region;
use serde::{Deserialize, Serialize};

use crate::case::ReadArgs;
use crate::config::ClientContext;
use crate::download::Contents;
use crate::report::{CliError, CliResult, Ui};
use crate::session::{self, LaunchArgs, pair};

/// The longest line of a file of variants that is read.
const LINE_BYTES: usize = 16 << 20;

/// A launch from a case: its samples are the input, its project takes the result, and the result is linked to it.
#[derive(Debug, Args)]
pub(crate) struct LaunchFromCase {
    /// The case.
    case: CaseId,
    /// The app: its id, or NAME or NAME@VERSION.
    app: String,
    /// An input: the name in the app's manifest and a dataset's id. What no input is named for takes the samples of the case, where it is
    /// the app's first.
    #[arg(long = "input", value_name = "NAME=DATASET", value_parser = pair::<DatasetId>)]
    inputs: Vec<(String, DatasetId)>,
    /// A field of the app's form.
    #[arg(long = "param", value_name = "FIELD=VALUE", value_parser = pair::<String>)]
    params: Vec<(String, String)>,
    /// What the result is called; the app's name if absent.
    #[arg(long)]
    name: Option<String>,
    /// Wait until it has ended; the exit code says whether it completed.
    #[arg(long)]
    wait: bool,
    /// Do not ask back: the scopes that the app asks for are right.
    #[arg(long)]
    yes: bool,
}

/// Which variants are read beside the phenotypes.
#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// The case.
    case: CaseId,
    #[command(flatten)]
    read: ReadArgs,
    /// Only variants here: `CHROMOSOME`, `CHROMOSOME:START-END`, 1-based, ends included.
    #[arg(long)]
    region: Option<String>,
    /// How many variants of one file are shown.
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: usize,
}

/// A variant as its file says it (VCF 4.x).
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Variant {
    chromosome: String,
    position: u64,
    id: Option<String>,
    reference: String,
    alternates: Vec<String>,
    quality: Option<String>,
    filter: Option<String>,
    /// The genotype of each person of the file, as it is written there.
    genotypes: Vec<(String, String)>,
}

/// What a file of a linked dataset says.
#[derive(Debug, Serialize)]
struct FileOfVariants {
    dataset: DatasetId,
    file: String,
    variants: Vec<Variant>,
    /// How many more there are that the search takes.
    more: u64,
}

#[derive(Debug, Serialize)]
struct Review {
    case: OpenedCase,
    files: Vec<FileOfVariants>,
}

/// The samples of a case.
async fn samples(ctx: &ClientContext, case: &Case) -> CliResult<Vec<DatasetId>> {
    let mut samples = Vec::new();
    for dataset in &case.datasets {
        if ctx.client.dataset(*dataset).await?.kind == DatasetKind::Sample {
            samples.push(*dataset);
        }
    }
    Ok(samples)
}

/// The name of an app's first input.
fn first_input(manifest: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Inputs {
        #[serde(default)]
        input: Vec<Input>,
    }
    #[derive(Deserialize)]
    struct Input {
        name: String,
    }
    let inputs: Inputs = serde_json::from_str(manifest).ok()?;
    inputs.input.into_iter().next().map(|input| input.name)
}

pub(crate) async fn launch(args: LaunchFromCase, ui: Ui) -> CliResult {
    let ctx = ClientContext::load(ui)?;
    let case = ctx.client.case(args.case).await?;
    let app = crate::apps::find(&ctx, &args.app).await?;
    let mut inputs = args.inputs;
    if let Some(first) = first_input(&app.manifest)
        && inputs.iter().all(|(name, _)| *name != first)
    {
        let samples = samples(&ctx, &case).await?;
        if samples.is_empty() {
            return Err(CliError::new(format!("case {} has no sample", case.id)).hint(format!(
                "link one: `chorion case link {} SAMPLE`, or name the input: --input {first}=DATASET",
                case.id
            )));
        }
        inputs.extend(samples.into_iter().map(|sample| (first.clone(), sample)));
    }
    let launch = LaunchArgs {
        app: args.app,
        inputs,
        files: Vec::new(),
        params: args.params,
        project: case.project,
        name: args.name,
        purpose: None,
        wait: args.wait,
        yes: args.yes,
    };
    let launched = session::begin(&ctx, launch, ui).await?;
    // The result is the case's from its beginning, whatever becomes of it.
    ctx.client.link_case(case.id, launched.session.result).await?;
    session::follow(&ctx, ui, launched, args.wait).await
}

/// Takes the lines of a VCF file as they come, whole or compressed by blocks.
struct Lines<F: FnMut(&str)> {
    rest: Vec<u8>,
    take: F,
}

impl<F: FnMut(&str)> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.rest.len() + part.len() > LINE_BYTES {
                return Err(std::io::Error::other("a line is longer than 16 MiB"));
            }
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                (self.take)(String::from_utf8_lossy(&self.rest).trim_end());
                self.rest.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A line of a VCF file; the names are those of the heading's people.
fn variant(line: &str, names: &[String]) -> Option<Variant> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [chromosome, position, id, reference, alternates, quality, filter, ..] = columns[..] else {
        return None;
    };
    // What a terminal would obey instead of showing is not shown.
    let plain = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    let given = |text: &str| (text != ".").then(|| plain(text));
    let genotypes = names.iter().zip(columns.get(9..).unwrap_or_default());
    let genotype = |text: &str| plain(text.split(':').next().unwrap_or_default());
    Some(Variant {
        chromosome: plain(chromosome),
        position: position.parse().ok()?,
        id: given(id),
        reference: plain(reference),
        alternates: alternates.split(',').map(plain).collect(),
        quality: given(quality),
        filter: given(filter),
        genotypes: genotypes.map(|(name, text)| (plain(name), genotype(text))).collect(),
    })
}

/// The variants of one file that `wanted` takes.
async fn variants(
    ctx: &ClientContext,
    contents: &Contents,
    path: &str,
    ui: Ui,
    most: usize,
    wanted: impl Fn(&Variant) -> bool,
) -> CliResult<(Vec<Variant>, u64)> {
    let (mut names, mut found, mut more) = (Vec::new(), Vec::new(), 0);
    let mut sink = Lines {
        rest: Vec::new(),
        take: |line: &str| {
            if let Some(heading) = line.strip_prefix("#CHROM\t") {
                names = heading.split('\t').skip(8).map(str::to_owned).collect();
            } else if !line.starts_with('#')
                && let Some(variant) = variant(line, &names)
                && wanted(&variant)
            {
                if found.len() < most { found.push(variant) } else { more += 1 }
            }
        },
    };
    let bytes = contents.index().file(path).map_or(0, |file| file.bytes);
    let bar = ui.progress(bytes, path);
    let odd = |e| CliError::new(format!("{path} is no file of variants")).caused_by(e);
    if path.ends_with(".gz") {
        let mut open = MultiGzDecoder::new(sink);
        let read = contents.read_through(ctx, path, &bar, |bytes| {
            bar.inc(bytes.len() as u64);
            open.write_all(bytes).map_err(odd)
        });
        read.await?;
        open.finish().map_err(odd)?;
    } else {
        let read = contents.read_through(ctx, path, &bar, |bytes| {
            bar.inc(bytes.len() as u64);
            sink.write_all(bytes).map_err(odd)
        });
        read.await?;
    }
    bar.finish_and_clear();
    Ok((found, more))
}

pub(crate) async fn review(args: ReviewArgs, ui: Ui) -> CliResult {
    let region = args.region.as_deref().map(parse_region).transpose();
    let region = region.map_err(|e| CliError::new("the region does not read").caused_by(e))?;
    let wanted = |variant: &Variant| {
        region.as_ref().is_none_or(|region| {
            let end = variant.position.saturating_add(variant.reference.len() as u64 - 1);
            variant.chromosome == region.contig
                && end >= region.start
                && variant.position <= region.end
        })
    };
    let ctx = ClientContext::load(ui)?;
    let fields = vec![CaseField::Indication, CaseField::Phenotypes];
    let read = ReadCase { fields, ..args.read.read() };
    let case = ctx.client.read_case(args.case, &read).await?;
    if let Some(indication) = &case.document.indication {
        ui.line(format!("indication: {indication}"));
    }
    for phenotype in &case.document.phenotypes {
        let not = if phenotype.excluded { "not found: " } else { "" };
        let label = phenotype.label.as_deref().unwrap_or_default();
        ui.line(format!("phenotype: {not}{} {label}", phenotype.term.as_str()));
    }
    let mut files = Vec::new();
    for dataset in &case.case.datasets {
        // A result that is still being made has no content yet.
        if ctx.client.dataset(*dataset).await?.manifest_number == 0 {
            ui.line(format!("dataset {dataset}: not complete yet"));
            continue;
        }
        let contents = Contents::open(&ctx, *dataset).await?;
        let names = contents.index().files.iter().map(|file| file.path.clone());
        let is_variants = |path: &String| path.ends_with(".vcf") || path.ends_with(".vcf.gz");
        for file in names.filter(is_variants).collect::<Vec<_>>() {
            let (variants, more) = variants(&ctx, &contents, &file, ui, args.most, wanted).await?;
            ui.line(format!("\n{file} of {dataset}:"));
            for one in &variants {
                let people =
                    one.genotypes.iter().map(|(name, genotype)| format!("{name} {genotype}"));
                ui.line(format!(
                    "{}:{}  {} > {}  {}  {}  {}",
                    one.chromosome,
                    one.position,
                    one.reference,
                    one.alternates.join(","),
                    one.id.as_deref().unwrap_or("-"),
                    one.quality.as_deref().unwrap_or("-"),
                    people.collect::<Vec<_>>().join("  ")
                ));
            }
            if more > 0 {
                ui.line(format!("… and {more} more: name a --region, or more of them: --most"));
            }
            files.push(FileOfVariants { dataset: *dataset, file, variants, more });
        }
    }
    if files.is_empty() {
        ui.line("no linked dataset has a file of variants (.vcf, .vcf.gz)");
    }
    ui.value(&Review { case, files });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_variants_are_read_however_they_are_cut() {
        let text = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tAnna\n\
                    1\t100\trs1\tA\tG,T\t50\tPASS\t.\tGT:DP\t0/1:30\nodd line\n";
        for cut in 1..text.len() {
            let mut lines = Vec::new();
            let mut sink =
                Lines { rest: Vec::new(), take: |line: &str| lines.push(line.to_owned()) };
            sink.write_all(&text.as_bytes()[..cut]).unwrap();
            sink.write_all(&text.as_bytes()[cut..]).unwrap();
            assert_eq!(lines, text.lines().collect::<Vec<_>>());
        }
        let names = ["Anna".to_owned()];
        let read = variant(text.lines().nth(2).unwrap(), &names).unwrap();
        assert_eq!((read.position, read.alternates.len()), (100, 2));
        assert_eq!(read.genotypes, [("Anna".to_owned(), "0/1".to_owned())]);
        assert_eq!(variant("odd line", &names), None);
        assert!(
            !variant("1\t1\t\u{1b}[2J\tA\tG\t.\t.", &[]).unwrap().id.unwrap().contains('\u{1b}')
        );
    }
}
