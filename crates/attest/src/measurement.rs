//! What a guest will be measured as, before it is started (`spec/evidence.md` section 8).
//!
//! The security processor hashes every page that is loaded into a guest, in order and with its address, type and contents; whoever has
//! the same firmware, kernel, initial file system and command line can compute the same digest. That is how a list of measurements
//! is made from sources that anyone can build. The firmware says in a table at its end which pages there are besides its own.

use std::num::NonZeroU16;

use sha2::{Digest, Sha256};

use crate::hex::Hex;
use crate::primitives::sha384;
use crate::report::CpuId;

const PAGE_BYTES: usize = 4096;
const FOUR_GIB: u64 = 1 << 32;
/// Firmware larger than this is none: it lies below 4 GiB beside other devices.
const MOST_FIRMWARE_BYTES: usize = 64 << 20;
/// Most memory that metadata may ask to have measured: some hundred KiB in practice.
const MOST_SECTION_BYTES: u32 = 64 << 20;
/// The address under which the processor enters the first instruction's page of each virtual processor.
const VMSA_ADDRESS: u64 = 0xFFFF_FFFF_F000;
/// Where the first virtual processor starts.
const RESET_VECTOR: u32 = 0xFFFF_FFF0;

/// Why a measurement cannot be predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// Not whole pages, or none, or more than lies below 4 GiB.
    #[error("the firmware has {0} bytes, which is not a number of pages that a firmware has")]
    FirmwareLength(usize),
    /// The table that OVMF ends with is not there, or broken.
    #[error("the firmware's table is not there or broken: it is not OVMF")]
    Table,
    /// An entry that is needed is not in the table.
    #[error("the firmware has no {0}: it was not built for SEV-SNP")]
    Entry(&'static str),
    /// The description of pages to be measured is broken.
    #[error("the firmware's description of its memory is broken")]
    Metadata,
    /// A kind of page whose measurement is not known.
    #[error("the firmware asks for pages of the kind {0}, which is not known")]
    Section(u32),
    /// The firmware would start any kernel.
    #[error(
        "the firmware has no place for the hashes of kernel, initrd and command line, so it would start any"
    )]
    NoKernelHashes,
}

/// What is started, under QEMU.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// OVMF, built with hashes of the kernel (`OvmfPkg/AmdSev`).
    pub firmware: &'a [u8],
    /// The kernel's file.
    pub kernel: &'a [u8],
    /// The initial file system; empty if there is none.
    pub initrd: &'a [u8],
    /// The kernel's command line, without a zero byte.
    pub command_line: &'a str,
    /// Virtual processors.
    pub vcpus: NonZeroU16,
    /// The virtual processors' model, as QEMU is told it.
    pub cpu: CpuId,
    /// SEV features that KVM enables in the guest; 1 is SNP alone.
    pub guest_features: u64,
}

/// Predicts the measurement of a guest that QEMU starts.
///
/// # Errors
/// The firmware is not OVMF, not built for SEV-SNP, or would start any kernel.
pub fn measure(launch: &Launch<'_>) -> Result<Hex<48>, MeasureError> {
    let firmware = Firmware::parse(launch.firmware)?;
    let mut digest = LaunchDigest([0; 48]);
    digest.pages(firmware.address, launch.firmware);
    let mut has_hashes = false;
    for section in &firmware.sections {
        let (from, bytes) = (u64::from(section.address), u64::from(section.bytes));
        match section.kind {
            SECTION_MEMORY | SECTION_SVSM_CALLS => digest.without_contents(PAGE_ZERO, from, bytes),
            SECTION_SECRETS => digest.without_contents(PAGE_SECRETS, from, PAGE_BYTES as u64),
            SECTION_CPUID => digest.without_contents(PAGE_CPUID, from, PAGE_BYTES as u64),
            SECTION_KERNEL_HASHES if bytes != PAGE_BYTES as u64 => {
                return Err(MeasureError::Metadata);
            }
            SECTION_KERNEL_HASHES => {
                digest.pages(from, &hashes_page(launch, firmware.hashes_offset)?);
                has_hashes = true;
            }
            other => return Err(MeasureError::Section(other)),
        }
    }
    if !has_hashes {
        return Err(MeasureError::NoKernelHashes);
    }
    let signature = cpu_signature(launch.cpu);
    let hashed = |start| sha384(&save_area(start, signature, launch.guest_features));
    let (first, further) = (hashed(RESET_VECTOR), hashed(firmware.reset_address));
    digest.extend(PAGE_VMSA, VMSA_ADDRESS, &first);
    for _ in 1..launch.vcpus.get() {
        digest.extend(PAGE_VMSA, VMSA_ADDRESS, &further);
    }
    Ok(Hex(digest.0))
}

