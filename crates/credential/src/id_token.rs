//! ID tokens (`OpenID` Connect Core 1.0, sections 2 and 3.1.3.7): what an institution says about who signed in there.
//!
//! Signatures by the institution's published keys (RFC 7517), chosen by `kid`, with one of five algorithms; `none` and every
//! algorithm with a shared secret are refused, whatever the token says of itself (RFC 8725, section 3.1). Then issuer, audience,
//! nonce and times, each of which must be the one that was asked for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

/// How far the institution's clock may be from ours, in seconds.
pub const SKEW_SECONDS: i64 = 120;
/// How long ago a token may have been made, in seconds: it is fetched at once.
const AGE_SECONDS: i64 = 600;
/// The largest token.
const TOKEN_BYTES: usize = 32 * 1024;
/// How many keys an institution may publish.
const MOST_KEYS: usize = 100;
/// The longest subject (Core, section 2).
const SUBJECT_BYTES: usize = 255;

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not of the form that the standards give it.
    #[error("the institution's token does not read: {0}")]
    Form(&'static str),
    /// Its algorithm is not on the list.
    #[error("the institution's token is signed in a way that is not accepted")]
    Algorithm,
    /// No published key has its `kid`: perhaps the keys were changed since they were fetched.
    #[error("the institution publishes no key that signed its token")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("the signature of the institution's token is wrong")]
    Signature,
    /// It is another issuer's, for somebody else, for another sign-in, or out of time.
    #[error("the institution's token is not for this sign-in: {0}")]
    Other(&'static str),
}

/// What the token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The institution.
    pub issuer: &'a str,
    /// Who we are to it.
    pub client_id: &'a str,
    /// The random text that was sent with this sign-in.
    pub nonce: &'a str,
    /// Now, in seconds since 1970.
    pub now: i64,
}

/// Who signed in there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is to the institution, for ever.
    pub subject: String,
    /// The e-mail address, if the institution says that it has verified it.
    pub email: Option<String>,
    /// How the person is called.
    pub name: Option<String>,
    /// When the person last showed the institution who they are, in seconds since 1970, if it says so (`auth_time`). It is
    /// never later than the token's own moment, whatever the token says.
    pub signed_in: Option<i64>,
}

/// The keys that an institution publishes; those of kinds that are not accepted are left out.
#[derive(Debug, Clone)]
pub struct Keys(Vec<Published>);

#[derive(Debug, Clone)]
struct Published {
    id: Option<String>,
    algorithm: Option<String>,
    key: Key,
}

#[derive(Debug, Clone)]
enum Key {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    used_for: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn decoded(text: Option<&String>) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(text?.as_bytes()).ok()
}

impl Jwk {
    fn key(&self) -> Option<Key> {
        let point = |bytes: usize| {
            let (x, y) = (decoded(self.x.as_ref())?, decoded(self.y.as_ref())?);
            (x.len() == bytes && y.len() == bytes).then(|| [&[4], &x[..], &y[..]].concat())
        };
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let modulus = decoded(self.n.as_ref())?;
                let fits = (256..=1024).contains(&modulus.len());
                fits.then_some(Key::Rsa { modulus, exponent: decoded(self.e.as_ref())? })
            }
            ("EC", Some("P-256")) => point(32).map(Key::P256),
            ("EC", Some("P-384")) => point(48).map(Key::P384),
            ("OKP", Some("Ed25519")) => {
                decoded(self.x.as_ref()).filter(|x| x.len() == 32).map(Key::Ed25519)
            }
            _ => None,
        }
    }
}

impl Keys {
    /// Reads a key set (RFC 7517).
    ///
    /// # Errors
    /// [`TokenError::Form`] if it is none.
    pub fn parse(json: &[u8]) -> Result<Self, TokenError> {
        let set: KeySet = serde_json::from_slice(json)
            .map_err(|_| TokenError::Form("its key set is not JSON with `keys`"))?;
        let keys = set
            .keys
            .into_iter()
            .take(MOST_KEYS)
            // A key of a kind that nobody here knows is no reason to refuse the others.
            .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
            .filter(|jwk| jwk.used_for.as_deref().is_none_or(|used_for| used_for == "sig"))
            .filter_map(|jwk| Some(Published { key: jwk.key()?, id: jwk.kid, algorithm: jwk.alg }))
            .collect();
        Ok(Self(keys))
    }

