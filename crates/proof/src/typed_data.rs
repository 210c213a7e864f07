//! EIP-712 typed data: what an Ethereum wallet signs after showing its fields (`spec/typed-data.md`).
//!
//! The document is the one of `eth_signTypedData_v4`. A [`Statement`](crate::Statement) has such a form too, so that a wallet can be
//! the second signer of one: [`TypedData::of_statement`].

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{EthereumAddress, keccak256, sha256};

const MOST_BYTES: usize = 1 << 20;
const MOST_TYPES: usize = 256;
const MOST_DEPTH: usize = 32;
const MOST_VALUES: usize = 65_536;
const DOMAIN: &str = "EIP712Domain";
/// What a domain may say, in the order of its type.
const DOMAIN_MEMBERS: [(&str, &str); 5] = [
    ("name", "string"),
    ("version", "string"),
    ("chainId", "uint256"),
    ("verifyingContract", "address"),
    ("salt", "bytes32"),
];

/// Why a document is no typed data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTypedData {
    /// It is larger, deeper or longer than is read.
    #[error("the typed data is larger, or nested more deeply, than is read")]
    TooLarge,
    /// It is no document of this kind.
    #[error("the document is not typed data: {0}")]
    Form(String),
    /// A type is none.
    #[error("`{0}` is no type of the typed data")]
    Type(String),
    /// A value is not of its type, or is missing, or is not in its type.
    #[error("the typed data's {member} is not {expected}")]
    Value {
        /// Which member.
        member: String,
        /// What it should be.
        expected: String,
    },
    /// The statement has no form as typed data.
    #[error("the statement has no form as typed data: {0}")]
    Statement(&'static str),
}

/// A member of a struct type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    types: BTreeMap<String, Vec<Member>>,
    #[serde(rename = "primaryType")]
    primary: String,
    domain: Map<String, Value>,
    message: Map<String, Value>,
}

/// Typed data that was read: its types are whole, its values are checked when its digest is taken.
#[derive(Debug, Clone)]
pub struct TypedData(Document);

impl TypedData {
    /// Reads the document of `eth_signTypedData_v4`.
    pub fn read(json: &str) -> Result<Self, BadTypedData> {
        if json.len() > MOST_BYTES {
            return Err(BadTypedData::TooLarge);
        }
        let document =
            serde_json::from_str(json).map_err(|error| BadTypedData::Form(error.to_string()))?;
        Self::check(document)
    }

    fn check(mut document: Document) -> Result<Self, BadTypedData> {
        let Document { types, domain, primary, .. } = &mut document;
        let described = types.entry(DOMAIN.to_owned()).or_insert_with(|| {
            let said = DOMAIN_MEMBERS.iter().filter(|(name, _)| domain.contains_key(*name));
            said.map(|&(name, kind)| Member { name: name.into(), kind: kind.into() }).collect()
        });
        for Member { name, kind } in described {
            if !DOMAIN_MEMBERS.contains(&(name.as_str(), kind.as_str())) {
                return Err(BadTypedData::Type(format!("{kind} {name} of a domain")));
            }
        }
        if types.len() > MOST_TYPES || types.values().any(|members| members.len() > MOST_TYPES) {
            return Err(BadTypedData::TooLarge);
        }
        for (name, members) in &*types {
            let mut names = BTreeSet::new();
            if !is_name(name) || is_atomic(name) {
                return Err(BadTypedData::Type(name.clone()));
            }
            for member in members {
                let base = member.kind.split('[').next().unwrap_or_default();
                if !is_name(&member.name) || !names.insert(&member.name) {
                    return Err(BadTypedData::Type(format!("{name}.{}", member.name)));
                }
                if !is_atomic(base) && !types.contains_key(base) || !is_array(&member.kind, base) {
                    return Err(BadTypedData::Type(member.kind.clone()));
                }
            }
        }
        if primary == DOMAIN || !types.contains_key(primary.as_str()) {
            return Err(BadTypedData::Type(primary.clone()));
        }
        Ok(Self(document))
    }

    /// A statement's signed text as typed data. What binds is the digest of the text in it; the fields are there to be read.
    pub fn of_statement(text: &str) -> Result<Self, BadTypedData> {
        let (kind, json) = text
            .split_once('\n')
            .ok_or(BadTypedData::Statement("it has no line that names its kind"))?;
        let Ok(Value::Object(fields)) = serde_json::from_str(json) else {
            return Err(BadTypedData::Statement("its fields are no JSON object"));
        };
        let mut types = BTreeMap::new();
        let fields = describe("Fields", &fields, &mut types, 0)?;
        let member = |name: &str, kind: &str| Member { name: name.into(), kind: kind.into() };
        types.insert(
            "Statement".to_owned(),
            vec![member("kind", "string"), member("fields", "Fields"), member("digest", "bytes32")],
        );
        let mut message = Map::new();
        message.insert("kind".into(), kind.into());
        message.insert("fields".into(), fields);
        message.insert("digest".into(), format!("0x{}", hex(&sha256(text.as_bytes()).0)).into());
        let mut domain = Map::new();
        domain.insert("name".into(), "Chorion".into());
        domain.insert("version".into(), "1".into());
        Self::check(Document { types, primary: "Statement".to_owned(), domain, message })
    }