const PAGE_NORMAL: u8 = 1;
const PAGE_VMSA: u8 = 2;
const PAGE_ZERO: u8 = 3;
const PAGE_SECRETS: u8 = 5;
const PAGE_CPUID: u8 = 6;

/// The digest so far; each page is hashed into it (AMD 56860, structure `PAGE_INFO`).
struct LaunchDigest([u8; 48]);

impl LaunchDigest {
    fn extend(&mut self, kind: u8, address: u64, contents: &[u8; 48]) {
        let mut info = [0; 0x70];
        info[..48].copy_from_slice(&self.0);
        info[48..96].copy_from_slice(contents);
        // Length, type, no initial migration image, and no permissions for lower levels.
        info[96..98].copy_from_slice(&0x70_u16.to_le_bytes());
        info[98] = kind;
        info[104..].copy_from_slice(&address.to_le_bytes());
        self.0 = sha384(&info);
    }

    fn pages(&mut self, address: u64, data: &[u8]) {
        for (page, address) in data.chunks(PAGE_BYTES).zip((address..).step_by(PAGE_BYTES)) {
            self.extend(PAGE_NORMAL, address, &sha384(page));
        }
    }

    fn without_contents(&mut self, kind: u8, address: u64, bytes: u64) {
        for address in (address..address + bytes).step_by(PAGE_BYTES) {
            self.extend(kind, address, &[0; 48]);
        }
    }
}

const SECTION_MEMORY: u32 = 1;
const SECTION_SECRETS: u32 = 2;
const SECTION_CPUID: u32 = 3;
const SECTION_SVSM_CALLS: u32 = 4;
const SECTION_KERNEL_HASHES: u32 = 0x10;

/// A piece of memory that the firmware wants measured.
struct Section {
    address: u32,
    bytes: u32,
    kind: u32,
}

/// What OVMF says of itself.
struct Firmware {
    address: u64,
    /// Where the other virtual processors start.
    reset_address: u32,
    /// Where in its page the table of hashes begins.
    hashes_offset: usize,
    sections: Vec<Section>,
}

// GUIDs as bytes in the firmware: the first three groups are little-endian.
/// `96b582de-1fb2-45f7-baea-a366c55a082d`
const FOOTER: [u8; 16] = guid(0x96b5_82de, 0x1fb2, 0x45f7, 0xbaea_a366_c55a_082d);
/// `7255371f-3a3b-4b04-927b-1da6efa8d454`
const HASH_TABLE: [u8; 16] = guid(0x7255_371f, 0x3a3b, 0x4b04, 0x927b_1da6_efa8_d454);
/// `00f771de-1a7e-4fcb-890e-68c77e2fb44e`
const RESET_BLOCK: [u8; 16] = guid(0x00f7_71de, 0x1a7e, 0x4fcb, 0x890e_68c7_7e2f_b44e);
/// `dc886566-984a-4798-a75e-5585a7bf67cc`
const SEV_METADATA: [u8; 16] = guid(0xdc88_6566, 0x984a, 0x4798, 0xa75e_5585_a7bf_67cc);

