//! One fault each: the check that must refuse it does, and where nothing follows from the fault, no other.

use std::collections::BTreeSet;

use super::*;
use crate::CheckName::{
    Chain, Chip, Dates, Firmware, Floor, Form, GuestPolicy, HardwareId, Measurement, Product,
    ReportData, Revocation as Revoked, Signature as Signed, SigningKey as Key, Tcb as TcbCheck,
    Version, Vmpl,
};
use crate::Generation::{Genoa, Milan, Turin};
use crate::{ChipId, Floors, Hex, Outcome, Purpose, Revocation, Tcb, Weakening};

const GENOA: [&str; 3] = ["vcek-genoa", "ask-genoa", "ark-genoa"];

fn genoa(change: impl FnOnce(&mut [u8; REPORT_BYTES])) -> Appraisal {
    look(&signed(Genoa, change), &GENOA, &Policy::default())
}

fn with(vek: &str, issuer: &str, policy: &Policy) -> Appraisal {
    look(&signed(Genoa, |_| ()), &[vek, issuer, "ark-genoa"], policy)
}

fn accepting<const N: usize>(weakenings: [Weakening; N]) -> Policy {
    Policy { accept: weakenings.into(), ..Policy::default() }
}

fn chip() -> ChipId {
    let ids: Vec<u8> = (1..=64).collect();
    ChipId(Hex(ids.try_into().unwrap()))
}

#[test]
fn evidence_without_a_fault_is_accepted() {
    assert_eq!(refused(&genoa(|_| ())), []);
    // The root need not come along.
    assert_eq!(refused(&look(&signed(Genoa, |_| ()), &GENOA[..2], &Policy::default())), []);
    let turin = ["vcek-turin", "ask-turin"];
    assert_eq!(refused(&look(&signed(Turin, |_| ()), &turin, &Policy::default())), []);
    let milan = ["vcek-milan", "ask-milan"];
    let appraisal = look(&signed(Milan, |_| ()), &milan, &accepting([Weakening::Milan]));
    assert_eq!(refused(&appraisal), []);
    for vek in ["vcek-genoa-trailer-written", "vcek-genoa-hwid-wrapped"] {
        assert_eq!(refused(&with(vek, "ask-genoa", &Policy::default())), [], "{vek}");
    }
    let high = signed(Genoa, |report| {
        for at in [0x038, 0x180, 0x1E0, 0x1F0] {
            report[at + 7] = 219;
        }
    });
    let files = ["vcek-genoa-microcode-219", "ask-genoa"];
    assert_eq!(refused(&look(&high, &files, &Policy::default())), []);
}

#[test]
fn versions_3_to_5_are_accepted_and_no_other() {
    for (version, expected) in [
        (0, vec![Form, Version]),
        (1, vec![Form, Version]),
        (6, vec![Form, Version]),
        (3, vec![]),
        (4, vec![]),
        (5, vec![]),
    ] {
        let appraisal = genoa(|report| report[0] = version);
        let found: Vec<_> =
            refused(&appraisal).into_iter().filter(|name| [Form, Version].contains(name)).collect();
        assert_eq!(found, expected, "{version}");
        assert_eq!(appraisal.accepted, expected.is_empty(), "{version}");
    }
}

#[test]
fn what_a_version_adds_is_reserved_in_those_before_it() {
    for (version, expected) in [(3, vec![Form]), (4, vec![Form]), (5, vec![])] {
        let appraisal = genoa(|report| {
            report[0] = version;
            report[0x1F8] = 1;
            report[0x207] = 1;
        });
        assert_eq!(refused(&appraisal), expected, "{version}");
    }
    for stray in [0x04D, 0x04A, 0x18B, 0x19F, 0x1EB, 0x1EF, 0x208, 0x29F] {
        assert_eq!(refused(&genoa(|report| report[stray] = 0x80)), [Form], "{stray:#x}");
    }
    for stray in [0x2D0, 0x2E7, 0x318, 0x32F, 0x330, 0x49F] {
        let mut report = signed(Genoa, |_| ());
        report[stray] = 1;
        assert_eq!(refused(&look(&report, &GENOA, &Policy::default())), [Form], "{stray:#x}");
    }
}

