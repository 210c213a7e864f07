//! EIP-712's own example, the borders of every type, and statements.

use proptest::prelude::*;

use super::*;
use crate::EthereumSignature;

/// The example of EIP-712 itself.
fn mail() -> Value {
    json!({
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"}, {"name": "verifyingContract", "type": "address"},
            ],
            "Person": [{"name": "name", "type": "string"}, {"name": "wallet", "type": "address"}],
            "Mail": [
                {"name": "from", "type": "Person"}, {"name": "to", "type": "Person"},
                {"name": "contents", "type": "string"},
            ],
        },
        "primaryType": "Mail",
        "domain": {
            "name": "Ether Mail", "version": "1", "chainId": 1,
            "verifyingContract": "0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC",
        },
        "message": {
            "from": {"name": "Cow", "wallet": "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"},
            "to": {"name": "Bob", "wallet": "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB"},
            "contents": "Hello, Bob!",
        },
    })
}

fn digest(document: &Value) -> Result<[u8; 32], BadTypedData> {
    TypedData::read(&document.to_string())?.digest()
}

#[test]
fn the_published_example_has_its_digest_and_signer() {
    let found = digest(&mail()).unwrap();
    assert_eq!(hex(&found), "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2");
    let signature = HEXLOWER_PERMISSIVE
        .decode(
            b"4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d\
              07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c",
        )
        .unwrap();
    let signer = EthereumSignature::from_bytes(&signature).unwrap().recover(&found).unwrap();
    assert_eq!(signer.to_string(), "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826");
}

#[test]
fn a_domain_need_not_be_described() {
    let mut document = mail();
    document["types"].as_object_mut().unwrap().remove(DOMAIN);
    assert_eq!(digest(&document), digest(&mail()));
}

#[test]
fn what_does_not_fit_is_refused() {
    for (pointer, value) in [
        ("/message/contents", json!(7)),
        ("/message/contents", Value::Null),
        ("/message/from/wallet", json!("0xcD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826")),
        ("/message/from", json!({"name": "Cow"})),
        ("/message/from/extra", json!("x")),
        ("/domain/chainId", json!(-1)),
        ("/domain/chainId", json!(1.5)),
        ("/domain/owner", json!("x")),
        ("/types/Mail/0/type", json!("Persona")),
        ("/types/Mail/0/type", json!("uint7")),
        ("/types/Mail/0/type", json!("Person[")),
        ("/types/Mail/0/name", json!("to")),
        ("/types/uint8", json!([])),
        ("/primaryType", json!("Letter")),
        ("/primaryType", json!(DOMAIN)),
        ("/more", json!(1)),
    ] {
        let mut document = mail();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match document.pointer_mut(parent).unwrap() {
            Value::Object(object) => drop(object.insert(key.to_owned(), value)),
            list => list[key.parse::<usize>().unwrap()] = value,
        }
        assert!(digest(&document).is_err(), "{pointer}");
    }
}

#[test]
fn numbers_end_where_their_types_end() {
    let fits = |value: Value, kind: &str| {
        digest(&json!({
            "types": {"N": [{"name": "n", "type": kind}]}, "primaryType": "N",
            "domain": {}, "message": {"n": value},
        }))
        .is_ok()
    };
    for (kind, least, most, below, above) in [
        ("uint8", "0", "255", "-1", "256"),
        ("int8", "-128", "127", "-129", "128"),
        ("int16", "-32768", "32767", "-32769", "32768"),
    ] {
        assert!(fits(json!(least), kind) && fits(json!(most), kind), "{kind}");
        assert!(!fits(json!(below), kind) && !fits(json!(above), kind), "{kind}");
    }
    let power = |n: u32| format!("0x1{}", "0".repeat(n as usize / 4));
    assert!(fits(json!(format!("0x{}", "f".repeat(64))), "uint256"));
    assert!(!fits(json!(power(256)), "uint256") && !fits(json!("0x"), "uint256"));
    assert_eq!(
        integer(&json!(-1), true, 256).unwrap(),
        [0xff; 32],
        "minus one is all ones in two's complement"
    );
    assert!(fits(json!("0x0102"), "bytes2") && !fits(json!("0x010203"), "bytes2"));
    assert!(fits(json!([1, 2]), "uint8[2]") && !fits(json!([1]), "uint8[2]"));
    assert!(fits(json!([[1], []]), "uint8[][2]"));
}

#[test]
fn a_type_that_holds_itself_ends() {
    let mut value = json!({"next": []});
    for _ in 0..MOST_DEPTH {
        value = json!({"next": [value]});
    }
    let document = json!({
        "types": {"Node": [{"name": "next", "type": "Node[]"}]}, "primaryType": "Node",
        "domain": {}, "message": value,
    });
    assert_eq!(digest(&document), Err(BadTypedData::TooLarge));
    let mut shallow = document;
    shallow["message"] = json!({"next": [{"next": []}]});
    assert!(digest(&shallow).is_ok());
}

const STATEMENT: &str = "chorion test v1\n{\"count\":3,\"empty\":[],\"flags\":[true,false],\"inner\":{\"none\":null},\"mixed\":[1,\"a\"],\"names\":[\"a\",\"b\"],\"test\":true,\"who\":\"é\"}";

#[test]
fn a_statement_is_shown_field_by_field_and_bound_by_its_digest() {
    let typed = TypedData::of_statement(STATEMENT).unwrap();
    let document = typed.to_json();
    let kinds: Vec<String> = document["types"]["Fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{} {}", m["type"].as_str().unwrap(), m["name"].as_str().unwrap()))
        .collect();
    assert_eq!(
        kinds.join(", "),
        "int256 count, string[] empty, bool[] flags, Fields_inner inner, string[] mixed, string[] names, bool test, string who"
    );
    assert_eq!(document["message"]["fields"]["inner"]["none"], "none");
    assert_eq!(document["message"]["fields"]["mixed"], json!(["1", "\"a\""]));
    assert_eq!(
        digest(&document),
        typed.digest(),
        "a wallet that reads the document signs the same"
    );
    // The shown fields of these are equal, and still they are told apart.
    let other = STATEMENT.replace("null", "\"none\"");
    assert_ne!(TypedData::of_statement(&other).unwrap().digest(), typed.digest());
}

#[test]
fn a_statement_without_a_typed_form_is_refused() {
    for text in
        ["", "kind", "kind\n[]", "kind\n{\"a b\":1}", "kind\n{\"a\":1.5}", "kind\n{\"_a\":1}"]
    {
        assert!(TypedData::of_statement(text).is_err(), "{text}");
    }
    assert!(
        TypedData::of_statement("kind\n{\"a\":{\"b\":{}},\"a_b\":{}}").is_err(),
        "one name for two"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        if let Ok(typed) = TypedData::read(&text) {
            prop_assert!(typed.digest().is_ok() || typed.digest().is_err());
        }
    }

    #[test]
    fn numbers_are_what_they_are(number: i64) {
        let word = integer(&json!(number), true, 64).unwrap();
        prop_assert_eq!(&word[24..], &number.to_be_bytes());
        let by_text = integer(&json!(number.to_string()), true, 64).unwrap();
        prop_assert_eq!(word, by_text);
    }
}
