//! The owner's part of the story: somebody holds the key of their own project by twelve words, is asked, answers, and is not
//! asked twice by one answer. The vaults of the demo prove nothing, so the project bears the mark of a trial.

use std::path::Path;

use serde_json::Value;

use super::stage::{Hub, Person, Story, files};
use super::text;
use crate::report::{CliError, CliResult};

/// The file of the owner's sample.
const VCF: &str = "grace.vcf";
/// One variant, whose place stands nowhere else in the story.
const CONTENT: &str = "##fileformat=VCFv4.2\n##contig=<ID=20,length=63025520>\n\
    ##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">\n\
    #CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tgrace-of-the-owners-story\n\
    20\t6000042\trs7\tA\tG\t.\t.\t.\tGT\t0/1\n";
/// What of it must stand nowhere in the hub's files.
const CANARY: &[u8] = b"grace-of-the-owners-story";

/// Somebody asks for the owner's data, and the owner says yes.
pub(super) fn play(
    dir: &Path,
    story: &mut Story,
    hub: &Hub,
    clinic: &Person,
    clinics: &str,
) -> CliResult {
    let grace = Person::with_words(dir, "grace");
    let account =
        story.step("a person draws twelve words: every key of hers comes from them", |s| {
            let invited = clinic.call(s, &["account", "invite", "Grace"])?;
            let (code, account) = (text(&invited, "/code")?, text(&invited, "/account/id")?);
            let login =
                ["login", "--hub", hub.url(), "--ca", hub.ca(), "--code", &code, "--name", "Grace"];
            grace.call(s, &login)?;
            grace.draw_words(s)?;
            let keys = grace.call(s, &["identity", "show", "--format", "json"])?;
            let address = text(&keys, "/ethereum")?;
            Ok((
                account,
                format!(
                    "typed back and kept under a passphrase; her Ethereum account is {address}"
                ),
            ))
        })?;
    let (project, sample) = story.step(
        "a project whose key she holds, and a sample of hers (trial mark: NOT CONFIDENTIAL)",
        |s| {
            let create = ["project", "create", "my genome", "--custodian", "owner", "--test"];
            let project = text(&grace.call(s, &create)?, "/id")?;
            let file = dir.join(VCF);
            std::fs::write(&file, CONTENT)
                .map_err(|e| CliError::new("the owner's file cannot be made").caused_by(e))?;
            let path = file.display().to_string();
            let import = ["sample", "import", &path, "--project", &project, "--name", "Grace"];
            let sample = text(&grace.call(s, &import)?, "/id")?;
            for file in files(&dir.join("hub"))? {
                let bytes = std::fs::read(&file).unwrap_or_default();
                if bytes.windows(CANARY.len()).any(|part| part == CANARY) {
                    return Err(CliError::new(format!("{} holds her genotypes", file.display())));
                }
            }
            Ok((
                (project, sample),
                "sealed here to her words: the hub has no key to it, and nothing readable"
                    .to_owned(),
            ))
        },
    )?;
    let asked = story.step("a clinic asks her genome one question, and says what for", |s| {
        let card = grace.call(s, &["project", "card", &project])?;
        let phrase = text(&card, "/phrase")?;
        let clinics_account = text(&clinic.call(s, &["whoami"])?, "/account/id")?;
        grace.call(s, &["project", "members", "add", &project, &clinics_account, "read"])?;
        clinic.call(s, &["project", "card", &project, "--confirm", &phrase])?;
        // The answer goes to a project of the clinic's, where she may see what becomes of it.
        clinic.call(s, &["project", "members", "add", clinics, &account, "read"])?;
        let ask = ["vault", "query", &sample, "--file", VCF, "--rsid", "rs7", "--project", clinics];
        let asking =
            clinic.start(s, &[&ask[..], &["--purpose", "does the dose suit her"]].concat())?;
        let request = grace.wait_for_request(s)?;
        Ok((
            (asking, request),
            "a vault was started, and it waits: it has no key of hers".to_owned(),
        ))
    })?;
    let (asking, request) = asked;
    let (digest, phrase) = story.step(
        "her device draws the request from what would be signed, and she approves",
        |s| {
            let shown = grace.call(s, &["approve", "show", &request])?;
            let sentences = shown["sentences"].to_string();
            for said in ["EXPORT", "rs7", "does the dose suit her", "NOT CONFIDENTIAL"] {
                if !sentences.contains(said) {
                    return Err(CliError::new(format!(
                        "the request does not say `{said}`: {sentences}"
                    )));
                }
            }
            let phrase = text(&shown, "/request_phrase")?;
            let given = grace.call(s, &["approve", "yes", &request, "--phrase", &phrase])?;
            let digest = text(&given, "/approval_digest")?;
            Ok((
                (digest, phrase.clone()),
                format!(
                    "NOT CONFIDENTIAL, an EXPORT to the clinic, for this question alone: {phrase}"
                ),
            ))
        },
    )?;
    story.step("the clinic has the answer, and the receipt names her approval", |s| {
        let answer = asking.finish()?;
        let alleles = &answer["answer"]["sites"][0]["at"]["samples"][0]["alleles"];
        if *alleles != serde_json::json!(["A", "G"]) {
            return Err(CliError::new(format!("the answer is not A and G: {answer}")));
        }
        let shown = clinic.call(s, &["session", "show", &text(&answer, "/session")?])?;
        let approvals = shown.pointer("/receipt/approvals").cloned().unwrap_or(Value::Null);
        if approvals != serde_json::json!([digest]) {
            return Err(CliError::new(format!("the receipt names {approvals}, not {digest}")));
        }
        Ok(((), format!("A and G at rs7, and nothing else of hers; receipt signed by the vault for approval {}", &digest[..12])))
    })?;
    story.step("her answer counts once, and nobody else opens her sample", |s| {
        let again = ["approve", "yes", &request, "--phrase", &phrase];
        grace.refused(s, &again, "waits for no answer")?;
        clinic.refused(s, &["sample", "download", &sample, "-o", "nowhere"], "words new")?;
        let to = dir.join("grace");
        grace.call(s, &["sample", "download", &sample, "-o", &to.display().to_string()])?;
        let back = std::fs::read_to_string(to.join(VCF)).unwrap_or_default();
        if back != CONTENT {
            return Err(CliError::new("her sample came back as another file"));
        }
        Ok(((), "the replayed approval is refused; the clinic, with every right but her words, reads nothing".to_owned()))
    })
}