const fn guid(a: u32, b: u16, c: u16, d: u64) -> [u8; 16] {
    let (a, b, c, d) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes(), d.to_be_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

/// Size and GUID, which follow an entry's data.
const ENTRY_TAIL: usize = 18;
/// What follows the table up to the firmware's end: the reset vector's code.
const AFTER_TABLE: usize = 32;
const METADATA_HEAD: usize = 16;
const SECTION_BYTES: usize = 12;
/// OVMF has about ten.
const MOST_SECTIONS: usize = 64;

impl Firmware {
    fn parse(bytes: &[u8]) -> Result<Self, MeasureError> {
        let length = bytes.len();
        if length == 0 || !length.is_multiple_of(PAGE_BYTES) || length > MOST_FIRMWARE_BYTES {
            return Err(MeasureError::FirmwareLength(length));
        }
        let mut found: Vec<([u8; 16], &[u8])> = Vec::new();
        let (_, footer, mut table) =
            entry(&bytes[..length - AFTER_TABLE]).ok_or(MeasureError::Table)?;
        if footer != FOOTER {
            return Err(MeasureError::Table);
        }
        while table.len() >= ENTRY_TAIL {
            let (before, guid, data) = entry(table).ok_or(MeasureError::Table)?;
            found.push((guid, data));
            table = before;
        }
        let word = |guid: [u8; 16], name| {
            found
                .iter()
                .find(|(entry, _)| *entry == guid)
                .and_then(|(_, data)| data.first_chunk())
                .map(|bytes| u32::from_le_bytes(*bytes))
                .ok_or(MeasureError::Entry(name))
        };
        let reset_address = word(RESET_BLOCK, "reset block for further processors")?;
        let hashes_address = word(HASH_TABLE, "place for the hashes of the kernel")?;
        let from_end = word(SEV_METADATA, "description of its memory")? as usize;
        let metadata =
            length.checked_sub(from_end).and_then(|start| bytes.get(start..)).unwrap_or_default();
        Ok(Self {
            address: FOUR_GIB - length as u64,
            reset_address,
            hashes_offset: hashes_address as usize % PAGE_BYTES,
            sections: sections(metadata).ok_or(MeasureError::Metadata)?,
        })
    }
}

/// Cuts the last entry off a table: what stands before it, its GUID, its data.
fn entry(table: &[u8]) -> Option<(&[u8], [u8; 16], &[u8])> {
    let (head, guid) = table.split_last_chunk::<16>()?;
    let (data, size) = head.split_last_chunk::<2>()?;
    let data_bytes = usize::from(u16::from_le_bytes(*size)).checked_sub(ENTRY_TAIL)?;
    let (before, data) = data.split_at_checked(data.len().checked_sub(data_bytes)?)?;
    Some((before, *guid, data))
}

fn sections(metadata: &[u8]) -> Option<Vec<Section>> {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4)?.first_chunk().map(|word| u32::from_le_bytes(*word))
    };
    let (size, version, count) = (word(metadata, 4)?, word(metadata, 8)?, word(metadata, 12)?);
    let count = usize::try_from(count).ok()?;
    let listed = metadata.get(METADATA_HEAD..usize::try_from(size).ok()?)?;
    if !metadata.starts_with(b"ASEV")
        || version != 1
        || count > MOST_SECTIONS.min(listed.len() / SECTION_BYTES)
    {
        return None;
    }
    let read = |entry: &[u8]| {
        let section =
            Section { address: word(entry, 0)?, bytes: word(entry, 4)?, kind: word(entry, 8)? };
        let whole_pages = ((section.address | section.bytes) as usize).is_multiple_of(PAGE_BYTES);
        (whole_pages && section.bytes <= MOST_SECTION_BYTES).then_some(section)
    };
    listed.chunks_exact(SECTION_BYTES).take(count).map(read).collect()
}