#[test]
fn a_guest_that_the_host_may_read_or_move_is_refused() {
    for (bit, accepted) in [
        (16, true),
        (18, false),
        (19, false),
        (20, true),
        (24, true),
        (25, true),
        (26, false),
        (63, false),
    ] {
        let appraisal = genoa(|report| {
            let policy = 0x3_0000 | 1_u64 << bit;
            report[0x008..0x010].copy_from_slice(&policy.to_le_bytes());
        });
        let expected: &[CheckName] = if accepted { &[] } else { &[GuestPolicy] };
        assert_eq!(refused(&appraisal), expected, "bit {bit}");
    }
    assert_eq!(refused(&genoa(|report| report[0x00A] = 0x01)), [GuestPolicy], "bit 17 unset");
}

#[test]
fn another_level_than_0_is_refused_or_named() {
    for level in 1..=3 {
        let report = signed(Genoa, |report| report[0x030] = level);
        assert_eq!(refused(&look(&report, &GENOA, &Policy::default())), [Vmpl]);
        let named = look(&report, &GENOA, &accepting([Weakening::ProviderFirmware]));
        assert!(named.accepted);
        assert_eq!(named.check(Vmpl).unwrap().outcome, Outcome::Weakened);
        assert_eq!(named.weakenings[0].accepted, Weakening::ProviderFirmware);
    }
    let report = signed(Genoa, |report| report[0x030] = 4);
    assert_eq!(refused(&look(&report, &GENOA, &accepting([Weakening::ProviderFirmware]))), [Vmpl]);
}

#[test]
fn the_key_that_signed_is_the_one_the_report_names() {
    for (bits, expected) in [
        (0b00_0001, vec![]), // an author key is no fault
        (0b00_0010, vec![Key]),
        (0b00_0100, vec![Key]), // a VLEK, says the report, and the certificate is a VCEK
        (0b00_1000, vec![Key]),
        (0b01_1100, vec![Key]),
    ] {
        let report = signed(Genoa, |report| report[0x048] = bits);
        let policy = accepting([Weakening::Vlek]);
        assert_eq!(refused(&look(&report, &GENOA, &policy)), expected, "{bits:#b}");
    }
    // A VCEK, says the report, and the certificate is a VLEK.
    let appraisal = with("vlek-genoa", "asvk-genoa", &accepting([Weakening::Vlek]));
    assert_eq!(refused(&appraisal), [Key]);
}

#[test]
fn a_vlek_is_refused_or_named() {
    let report = signed(Genoa, |report| report[0x048] = 0b100);
    let files = ["vlek-genoa", "asvk-genoa", "ask-genoa"];
    assert_eq!(refused(&look(&report, &files, &Policy::default())), [HardwareId, Key]);
    let appraisal = look(&report, &files, &accepting([Weakening::Vlek]));
    assert!(appraisal.accepted);
    assert!(reason(&appraisal, HardwareId).contains("CN=a-cloud.example"));
    for (vek, issuer, check) in [
        ("bad-vlek-by-ask", "ask-genoa", Chain),
        ("bad-vlek-with-hwid", "asvk-genoa", HardwareId),
        ("bad-vlek-without-provider", "asvk-genoa", HardwareId),
    ] {
        let appraisal = look(&report, &[vek, issuer], &accepting([Weakening::Vlek]));
        assert_eq!(refused(&appraisal), [check], "{vek}");
    }
}

#[test]
fn a_masked_chip_is_refused_even_if_a_certificate_says_so_too() {
    let masked = signed(Genoa, |report| report[0x1A0..0x1E0].fill(0));
    for vek in ["vcek-genoa", "vcek-genoa-masked"] {
        let appraisal = look(&masked, &[vek, "ask-genoa"], &Policy::default());
        assert_eq!(refused(&appraisal), [HardwareId], "{vek}");
    }
}

