//! Devices as they were recorded, and as they fail.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// A genuine report of a Genoa machine, as it is bundled for `attest`.
fn genuine() -> Vec<u8> {
    let path = "/../../vectors/evidence/real/genoa-v3-azure-msft/report.bin";
    fs::read(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn data_of(report: &[u8]) -> [u8; 64] {
    report[0x50..0x90].try_into().unwrap()
}

/// What a kernel puts into the folder of a report, with a genuine report in it.
fn fill(entry: &Path, provider: &str, report: &[u8]) -> std::io::Result<()> {
    fs::create_dir(entry)?;
    fs::write(entry.join("provider"), format!("{provider}\n"))?;
    fs::write(entry.join("generation"), "1\n")?;
    fs::write(entry.join("inblob"), "")?;
    fs::write(entry.join("outblob"), report)
}

fn remove(entry: &Path) -> std::io::Result<()> {
    // What was asked for is the vault's bytes, whole.
    assert_eq!(fs::read(entry.join("inblob"))?, data_of(&genuine()));
    fs::remove_dir_all(entry)
}

#[test]
fn a_recorded_configfs_gives_its_report_and_nothing_stays_behind() {
    let folder = tempfile::tempdir().unwrap();
    let device = Tsm::with(
        folder.path().to_owned(),
        |entry| {
            fill(entry, "sev_guest", &genuine())?;
            fs::write(entry.join("auxblob"), b"a table")
        },
        remove,
    );
    let evidence = device.report(&data_of(&genuine())).unwrap();
    assert_eq!(evidence, Evidence { report: genuine(), certificates: b"a table".to_vec() });
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    let without =
        Tsm::with(folder.path().to_owned(), |entry| fill(entry, "sev_guest", &genuine()), remove);
    assert!(without.report(&data_of(&genuine())).unwrap().certificates.is_empty());
}

#[test]
fn what_is_there_and_fails_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let with = |make, remove| Tsm::with(folder.path().to_owned(), make, remove);
    let gone: fn(&Path) -> std::io::Result<()> = |entry| fs::remove_dir_all(entry);
    let data = data_of(&genuine());
    // An ordinary folder: the kernel does not fill it.
    let plain = Tsm::new(folder.path().to_owned()).report(&data);
    assert!(matches!(plain, Err(DeviceError::System { .. })), "{plain:?}");
    let other = with(|entry| fill(entry, "tdx_guest", &genuine()), gone).report(&data);
    assert!(matches!(other, Err(DeviceError::Provider { .. })));
    let short = with(|entry| fill(entry, "sev_guest", &genuine()[..1000]), gone).report(&data);
    assert!(matches!(short, Err(DeviceError::Report { .. })));
    let bytes = with(|entry| fill(entry, "sev_guest", &genuine()), gone).report(&[7; 64]);
    assert!(matches!(bytes, Err(DeviceError::Report { .. })), "a report over other bytes");
    // A file that is no device does not know the call.
    let file = folder.path().join("sev-guest");
    fs::write(&file, "").unwrap();
    let call = SevGuest::new(file.clone()).report(&data);
    assert!(
        matches!(call, Err(DeviceError::System { what: "asking for a report", .. })),
        "{call:?}"
    );
    // What is there is found, so that its failure is seen; only where nothing is, is there none.
    let none = folder.path().join("none");
    assert!(find_in(none.clone(), none.clone()).is_none());
    let found = find_in(none, file.clone()).unwrap();
    assert_eq!(found.name(), file.display().to_string());
    assert!(found.report(&data).is_err());
    let both = find_in(folder.path().to_owned(), file).unwrap();
    assert_eq!(both.name(), folder.path().display().to_string());
}

#[test]
fn a_recorded_device_repeats_its_report_and_signs_nothing_else() {
    let device = Recorded(Evidence { report: genuine(), certificates: Vec::new() });
    assert!(device.report(&data_of(&genuine())).is_ok());
    assert!(matches!(device.report(&[1; 64]), Err(DeviceError::Report { .. })));
}

#[test]
fn certificates_are_found_by_their_identifiers() {
    let entry = |id: u128, from: u32, length: u32| {
        let mut entry = uuid::Uuid::from_u128(id).to_bytes_le().to_vec();
        entry.extend(from.to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry
    };
    let vcek = 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd;
    let mut table = [
        entry(vcek, 96, 4),
        entry(1, 100, 2),
        entry(0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae, 98, 4),
        vec![0; 24],
    ]
    .concat();
    assert_eq!(table[..4], [0x8d, 0x75, 0xda, 0x63]);
    table.extend(b"vcekark");
    let found = certificates(&table);
    assert_eq!(
        found.iter().map(|c| c.kind).collect::<Vec<_>>(),
        [CertificateKind::Vcek, CertificateKind::Ark]
    );
    assert_eq!(found[0].bytes, b"vcek");
    let past = [entry(vcek, 96, 400), vec![0; 24]].concat();
    assert!(certificates(&past).is_empty());
}

proptest! {
    #[test]
    fn a_table_of_any_bytes_is_read_or_left(table in prop::collection::vec(any::<u8>(), 0..300)) {
        for certificate in certificates(&table) {
            prop_assert!(certificate.bytes.len() <= table.len());
        }
    }
}