/// The page in which QEMU tells the firmware the hashes of what it is to start.
fn hashes_page(launch: &Launch<'_>, offset: usize) -> Result<[u8; PAGE_BYTES], MeasureError> {
    /// `9438d606-4f22-4cc9-b479-a793d411fd21`
    const TABLE: [u8; 16] = guid(0x9438_d606, 0x4f22, 0x4cc9, 0xb479_a793_d411_fd21);
    /// `97d02dd8-bd20-4c94-aa78-e7714d36ab2a`
    const COMMAND_LINE: [u8; 16] = guid(0x97d0_2dd8, 0xbd20, 0x4c94, 0xaa78_e771_4d36_ab2a);
    /// `44baf731-3a2f-4bd7-9af1-41e29169781d`
    const INITRD: [u8; 16] = guid(0x44ba_f731, 0x3a2f, 0x4bd7, 0x9af1_41e2_9169_781d);
    /// `4de79437-abd2-427f-b835-d5b172d2045b`
    const KERNEL: [u8; 16] = guid(0x4de7_9437, 0xabd2, 0x427f, 0xb835_d5b1_72d2_045b);
    const ENTRY: u16 = 16 + 2 + 32;

    let mut table = Vec::with_capacity(176);
    table.extend_from_slice(&TABLE);
    table.extend_from_slice(&(16 + 2 + 3 * ENTRY).to_le_bytes());
    let command_line = Sha256::new().chain_update(launch.command_line).chain_update([0]);
    for (guid, hash) in [
        (COMMAND_LINE, command_line.finalize()),
        (INITRD, Sha256::digest(launch.initrd)),
        (KERNEL, Sha256::digest(launch.kernel)),
    ] {
        table.extend_from_slice(&guid);
        table.extend_from_slice(&ENTRY.to_le_bytes());
        table.extend_from_slice(&hash);
    }
    let mut page = [0; PAGE_BYTES];
    // QEMU rounds the table up to 16 bytes; a table that left its page would not be measured whole.
    let whole = offset..offset + table.len().next_multiple_of(16);
    if whole.end > PAGE_BYTES {
        return Err(MeasureError::Metadata);
    }
    page[offset..offset + table.len()].copy_from_slice(&table);
    Ok(page)
}

/// CPUID function 1, register EAX (AMD 25481).
fn cpu_signature(cpu: CpuId) -> u32 {
    let (family, model, stepping) =
        (u32::from(cpu.family), u32::from(cpu.model), u32::from(cpu.stepping & 0xF));
    let extended = family.saturating_sub(0xF);
    extended << 20 | (model >> 4) << 16 | family.min(0xF) << 8 | (model & 0xF) << 4 | stepping
}