    /// The one key of that id that signs with that algorithm.
    fn find(&self, id: Option<&str>, algorithm: &str) -> Result<&Key, TokenError> {
        let mut fitting = self.0.iter().filter(|published| {
            published.algorithm.as_deref().is_none_or(|own| own == algorithm)
                && published.key.signs_with(algorithm)
                && (id.is_none() || published.id.as_deref() == id)
        });
        match (fitting.next(), fitting.next()) {
            (Some(published), None) => Ok(&published.key),
            (Some(_), Some(_)) => Err(TokenError::Form("more than one key may have signed it")),
            _ => Err(TokenError::UnknownKey),
        }
    }
}

impl Key {
    fn signs_with(&self, algorithm: &str) -> bool {
        matches!(
            (self, algorithm),
            (Self::Rsa { .. }, "RS256" | "PS256")
                | (Self::P256(_), "ES256")
                | (Self::P384(_), "ES384")
                | (Self::Ed25519(_), "EdDSA")
        )
    }

    fn verify(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> Result<(), TokenError> {
        let done =
            match (self, algorithm) {
                (Self::Rsa { modulus, exponent }, "PS256") => {
                    RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                        &RSA_PSS_2048_8192_SHA256,
                        message,
                        signature,
                    )
                }
                (Self::Rsa { modulus, exponent }, _) => {
                    RsaPublicKeyComponents { n: modulus, e: exponent }.verify(
                        &RSA_PKCS1_2048_8192_SHA256,
                        message,
                        signature,
                    )
                }
                (Self::P256(point), _) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature),
                (Self::P384(point), _) => UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                    .verify(message, signature),
                (Self::Ed25519(key), _) => {
                    UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
                }
            };
        done.map_err(|_| TokenError::Signature)
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    auth_time: Option<f64>,
    email: Option<String>,
    #[serde(default)]
    email_verified: serde_json::Value,
    name: Option<String>,
}

/// Verifies a token, and gives who signed in.
///
/// # Errors
/// [`TokenError`] says why it does not count.
pub fn verify(token: &str, keys: &Keys, expected: &Expected<'_>) -> Result<Person, TokenError> {
    if token.len() > TOKEN_BYTES {
        return Err(TokenError::Form("it is too long"));
    }
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Form("it has not three parts"));
    };
    let bytes = |part: &str| {
        BASE64URL_NOPAD
            .decode(part.as_bytes())
            .map_err(|_| TokenError::Form("a part is not base64url"))
    };
    let signed = token
        .get(..header.len() + 1 + claims.len())
        .ok_or(TokenError::Form("it has not three parts"))?;
    let header: Header = serde_json::from_slice(&bytes(header)?)
        .map_err(|_| TokenError::Form("its header does not read"))?;
    if header.crit.is_some() {
        return Err(TokenError::Form("it asks for an extension"));
    }
    if !["RS256", "PS256", "ES256", "ES384", "EdDSA"].contains(&header.alg.as_str()) {
        return Err(TokenError::Algorithm);
    }
    keys.find(header.kid.as_deref(), &header.alg)?.verify(
        &header.alg,
        signed.as_bytes(),
        &bytes(signature)?,
    )?;
    let claims: Claims = serde_json::from_slice(&bytes(claims)?)
        .map_err(|_| TokenError::Form("its claims do not read"))?;
    claims.check(expected)?;
    let verified = claims.email_verified == true || claims.email_verified == "true";
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it saturates, and a moment so far off counts for nothing"
    )]
    let signed_in = claims.auth_time.map(|at| at.min(claims.iat).floor() as i64);
    Ok(Person {
        subject: claims.sub,
        email: claims.email.filter(|_| verified),
        name: claims.name,
        signed_in,
    })
}