    /// The document, as a wallet takes it.
    pub fn to_json(&self) -> Value {
        json!({
            "types": self.0.types,
            "primaryType": self.0.primary,
            "domain": self.0.domain,
            "message": self.0.message,
        })
    }

    /// What is signed.
    pub fn digest(&self) -> Result<[u8; 32], BadTypedData> {
        let mut encoder = Encoder { types: &self.0.types, left: MOST_VALUES };
        let domain = encoder.hash_struct(DOMAIN, &self.0.domain, 0)?;
        let message = encoder.hash_struct(&self.0.primary, &self.0.message, 0)?;
        Ok(keccak256(&[&[0x19, 0x01][..], &domain, &message].concat()))
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// `bytes4` is (`bytes`, 4): a type with a number behind its name.
fn sized(kind: &str) -> Option<(&str, usize)> {
    let digits = kind.find(|c: char| c.is_ascii_digit())?;
    let (name, number) = kind.split_at(digits);
    let plain = !number.starts_with('0') && number.bytes().all(|b| b.is_ascii_digit());
    number.parse().ok().filter(|_| plain).map(|number| (name, number))
}

fn is_atomic(kind: &str) -> bool {
    matches!(kind, "bool" | "address" | "string" | "bytes")
        || match sized(kind) {
            Some(("uint" | "int", bits)) => bits % 8 == 0 && bits <= 256,
            Some(("bytes", bytes)) => bytes <= 32,
            _ => false,
        }
}

/// Whether what follows the base of a type is `[]` and `[n]`, any number of times.
fn is_array(kind: &str, base: &str) -> bool {
    let suffix = &kind[base.len()..];
    suffix.is_empty()
        || suffix.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).is_some_and(|inner| {
            let whole = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
            inner.split("][").all(whole)
        })
}

/// The fields of a statement: their types, and their values in the form of those types.
fn describe(
    name: &str,
    fields: &Map<String, Value>,
    types: &mut BTreeMap<String, Vec<Member>>,
    depth: usize,
) -> Result<Value, BadTypedData> {
    if depth == MOST_DEPTH || types.len() == MOST_TYPES - 2 {
        return Err(BadTypedData::TooLarge);
    }
    let mut members = Vec::new();
    let mut values = Map::new();
    for (key, value) in fields {
        if !is_name(key) || !key.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(BadTypedData::Statement(
                "a field of it has a name that no member may have",
            ));
        }
        let (kind, value) = match value {
            Value::Null => ("string".to_owned(), "none".into()),
            Value::Object(inner) => {
                let name = format!("{name}_{key}");
                let value = describe(&name, inner, types, depth + 1)?;
                (name, value)
            }
            Value::Array(list) => match list.iter().map(simple).reduce(|a, b| a.filter(|_| a == b))
            {
                Some(Some(kind)) => (format!("{kind}[]"), value.clone()),
                _ => {
                    let texts = list.iter().map(|element| Value::String(element.to_string()));
                    ("string[]".to_owned(), texts.collect())
                }
            },
            Value::Number(number) if number.is_f64() => {
                return Err(BadTypedData::Statement("a number of it is no integer"));
            }
            plain => (simple(plain).unwrap_or("string").to_owned(), plain.clone()),
        };
        members.push(Member { name: key.clone(), kind });
        values.insert(key.clone(), value);
    }
    if types.insert(name.to_owned(), members).is_some() {
        return Err(BadTypedData::Statement("two of its records would have one name"));
    }
    Ok(Value::Object(values))
}

/// The type of a value that is a text, a truth or an integer.
fn simple(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("bool"),
        Value::Number(number) if !number.is_f64() => Some("int256"),
        _ => None,
    }
}

struct Encoder<'a> {
    types: &'a BTreeMap<String, Vec<Member>>,
    /// How many values may still come: a small document can name one struct many times.
    left: usize,
}

