//! The published chains of BIP-32 and SLIP-0010.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Chain {
    seed: String,
    path: String,
    chain: String,
    key: String,
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// `m/0'/1` as numbers.
fn steps(path: &str) -> Vec<u32> {
    path.split('/')
        .skip(1)
        .map(|step| match step.strip_suffix('\'') {
            Some(hardened) => hardened.parse::<u32>().unwrap() | HARDENED,
            None => step.parse().unwrap(),
        })
        .collect()
}

#[test]
fn the_published_chains_of_bip_32_come_out() {
    let chains: Vec<Chain> =
        serde_json::from_str(include_str!("../../../../vectors/bip32/bip32.json")).unwrap();
    assert!(chains.len() >= 17);
    for case in chains {
        let node = bip32(&unhex(&case.seed), &steps(&case.path)).unwrap();
        assert_eq!(node.key.as_slice(), unhex(&case.key), "{} {}", case.seed, case.path);
        assert_eq!(node.chain.as_slice(), unhex(&case.chain), "{} {}", case.seed, case.path);
    }
}

#[test]
fn the_published_chains_of_slip_0010_come_out() {
    let chains: Vec<Chain> =
        serde_json::from_str(include_str!("../../../../vectors/slip-0010/ed25519.json")).unwrap();
    assert!(chains.len() >= 12);
    for case in chains {
        let path: Vec<u32> = steps(&case.path).iter().map(|step| step & !HARDENED).collect();
        let node = slip10(&unhex(&case.seed), &path);
        assert_eq!(node.key.as_slice(), unhex(&case.key), "{} {}", case.seed, case.path);
        assert_eq!(node.chain.as_slice(), unhex(&case.chain), "{} {}", case.seed, case.path);
    }
}

#[test]
fn a_number_past_the_curves_order_is_no_key() {
    assert!(scalar(&[0xff; 32]).is_err());
    assert!(scalar(&[0; 32]).is_err());
}