impl Claims {
    fn check(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        if self.iss != expected.issuer {
            return Err(TokenError::Other("another institution made it"));
        }
        let (named, alone) = match &self.aud {
            Audience::One(one) => (one == expected.client_id, true),
            Audience::Many(many) => {
                (many.iter().any(|one| one == expected.client_id), many.len() == 1)
            }
        };
        if !named {
            return Err(TokenError::Other("it is for another program"));
        }
        match &self.azp {
            Some(azp) if azp != expected.client_id => {
                return Err(TokenError::Other("another program asked for it"));
            }
            None if !alone => return Err(TokenError::Other("it is for several programs")),
            _ => {}
        }
        if self.nonce.as_deref() != Some(expected.nonce) {
            return Err(TokenError::Other("it belongs to another sign-in"));
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
        let (now, skew, age) = (expected.now as f64, SKEW_SECONDS as f64, AGE_SECONDS as f64);
        // JSON has no number that is none, so each of these is either so or not so.
        if self.exp <= now - skew {
            return Err(TokenError::Other("it has expired"));
        }
        if self.iat >= now + skew || self.iat <= now - age - skew {
            return Err(TokenError::Other("it was made at another time"));
        }
        if self.nbf.is_some_and(|nbf| nbf >= now + skew) {
            return Err(TokenError::Other("it does not count yet"));
        }
        if self.sub.is_empty() || self.sub.len() > SUBJECT_BYTES || !self.sub.is_ascii() {
            return Err(TokenError::Form("its subject is none"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;
    const EXPECTED: Expected<'_> =
        Expected { issuer: "https://login.example", client_id: "hub", nonce: "n", now: NOW };

    struct Institution(EcdsaKeyPair);

    impl Institution {
        fn new() -> Self {
            Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
        }

        fn jwk(&self) -> Value {
            let point = self.0.public_key().as_ref();
            json!({"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "alg": "ES256",
                   "x": BASE64URL_NOPAD.encode(&point[1..33]), "y": BASE64URL_NOPAD.encode(&point[33..])})
        }

        fn keys(&self) -> Keys {
            let unknown = json!({"kty": "oct", "k": "AAAA", "kid": "two"});
            let set = json!({"keys": [unknown, self.jwk()]});
            Keys::parse(set.to_string().as_bytes()).unwrap()
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let encode = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", encode(header), encode(claims));
            let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
        }
    }

    fn header() -> Value {
        json!({"alg": "ES256", "kid": "one", "typ": "JWT"})
    }

    fn claims() -> Value {
        json!({"iss": "https://login.example", "sub": "ada", "aud": "hub", "nonce": "n",
               "exp": NOW + 300, "iat": NOW, "email": "ada@login.example", "email_verified": true,
               "name": "Ada"})
    }

    #[test]
    fn a_token_for_this_sign_in_says_who_it_is() {
        let institution = Institution::new();
        let token = institution.token(&header(), &claims());
        let person = verify(&token, &institution.keys(), &EXPECTED).unwrap();
        assert_eq!(person.subject, "ada");
        assert_eq!(person.email.as_deref(), Some("ada@login.example"));
        assert_eq!(person.name.as_deref(), Some("Ada"));
    }

    #[test]
    fn when_somebody_signed_in_there_is_what_the_token_says_and_never_after_it() {
        let institution = Institution::new();
        for (said, signed_in) in [
            (json!(null), None),
            (json!(NOW - 60), Some(NOW - 60)),
            (json!(NOW + 3600), Some(NOW)),
            (json!(-1e300), Some(i64::MIN)),
        ] {
            let mut claims = claims();
            claims["auth_time"] = said;
            let token = institution.token(&header(), &claims);
            let person = verify(&token, &institution.keys(), &EXPECTED).unwrap();
            assert_eq!(person.signed_in, signed_in);
        }
    }

    #[test]
    fn every_other_claim_is_refused() {
        let institution = Institution::new();
        for (field, value) in [
            ("iss", json!("https://login.example/")),
            ("iss", json!("https://evil.example")),
            ("aud", json!("another")),
            ("aud", json!(["another"])),
            ("aud", json!(["hub", "another"])),
            ("aud", json!([])),
            ("azp", json!("another")),
            ("nonce", json!("m")),
            ("nonce", json!(null)),
            ("exp", json!(NOW - SKEW_SECONDS)),
            ("exp", json!(null)),
            ("iat", json!(NOW + SKEW_SECONDS)),
            ("iat", json!(NOW - AGE_SECONDS - SKEW_SECONDS)),
            ("nbf", json!(NOW + SKEW_SECONDS)),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("sub", json!("a".repeat(256))),
        ] {
            let mut claims = claims();
            claims[field] = value.clone();
            let token = institution.token(&header(), &claims);
            assert!(verify(&token, &institution.keys(), &EXPECTED).is_err(), "{field}: {value}");
        }
        for (field, value) in [
            ("aud", json!(["hub"])),
            ("exp", json!(NOW - SKEW_SECONDS + 1)),
            ("iat", json!(NOW + SKEW_SECONDS - 1)),
            ("nbf", json!(NOW)),
            ("azp", json!("hub")),
        ] {
            let mut claims = claims();
            claims[field] = value.clone();
            let token = institution.token(&header(), &claims);
            assert!(verify(&token, &institution.keys(), &EXPECTED).is_ok(), "{field}: {value}");
        }
        for unverified in [json!(false), json!("false"), json!(null), json!(1)] {
            let mut claims = claims();
            claims["email_verified"] = unverified;
            let token = institution.token(&header(), &claims);
            assert_eq!(verify(&token, &institution.keys(), &EXPECTED).unwrap().email, None);
        }
    }

    #[test]
    fn a_token_cannot_choose_how_it_is_verified() {
        let institution = Institution::new();
        for (header, error) in [
            (json!({"alg": "none"}), TokenError::Algorithm),
            (json!({"alg": "NONE", "kid": "one"}), TokenError::Algorithm),
            (json!({"alg": "HS256", "kid": "two"}), TokenError::Algorithm),
            (json!({"alg": "RS256", "kid": "one"}), TokenError::UnknownKey),
            (json!({"alg": "ES384", "kid": "one"}), TokenError::UnknownKey),
            (json!({"alg": "ES256", "kid": "three"}), TokenError::UnknownKey),
            (
                json!({"alg": "ES256", "kid": "one", "crit": ["b64"]}),
                TokenError::Form("it asks for an extension"),
            ),
        ] {
            let token = institution.token(&header, &claims());
            assert_eq!(verify(&token, &institution.keys(), &EXPECTED), Err(error), "{header}");
        }
        // A key that the token itself brings counts for nothing.
        let stranger = Institution::new();
        let mut own = header();
        own["jwk"] = stranger.jwk();
        let token = stranger.token(&own, &claims());
        assert_eq!(verify(&token, &institution.keys(), &EXPECTED), Err(TokenError::Signature));
        // Nor one that is published for something else than signing.
        let mut jwk = institution.jwk();
        jwk["use"] = json!("enc");
        let keys = Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        let token = institution.token(&header(), &claims());
        assert_eq!(verify(&token, &keys, &EXPECTED), Err(TokenError::UnknownKey));
    }

    proptest! {
        #[test]
        fn a_changed_letter_never_counts(at in 0_usize..10_000, letter in "[A-Za-z0-9_.-]") {
            let institution = Institution::new();
            let token = institution.token(&header(), &claims());
            let at = at % token.len();
            let mut changed = token.clone();
            changed.replace_range(at..=at, &letter);
            // The last letter of a part has bits that are no bits of the part; data-encoding refuses all but one spelling.
            prop_assume!(changed != token);
            prop_assert!(verify(&changed, &institution.keys(), &EXPECTED).is_err());
        }

        #[test]
        fn no_text_brings_the_parser_down(text in ".{0,200}") {
            prop_assert!(verify(&text, &Institution::new().keys(), &EXPECTED).is_err());
            drop(Keys::parse(text.as_bytes()));
        }
    }
}