#[test]
fn a_certificate_with_a_fault_is_refused_by_the_check_it_concerns() {
    for (vek, expected) in [
        ("bad-hwid-63", vec![HardwareId]),
        ("bad-hwid-8", vec![HardwareId]),
        ("bad-hwid-wrapped-63", vec![HardwareId]),
        ("bad-hwid-wrapped-and-more", vec![HardwareId]),
        ("bad-hwid-missing", vec![HardwareId]),
        ("bad-hwid-other-chip", vec![HardwareId]),
        ("bad-product-milan", vec![Product]),
        ("bad-product-unknown", vec![Product]),
        ("bad-tcb-older", vec![TcbCheck]),
        ("bad-tcb-microcode-256", vec![TcbCheck]),
        ("bad-tcb-fmc", vec![TcbCheck]),
        ("bad-signed-by-another", vec![Chain]),
        ("bad-signed-by-the-root", vec![Chain]),
        ("bad-salt-48-said-32-used", vec![Chain]),
        ("bad-signature-turned", vec![Chain]),
        ("bad-key-rsa", vec![Chain, Signed]),
    ] {
        assert_eq!(refused(&with(vek, "ask-genoa", &Policy::default())), expected, "{vek}");
    }
    for (vek, check) in [("bad-turin-without-fmc", TcbCheck), ("bad-turin-hwid-64", HardwareId)] {
        let files = [vek, "ask-turin"];
        assert_eq!(refused(&look(&signed(Turin, |_| ()), &files, &Policy::default())), [check]);
    }
}

#[test]
fn what_is_no_certificate_of_the_chain_ends_it() {
    for (vek, because) in [
        ("bad-extension-twice", "it has an extension twice"),
        ("bad-extension-critical", "it has a critical extension that is not known"),
        ("bad-key-p256", "its key is neither RSA-4096 with exponent 65537 nor on P-384"),
        ("bad-hash-sha256", "not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes"),
        ("bad-salt-32", "not signed with RSASSA-PSS, SHA-384 and a salt of 48 bytes"),
        ("bad-common-name", "it has no common name, or two"),
        ("bad-common-name-unknown", "no part of AMD's chain"),
        ("bad-trailing-byte", "something follows where nothing may"),
        ("bad-cut", "an element is cut off"),
        ("ask-exponent-3", "its key is neither"),
        ("ask-2048-bits", "its key is neither"),
    ] {
        let appraisal = with(vek, "ask-genoa", &Policy::default());
        let said = reason(&appraisal, Chain);
        assert!(said.starts_with(&format!("chain: refused: {vek}")), "{said}");
        assert!(said.contains(because), "{said}");
        // Nothing is believed that hangs on the chain.
        assert!(refused(&appraisal).contains(&Dates), "{vek}");
        // A bad file refuses beside good ones too: somebody put it there.
        let beside =
            look(&signed(Genoa, |_| ()), &["vcek-genoa", "ask-genoa", vek], &Policy::default());
        assert!(refused(&beside).contains(&Chain), "{vek}");
    }
}

#[test]
fn only_the_pinned_root_and_what_it_signed_make_a_chain() {
    for (files, because) in [
        (&["ask-genoa"][..], "no VCEK or VLEK is given"),
        (&["vcek-genoa"], "no ASK or ASVK is given"),
        (&["vcek-genoa", "ask-turin"], "the issuer of vcek-genoa is not among"),
        (&["vcek-genoa", "vlek-genoa", "ask-genoa"], "vcek-genoa and vlek-genoa are both"),
        (&["vcek-genoa", "ask-genoa", "ark-by-another"], "ark-by-another calls itself ARK-Genoa"),
        (&["vcek-genoa", "ask-by-another-root"], "ask-by-another-root is not signed by AMD's"),
        (&["vcek-genoa", "ask-no-authority"], "ask-no-authority may not sign"),
        (&["vcek-genoa", "ask-may-not-sign"], "ask-may-not-sign may not sign"),
        (&["bad-vcek-by-asvk", "asvk-genoa"], "bad-vcek-by-asvk is a VCEK and was issued as"),
        (&[], "no VCEK or VLEK is given"),
    ] {
        let said = reason(&look(&signed(Genoa, |_| ()), files, &Policy::default()), Chain);
        assert!(said.contains(because), "{files:?}: {said}");
    }
    // An ASK that another root signed does no harm beside the right one.
    let files = ["vcek-genoa", "ask-by-another-root", "ask-genoa"];
    assert_eq!(refused(&look(&signed(Genoa, |_| ()), &files, &Policy::default())), []);
    // The real roots know nothing of these.
    let ders = GENOA.map(file);
    let endorsements: Vec<_> = ders.iter().map(|der| Endorsement { name: "x", der }).collect();
    let real = crate::appraise(&signed(Genoa, |_| ()), &endorsements, &Policy::default(), now());
    assert!(refused(&real).contains(&Chain));
}

