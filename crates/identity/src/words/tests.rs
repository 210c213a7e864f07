//! Words: the published list, typing mistakes, and what shows nothing.

use proptest::prelude::*;

use super::*;
use crate::memory::Heap;

const ABOUT: &str =
    "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

/// Trezor's list: entropy, words, seed with the passphrase TREZOR.
#[test]
fn the_published_words_and_seeds_come_out() {
    let list: serde_json::Value =
        serde_json::from_str(include_str!("../../../../vectors/bip39/vectors.json")).unwrap();
    let cases = list["english"].as_array().unwrap();
    assert_eq!(cases.len(), 24);
    for case in cases {
        let field = |at: usize| case[at].as_str().unwrap();
        let entropy = data_encoding::HEXLOWER.decode(field(0).as_bytes()).unwrap();
        assert_eq!(*text_of(&entropy), field(1));
        assert_eq!(*entropy_of(field(1)).unwrap(), entropy);
        let mut seed = [0; SEED_BYTES];
        fill_seed(field(1), "TREZOR", &mut seed);
        assert_eq!(data_encoding::HEXLOWER.encode(&seed), field(2));
    }
}

#[test]
fn a_passphrase_is_the_same_however_its_letters_are_composed() {
    let (mut composed, mut decomposed) = ([0; SEED_BYTES], [0; SEED_BYTES]);
    fill_seed(ABOUT, "Zo\u{eb}", &mut composed);
    fill_seed(ABOUT, "Zoe\u{308}", &mut decomposed);
    assert_eq!(composed, decomposed);
}

#[test]
fn case_and_white_space_do_not_matter() {
    let typed = ABOUT.to_uppercase().replace(' ', " \n\t ");
    assert_eq!(*Words::parse(&typed, &Heap).unwrap().expose_text(), ABOUT);
}

#[test]
fn what_is_wrong_is_named_without_a_word() {
    let refused = |text: &str| Words::parse(text, &Heap).unwrap_err().to_string();
    assert_eq!(refused(""), "there are 0 words, and it takes 12");
    assert_eq!(refused("abandon about"), "there are 2 words, and it takes 12");
    let swapped = ABOUT.replace("abandon about", "about abandon");
    assert!(refused(&swapped).starts_with("the checksum of the words does not match"));
    let typo = ABOUT.replacen("abandon", "abandom", 1);
    assert_eq!(refused(&typo), "word 1 is not in the BIP-39 list");
    let three = typo.replace("about", "abot").replacen(" abandon", " qqq", 1);
    assert_eq!(refused(&three), "words 1, 2 and 12 are not in the BIP-39 list");
}

#[test]
fn the_nearest_words_are_those_a_person_meant() {
    for (typed, meant) in [
        ("abandom", "abandon"),
        ("abot", "about"),
        ("wierd", "weird"),
        ("zooo", "zoo"),
        ("acompany", "company"),
        ("elefant", "elephant"),
        ("Ability's", "ability"),
    ] {
        assert!(nearest(typed).contains(&meant), "{typed}: {:?}", nearest(typed));
    }
    assert_eq!(nearest("abandom")[0], "abandon");
    for nonsense in ["", "x", "qqqqqqqq", "ßßßß"] {
        assert_eq!(nearest(nonsense), [""; 0], "{nonsense}");
    }
}

#[test]
fn words_show_nothing_of_themselves() {
    let words = Words::parse(ABOUT, &Heap).unwrap();
    assert_eq!(format!("{words:?}"), "Words(..)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn entropy_comes_back_from_its_words(entropy: [u8; 16]) {
        let words = Words::from_entropy(&entropy, &Heap).unwrap();
        let read = Words::parse(&words.expose_text(), &Heap).unwrap();
        prop_assert_eq!(read.expose_entropy(), &entropy);
        prop_assert!(read.same_as(&words));
    }

    #[test]
    fn any_text_is_refused_or_is_its_own_words(text in "([a-z]{0,9} ){0,14}") {
        if let Ok(words) = Words::parse(&text, &Heap) {
            let again: Vec<&str> = text.split_whitespace().collect();
            let shown = words.expose_text();
            prop_assert_eq!(shown.as_str(), again.join(" "));
        }
    }
}
