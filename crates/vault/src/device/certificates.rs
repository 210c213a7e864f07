//! The host's table of certificates (AMD 56421, GHCB specification, section 4.1.8.1): for each an identifier, where it lies and how
//! long it is, up to an entry of zeros. The host wrote it, so every place in it is looked at.

/// What a certificate is, as the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    /// AMD's root.
    Ark,
    /// What the root signed, for VCEKs.
    Ask,
    /// The chip's own key.
    Vcek,
    /// A provider's key.
    Vlek,
    /// AMD's list of what was revoked.
    Crl,
}

/// One of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What it is.
    pub kind: CertificateKind,
    /// Its bytes, DER as a rule.
    pub bytes: Vec<u8>,
}

/// Identifiers as they lie in the table: the first three parts little-endian.
const KINDS: [(CertificateKind, u128); 5] = [
    (CertificateKind::Ark, 0xc0b4_06a4_a803_4952_9743_3fb6_014c_d0ae),
    (CertificateKind::Ask, 0x4ab7_b379_bbac_4fe4_a02f_05ae_f327_c782),
    (CertificateKind::Vcek, 0x63da_758d_e664_4564_adc5_f4b9_3be8_accd),
    (CertificateKind::Vlek, 0xa807_4bc2_a25a_483e_aae6_39c0_45a0_b8a1),
    (CertificateKind::Crl, 0x92f8_1bc3_5811_4d3d_97ff_d19f_88dc_67ea),
];

const ENTRY_BYTES: usize = 24;

/// The certificates of a table; none where it does not hold together. Others than the known kinds are left out.
pub fn certificates(table: &[u8]) -> Vec<Certificate> {
    let mut found = Vec::new();
    for entry in table.chunks_exact(ENTRY_BYTES) {
        let mut id = [0; 16];
        id.copy_from_slice(&entry[..16]);
        let id = uuid::Uuid::from_bytes_le(id).as_u128();
        if id == 0 {
            return found;
        }
        let word = |at: usize| {
            let word = [entry[at], entry[at + 1], entry[at + 2], entry[at + 3]];
            usize::try_from(u32::from_le_bytes(word)).unwrap_or(usize::MAX)
        };
        let (from, length) = (word(16), word(20));
        let bytes = from.checked_add(length).and_then(|to| table.get(from..to));
        let Some(bytes) = bytes else { return Vec::new() };
        if let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == id) {
            found.push(Certificate { kind: *kind, bytes: bytes.to_vec() });
        }
    }
    // Without its end it is no table.
    Vec::new()
}