#[test]
fn more_files_than_a_chain_can_have_are_not_read() {
    let names = vec!["ask-genoa"; 33];
    let said = reason(&look(&signed(Genoa, |_| ()), &names, &Policy::default()), Chain);
    assert!(said.contains("33 files are more than the 32"), "{said}");
}

#[test]
fn the_clock_is_an_argument() {
    let report = signed(Genoa, |_| ());
    for (at, good) in [
        ("2024-12-31T23:59:59Z", false),
        ("2025-01-01T00:00:00Z", true),
        ("2033-01-01T00:00:00Z", true),
        ("2033-01-01T00:00:01Z", false),
        ("2020-01-01T00:00:00Z", false),
    ] {
        let appraisal = look_at(&report, &GENOA, &Policy::default(), at.parse().unwrap());
        assert_eq!(refused(&appraisal).contains(&Dates), !good, "{at}");
        assert_eq!(appraisal.accepted, good, "{at}");
    }
}

#[test]
fn a_revocation_list_is_heeded_where_there_is_one_and_missed_aloud_where_not() {
    let required = Policy { revocation: Revocation::Required, ..Policy::default() };
    for (list, reported, with_required) in [
        (None, Outcome::NotChecked, Outcome::Refused),
        (Some("crl-fresh"), Outcome::Passed, Outcome::Passed),
        (Some("crl-empty"), Outcome::Passed, Outcome::Passed),
        (Some("crl-of-the-ask"), Outcome::NotChecked, Outcome::Refused),
        (Some("crl-bad-stale"), Outcome::NotChecked, Outcome::Refused),
        (Some("crl-bad-without-next"), Outcome::NotChecked, Outcome::Refused),
        (Some("crl-bad-stale-revokes-ask"), Outcome::Refused, Outcome::Refused),
        (Some("crl-bad-revokes-ask"), Outcome::Refused, Outcome::Refused),
        (Some("crl-bad-revokes-vcek"), Outcome::Refused, Outcome::Refused),
        (Some("crl-bad-future"), Outcome::Refused, Outcome::Refused),
        (Some("crl-bad-by-another"), Outcome::Refused, Outcome::Refused),
    ] {
        let mut files = GENOA.to_vec();
        files.extend(list);
        for (policy, expected) in [(Policy::default(), reported), (required.clone(), with_required)]
        {
            let appraisal = look(&signed(Genoa, |_| ()), &files, &policy);
            assert_eq!(appraisal.check(Revoked).unwrap().outcome, expected, "{list:?}");
            assert_eq!(appraisal.accepted, expected != Outcome::Refused, "{list:?}");
        }
    }
    // A fresh list beside a stale one does not hide it; one that speaks of more than is understood ends the chain.
    let both = [GENOA[0], GENOA[1], "crl-fresh", "crl-bad-revokes-ask"];
    assert_eq!(refused(&look(&signed(Genoa, |_| ()), &both, &Policy::default())), [Revoked]);
    for list in ["crl-bad-critical", "crl-bad-entry-critical"] {
        let appraisal =
            look(&signed(Genoa, |_| ()), &[GENOA[0], GENOA[1], list], &Policy::default());
        assert_eq!(refused(&appraisal), [Chain], "{list}");
        assert!(reason(&appraisal, Chain).contains("a revocation list that is not understood"));
    }
}