impl Encoder<'_> {
    fn hash_struct(
        &mut self,
        name: &str,
        value: &Map<String, Value>,
        depth: usize,
    ) -> Result<[u8; 32], BadTypedData> {
        let types = self.types;
        let members = types.get(name).ok_or_else(|| BadTypedData::Type(name.to_owned()))?;
        let unknown = value.keys().find(|key| members.iter().all(|member| member.name != **key));
        if let Some(key) = unknown {
            return Err(wrong(key, "a member of its type"));
        }
        let mut encoded = keccak256(self.describe_type(name).as_bytes()).to_vec();
        for member in members {
            let value = value.get(&member.name).ok_or_else(|| wrong(&member.name, "there"))?;
            encoded.extend(self.encode(member, &member.kind, value, depth + 1)?);
        }
        Ok(keccak256(&encoded))
    }

    /// `Mail(Person from,Person to)Person(string name)`: the type, then those it needs, sorted.
    fn describe_type(&self, name: &str) -> String {
        let mut needed = BTreeSet::new();
        let mut open = vec![name];
        while let Some(next) = open.pop() {
            for member in self.types.get(next).into_iter().flatten() {
                let base = member.kind.split('[').next().unwrap_or_default();
                if base != name && self.types.contains_key(base) && needed.insert(base) {
                    open.push(base);
                }
            }
        }
        let mut text = String::new();
        for name in std::iter::once(name).chain(needed) {
            let members = self.types.get(name).into_iter().flatten();
            let members: Vec<String> = members.map(|m| format!("{} {}", m.kind, m.name)).collect();
            text.push_str(&format!("{name}({})", members.join(",")));
        }
        text
    }

    fn encode(
        &mut self,
        member: &Member,
        kind: &str,
        value: &Value,
        depth: usize,
    ) -> Result<[u8; 32], BadTypedData> {
        self.left = self.left.checked_sub(1).ok_or(BadTypedData::TooLarge)?;
        if depth > MOST_DEPTH {
            return Err(BadTypedData::TooLarge);
        }
        let not = |expected: &str| wrong(&member.name, expected);
        if let Some((element, length)) = kind.strip_suffix(']').and_then(|k| k.rsplit_once('[')) {
            let list = value.as_array().ok_or_else(|| not(kind))?;
            if !length.is_empty() && length.parse() != Ok(list.len()) {
                return Err(not(kind));
            }
            let mut encoded = Vec::with_capacity(32 * list.len());
            for value in list {
                encoded.extend(self.encode(member, element, value, depth + 1)?);
            }
            return Ok(keccak256(&encoded));
        }
        if self.types.contains_key(kind) {
            let value = value.as_object().ok_or_else(|| not(kind))?;
            return self.hash_struct(kind, value, depth);
        }
        let mut word = [0; 32];
        match (kind, value) {
            ("string", Value::String(text)) => word = keccak256(text.as_bytes()),
            ("bool", Value::Bool(truth)) => word[31] = u8::from(*truth),
            ("bytes", Value::String(text)) => {
                word = keccak256(&unhex(text).ok_or_else(|| not(kind))?);
            }
            ("address", Value::String(text)) => {
                let address: EthereumAddress = text.parse().map_err(|_| not("an address"))?;
                word[12..].copy_from_slice(&address.0);
            }
            _ => match sized(kind) {
                Some(("bytes", length)) => {
                    let bytes = value.as_str().and_then(unhex).filter(|b| b.len() == length);
                    word[..length].copy_from_slice(&bytes.ok_or_else(|| not(kind))?);
                }
                Some((signed, bits)) => {
                    word = integer(value, signed == "int", bits).ok_or_else(|| not(kind))?;
                }
                None => return Err(not(kind)),
            },
        }
        Ok(word)
    }
}

fn wrong(member: &str, expected: &str) -> BadTypedData {
    BadTypedData::Value { member: format!("`{member}`"), expected: expected.to_owned() }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    HEXLOWER_PERMISSIVE.decode(text.strip_prefix("0x")?.as_bytes()).ok()
}

/// An integer in 32 bytes, in two's complement, if it is within its type.
fn integer(value: &Value, is_signed: bool, bits: usize) -> Option<[u8; 32]> {
    let text = match value {
        Value::Number(number) if !number.is_f64() => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    let (digits, base) = match digits.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (digits, 10),
    };
    if digits.is_empty() || negative && (base == 16 || !is_signed) {
        return None;
    }
    let mut magnitude = [0_u8; 32];
    for digit in digits.chars() {
        let mut carry = u16::try_from(digit.to_digit(base)?).ok()?;
        for byte in magnitude.iter_mut().rev() {
            let next = u16::from(*byte) * u16::try_from(base).ok()? + carry;
            *byte = next.to_be_bytes()[1];
            carry = next >> 8;
        }
        if carry != 0 {
            return None;
        }
    }
    let used = magnitude
        .iter()
        .position(|&byte| byte != 0)
        .map_or(0, |at| (32 - at) * 8 - magnitude[at].leading_zeros() as usize);
    // The least number of a signed type is a power of two: it alone may use one bit more.
    let is_power = magnitude.iter().map(|byte| byte.count_ones()).sum::<u32>() == 1;
    let room = if is_signed { bits - 1 } else { bits };
    if used > room && !(negative && used == bits && is_power) {
        return None;
    }
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    Some(magnitude)
}

#[cfg(test)]
mod tests;
