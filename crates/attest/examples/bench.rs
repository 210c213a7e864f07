//! How near a whole appraisal comes to the three signature checks it cannot do without, and to the `sev` crate, which checks
//! signatures only.
//!
//! The bare checks are RSA-4096 of the ASK under the root, RSA-4096 of the VCEK under the ASK, and P-384 of the report, with the same crates and
//! parsed keys. Time is the thread's CPU time; everything runs in turns, ratios are taken within a round. Prints medians
//! with their spread; `--json` prints one JSON line.
//!
//! `cargo run --release -p attest --example bench`

use std::error::Error;
use std::hint::black_box;
use std::io::{Write, stdout};

use attest::{Endorsement, Policy, SIGNED_BYTES, appraise};
use p384::ecdsa::signature::hazmat::PrehashVerifier;
use p384::ecdsa::{Signature, VerifyingKey};
use rsa::traits::SignatureScheme;
use rsa::{BoxedUint, Pss, RsaPublicKey};
use rustix::time::{ClockId, clock_gettime};
use sev::certs::snp::{Certificate, Chain, Verifiable, ca};
use sev::firmware::guest::AttestationReport;
use sev::parser::ByteParser;
use sha2::{Digest, Sha384};

const ROUNDS: usize = 31;
const REPEATS: u32 = 10;
const MOST: f64 = 5.0;

const ARK: &[u8] = include_bytes!("../../../vectors/evidence/real/chains/genoa/ark.der");
const ASK: &[u8] = include_bytes!("../../../vectors/evidence/real/chains/genoa/ask.der");
const VCEK: &[u8] = include_bytes!("../../../vectors/evidence/real/genoa-v3-azure-msft/vek.der");
const REPORT: &[u8] =
    include_bytes!("../../../vectors/evidence/real/genoa-v3-azure-msft/report.bin");

type Failure = Box<dyn Error>;

/// CPU milliseconds of one run of `work`.
fn timed(mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    };
    let start = now();
    for _ in 0..REPEATS {
        work()?;
    }
    Ok((now() - start) / f64::from(REPEATS))
}

/// What a certificate's signature is over: the first element inside the outer one, whose headers have four bytes each here.
fn signed(der: &[u8]) -> &[u8] {
    let length = usize::from(u16::from_be_bytes([der[6], der[7]]));
    &der[4..8 + length]
}

fn after<'a>(der: &'a [u8], head: &[u8]) -> Result<&'a [u8], Failure> {
    let at = der.windows(head.len()).position(|window| window == head).ok_or("no key there")?;
    Ok(&der[at + head.len()..])
}

fn rsa_key(der: &[u8]) -> Result<RsaPublicKey, Failure> {
    let modulus = &after(der, &[0x02, 0x82, 0x02, 0x01, 0x00])?[..512];
    Ok(RsaPublicKey::new(BoxedUint::from_be_slice(modulus, 4096)?, BoxedUint::from(65_537_u64))?)
}

fn pss(key: &RsaPublicKey, certificate: &[u8]) -> Result<(), Failure> {
    let signature = &certificate[certificate.len() - 512..];
    Pss::<Sha384>::new_with_salt(48).verify(
        key,
        &Sha384::digest(signed(certificate)),
        signature,
    )?;
    Ok(())
}

fn median(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}

fn main() -> Result<(), Failure> {
    let (ark, ask) = (rsa_key(ARK)?, rsa_key(ASK)?);
    let vcek = VerifyingKey::from_sec1_bytes(&after(VCEK, &[0x03, 0x62, 0x00])?[..97])?;
    let scalar = |at: usize| {
        let mut bytes = [0; 48];
        bytes.copy_from_slice(&REPORT[at..at + 48]);
        bytes.reverse();
        bytes
    };
    let signature = Signature::from_scalars(scalar(0x2A0), scalar(0x2E8))?;
    let bare = || {
        pss(black_box(&ark), ASK)?;
        pss(black_box(&ask), VCEK)?;
        let digest = Sha384::digest(black_box(&REPORT[..SIGNED_BYTES]));
        vcek.verify_prehash(&digest, &signature)?;
        Ok(())
    };
    let endorsements = [
        Endorsement { name: "vek.der", der: VCEK },
        Endorsement { name: "ask.der", der: ASK },
        Endorsement { name: "ark.der", der: ARK },
    ];
    let policy = Policy::default();
    let now = "2026-11-21T00:00:00Z".parse()?;
    let whole = || {
        let appraisal = appraise(black_box(REPORT), &endorsements, &policy, now);
        if appraisal.accepted { Ok(()) } else { Err("a genuine report is refused".into()) }
    };
    let peer = || {
        let chain = Chain {
            ca: ca::Chain { ark: Certificate::from_der(ARK)?, ask: Certificate::from_der(ASK)? },
            vek: Certificate::from_der(VCEK)?,
        };
        (&chain, &AttestationReport::from_bytes(black_box(REPORT))?).verify()?;
        Ok(())
    };

    let [mut bares, mut wholes, mut peers] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        bares.push(timed(bare)?);
        wholes.push(timed(whole)?);
        peers.push(timed(peer)?);
    }
    let over = |values: &[f64]| median(values.iter().zip(&bares).map(|(a, b)| a / b).collect());
    let (ratio, least, most) = over(&wholes);
    let (peer_ratio, ..) = over(&peers);
    let [(bare_ms, ..), (whole_ms, ..), (peer_ms, ..)] = [bares, wholes, peers].map(median);
    let reached = ratio <= MOST;
    let mut out = stdout();
    if std::env::args().any(|argument| argument == "--json") {
        writeln!(
            out,
            "{{\"bare_ms\":{bare_ms:.3},\"appraise_ms\":{whole_ms:.3},\"sev_ms\":{peer_ms:.3},\"ratio\":{ratio:.3},\"ratio_least\":{least:.3},\"ratio_most\":{most:.3},\"sev_ratio\":{peer_ratio:.3},\"reached\":{reached}}}"
        )?;
    } else {
        writeln!(out, "bare signature checks  {bare_ms:7.3} ms")?;
        writeln!(
            out,
            "appraise               {whole_ms:7.3} ms  {ratio:.2} times ({least:.2} to {most:.2})"
        )?;
        writeln!(out, "sev, signatures only   {peer_ms:7.3} ms  {peer_ratio:.2} times")?;
        writeln!(
            out,
            "goal: at most {MOST} times: {}",
            if reached { "reached" } else { "MISSED" }
        )?;
    }
    if reached { Ok(()) } else { Err("an appraisal takes too long".into()) }
}