#[test]
fn firmware_that_can_be_rolled_back_is_refused_or_named() {
    for (at, value) in [(0x1E0 + 7, 83), (0x1E0 + 6, 22), (0x1E0, 9), (0x1EC, 39), (0x1ED, 54)] {
        let report = signed(Genoa, |report| report[at] = value);
        assert_eq!(refused(&look(&report, &GENOA, &Policy::default())), [Firmware], "{at:#x}");
        let policy = accepting([Weakening::ProviderFirmware]);
        assert!(look(&report, &GENOA, &policy).accepted, "{at:#x}");
    }
    // More committed or reported than runs is not provisional but impossible.
    for (at, value) in [(0x038 + 7, 83), (0x1E0 + 6, 24), (0x1E8, 39)] {
        let report = signed(Genoa, |report| report[at] = value);
        let policy = accepting([Weakening::ProviderFirmware]);
        assert_eq!(refused(&look(&report, &GENOA, &policy)), [Firmware], "{at:#x}");
    }
}

#[test]
fn each_part_of_each_tcb_one_below_its_floor_refuses() {
    let floor = Tcb { fmc: None, boot_loader: 10, tee: 0, snp: 23, microcode: 84 };
    let policy = |floor| Policy {
        floors: Floors { genoa: Some(floor), ..Floors::default() },
        ..Policy::default()
    };
    assert_eq!(refused(&look(&signed(Genoa, |_| ()), &GENOA, &policy(floor))), []);
    for raised in [
        Tcb { boot_loader: 11, ..floor },
        Tcb { tee: 1, ..floor },
        Tcb { snp: 24, ..floor },
        Tcb { microcode: 85, ..floor },
    ] {
        assert_eq!(refused(&look(&signed(Genoa, |_| ()), &GENOA, &policy(raised))), [Floor]);
    }
    // Launched on older firmware than runs now.
    let launched = signed(Genoa, |report| report[0x1F0 + 7] = 83);
    let appraisal = look(&launched, &GENOA, &policy(floor));
    assert_eq!(refused(&appraisal), [Floor]);
    assert!(reason(&appraisal, Floor).contains("launch microcode is 83, the floor 84"));
    // A floor for another generation is none for this one.
    let turin = Tcb { fmc: Some(0), ..floor };
    let other =
        Policy { floors: Floors { turin: Some(turin), ..Floors::default() }, ..Policy::default() };
    let appraisal = look(&signed(Genoa, |_| ()), &GENOA, &other);
    assert_eq!(appraisal.check(Floor).unwrap().outcome, Outcome::NotChecked);
    let files = ["vcek-turin", "ask-turin"];
    for (floor, expected) in [
        (Tcb { fmc: Some(0), boot_loader: 1, tee: 0, snp: 4, microcode: 81 }, vec![]),
        (Tcb { fmc: Some(1), boot_loader: 1, tee: 0, snp: 4, microcode: 81 }, vec![Floor]),
        (Tcb { fmc: Some(0), boot_loader: 1, tee: 0, snp: 5, microcode: 81 }, vec![Floor]),
    ] {
        let policy = Policy {
            floors: Floors { turin: Some(floor), ..Floors::default() },
            ..Policy::default()
        };
        assert_eq!(refused(&look(&signed(Turin, |_| ()), &files, &policy)), expected, "{floor}");
    }
}

#[test]
fn reference_values_are_compared_whole() {
    let good = Policy {
        measurements: Some(BTreeSet::from([Hex([0x11; 48]), Hex([0x99; 48])])),
        report_data: Some(Hex([0x55; 64])),
        chip_ids: Some(BTreeSet::from([chip()])),
        generations: Some(BTreeSet::from([Genoa])),
        ..Policy::default()
    };
    let report = signed(Genoa, |_| ());
    assert_eq!(refused(&look(&report, &GENOA, &good)), []);
    let mut near = [0x99; 48];
    near[47] = 0x98;
    for (policy, expected) in [
        (Policy { measurements: Some(BTreeSet::from([Hex(near)])), ..good.clone() }, Measurement),
        (Policy { report_data: Some(Hex([0x54; 64])), ..good.clone() }, ReportData),
        (Policy { chip_ids: Some(BTreeSet::from([ChipId(Hex([9; 64]))])), ..good.clone() }, Chip),
        (Policy { generations: Some(BTreeSet::from([Turin])), ..good }, CheckName::Generation),
    ] {
        assert_eq!(refused(&look(&report, &GENOA, &policy)), [expected]);
    }
}