/// The registers of a virtual processor as QEMU and KVM set them (AMD 24593, table B-4).
fn save_area(start: u32, signature: u32, features: u64) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    // Segments: selector, attributes, limit, base.
    for (at, selector, attributes, base) in [
        (0x000, 0_u16, 0x93_u16, 0_u32),            // ES
        (0x010, 0xF000, 0x9B, start & 0xFFFF_0000), // CS
        (0x020, 0, 0x93, 0),                        // SS
        (0x030, 0, 0x93, 0),                        // DS
        (0x040, 0, 0x93, 0),                        // FS
        (0x050, 0, 0x93, 0),                        // GS
        (0x060, 0, 0, 0),                           // GDTR
        (0x070, 0, 0x82, 0),                        // LDTR
        (0x080, 0, 0, 0),                           // IDTR
        (0x090, 0, 0x8B, 0),                        // TR
    ] {
        put(at, &selector.to_le_bytes());
        put(at + 2, &attributes.to_le_bytes());
        put(at + 4, &0xFFFF_u32.to_le_bytes());
        put(at + 8, &u64::from(base).to_le_bytes());
    }
    for (at, value) in [
        (0x0D0, 0x1000_u64),                // EFER: SVME, which KVM sets
        (0x148, 0x40),                      // CR4: MCE, which KVM sets
        (0x158, 0x10),                      // CR0
        (0x160, 0x400),                     // DR7
        (0x168, 0xFFFF_0FF0),               // DR6
        (0x170, 2),                         // RFLAGS
        (0x178, u64::from(start & 0xFFFF)), // RIP
        (0x268, 0x0007_0406_0007_0406),     // PAT
        (0x310, u64::from(signature)),      // RDX
        (0x3B0, features),                  // SEV features
        (0x3E8, 1),                         // XCR0
    ] {
        put(at, &value.to_le_bytes());
    }
    put(0x408, &0x1F80_u32.to_le_bytes()); // MXCSR
    put(0x410, &0x037F_u16.to_le_bytes()); // x87 control word
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRMWARE: &[u8] = include_bytes!("../../../vectors/evidence/measured/firmware.bin");

    /// One line per case: processors, family, model, stepping, features, command line, initrd, kernel, measurement; by sev-snp-measure.
    const CASES: &str = include_str!("../../../vectors/evidence/measured/cases.tsv");

    fn launch<'a>(kernel: &'a [u8], initrd: &'a [u8], command_line: &'a str) -> Launch<'a> {
        Launch {
            firmware: FIRMWARE,
            kernel,
            initrd,
            command_line,
            vcpus: NonZeroU16::MIN,
            cpu: CpuId { family: 25, model: 17, stepping: 0 },
            guest_features: 1,
        }
    }

    #[test]
    fn another_program_predicts_the_same() {
        let mut cases = 0;
        for line in CASES.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split('\t').collect();
            let &[vcpus, family, model, stepping, features, command_line, initrd, kernel, expected] =
                fields.as_slice()
            else {
                panic!("not nine fields: {line}");
            };
            let found = measure(&Launch {
                vcpus: vcpus.parse().unwrap(),
                cpu: CpuId {
                    family: family.parse().unwrap(),
                    model: model.parse().unwrap(),
                    stepping: stepping.parse().unwrap(),
                },
                guest_features: features.parse().unwrap(),
                ..launch(kernel.as_bytes(), initrd.as_bytes(), command_line)
            });
            assert_eq!(found.unwrap().to_string(), expected, "{line}");
            cases += 1;
        }
        assert_eq!(cases, 7);
    }

    #[test]
    fn a_change_anywhere_is_another_measurement() {
        let measured = |launch: &Launch<'_>| measure(launch).unwrap();
        let whole = launch(b"kernel", b"initrd", "quiet");
        let mut seen = vec![measured(&whole)];
        seen.push(measured(&launch(b"kernal", b"initrd", "quiet")));
        seen.push(measured(&launch(b"kernel", b"", "quiet")));
        seen.push(measured(&launch(b"kernel", b"initrd", "quiet ")));
        seen.push(measured(&Launch { guest_features: 3, ..whole }));
        let mut firmware = FIRMWARE.to_vec();
        firmware[0] ^= 1;
        seen.push(measured(&Launch { firmware: &firmware, ..whole }));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count);
    }

    #[test]
    fn firmware_that_cannot_be_measured_is_refused_by_name() {
        let refused = |firmware: &[u8]| measure(&Launch { firmware, ..launch(b"k", b"", "") });
        assert_eq!(refused(&[]), Err(MeasureError::FirmwareLength(0)));
        assert_eq!(refused(&FIRMWARE[1..]), Err(MeasureError::FirmwareLength(8191)));
        assert_eq!(refused(&[0; 4096]), Err(MeasureError::Table));
        let changed = |from: &[u8], to: &[u8]| {
            let mut firmware = FIRMWARE.to_vec();
            let at = firmware.windows(from.len()).position(|window| window == from).unwrap();
            firmware[at..at + to.len()].copy_from_slice(to);
            refused(&firmware)
        };
        let (reset, hashes) =
            ("reset block for further processors", "place for the hashes of the kernel");
        assert_eq!(changed(&RESET_BLOCK, &[0; 16]), Err(MeasureError::Entry(reset)));
        assert_eq!(changed(&HASH_TABLE, &[0; 16]), Err(MeasureError::Entry(hashes)));
        assert_eq!(changed(b"ASEV", b"ASEX"), Err(MeasureError::Metadata));
        let kinds = |kind: u32| {
            [&0x0080_F000_u32.to_le_bytes()[..], &0x1000_u32.to_le_bytes(), &kind.to_le_bytes()]
                .concat()
        };
        assert_eq!(changed(&kinds(0x10), &kinds(0x11)), Err(MeasureError::Section(0x11)));
        assert_eq!(changed(&kinds(0x10), &kinds(1)), Err(MeasureError::NoKernelHashes));
    }

    #[test]
    fn no_byte_of_the_firmwares_tables_makes_it_panic() {
        for at in FIRMWARE.len() - 512..FIRMWARE.len() {
            for value in [0, 0x7F, 0xFF] {
                let mut firmware = FIRMWARE.to_vec();
                firmware[at] = value;
                let _any_answer = measure(&Launch { firmware: &firmware, ..launch(b"k", b"", "") });
            }
        }
    }
}