#[test]
fn milan_is_refused_even_if_it_is_listed_and_not_accepted() {
    let listed = Policy { generations: Some(BTreeSet::from([Milan, Genoa])), ..Policy::default() };
    let files = ["vcek-milan", "ask-milan"];
    let report = signed(Milan, |_| ());
    assert_eq!(refused(&look(&report, &files, &listed)), [CheckName::Generation]);
    let accepted = Policy { accept: BTreeSet::from([Weakening::Milan]), ..listed };
    let appraisal = look(&report, &files, &accepted);
    assert!(appraisal.accepted);
    assert_eq!(appraisal.weakenings[0].accepted, Weakening::Milan);
    let unlisted = Policy { generations: Some(BTreeSet::from([Genoa])), ..accepted };
    assert_eq!(refused(&look(&report, &files, &unlisted)), [CheckName::Generation]);
}

#[test]
fn no_key_is_released_under_a_policy_that_leaves_something_out() {
    let floor = Tcb { fmc: None, boot_loader: 10, tee: 0, snp: 23, microcode: 84 };
    let whole = Policy {
        purpose: Purpose::KeyRelease,
        measurements: Some(BTreeSet::from([Hex([0x99; 48])])),
        floors: Floors { genoa: Some(floor), ..Floors::default() },
        report_data: Some(Hex([0x55; 64])),
        ..Policy::default()
    };
    let report = signed(Genoa, |_| ());
    assert_eq!(refused(&look(&report, &GENOA, &whole)), []);
    for (policy, expected) in [
        (Policy { measurements: None, ..whole.clone() }, Measurement),
        (Policy { floors: Floors::default(), ..whole.clone() }, Floor),
        (
            Policy { floors: Floors { milan: Some(floor), ..Floors::default() }, ..whole.clone() },
            Floor,
        ),
        (Policy { report_data: None, ..whole.clone() }, ReportData),
    ] {
        let appraisal = look(&report, &GENOA, &policy);
        assert_eq!(refused(&appraisal), [expected]);
        assert!(reason(&appraisal, expected).contains("no key is released under a policy without"));
    }
    // Milan only to chips that are listed.
    let mut milan = Policy {
        accept: BTreeSet::from([Weakening::Milan]),
        floors: Floors { milan: Some(floor), ..Floors::default() },
        ..whole
    };
    let (report, files) = (signed(Milan, |_| ()), ["vcek-milan", "ask-milan"]);
    assert_eq!(refused(&look(&report, &files, &milan)), [Chip]);
    milan.chip_ids = Some(BTreeSet::from([chip()]));
    assert_eq!(refused(&look(&report, &files, &milan)), []);
}

#[test]
fn an_appraisal_reads_as_the_specification_says() {
    let appraisal = genoa(|_| ());
    let json = serde_json::to_value(&appraisal).unwrap();
    assert_eq!(json["accepted"], true);
    assert_eq!(json["at"], "2026-11-21T00:00:00Z");
    assert_eq!(json["purpose"], "appraisal");
    assert_eq!(json["report"]["generation"], "genoa");
    assert_eq!(json["report"]["reported_tcb"]["microcode"], 84);
    assert_eq!(json["checks"].as_array().unwrap().len(), CheckName::ALL.len());
    assert_eq!(json["checks"][8]["check"], "hardware_id");
    assert_eq!(json["checks"][16]["outcome"], "not_checked");
    let page = include_str!("../../../../spec/evidence.md");
    for (name, check) in CheckName::ALL.iter().zip(&appraisal.checks) {
        assert_eq!(*name, check.check);
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
