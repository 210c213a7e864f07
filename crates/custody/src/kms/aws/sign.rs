//! AWS Signature Version 4, for the one form of call that is made here: `POST /` without a query.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use data_encoding::HEXLOWER;

use super::AwsKeys;

/// A call about to be signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The region that the service is in.
    pub(super) region: &'a str,
    /// The service's name in signatures.
    pub(super) service: &'a str,
    /// Headers that the signature covers, `host` and `x-amz-date` among them: names in small letters.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub(super) body: &'a [u8],
}

/// The value of `x-amz-date`.
pub(super) fn date(now: api::Time) -> String {
    now.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes())
}

/// The value of `Authorization`. `date` is that of the `x-amz-date` header.
pub(super) fn authorization(call: &Call<'_>, keys: &AwsKeys, date: &str) -> String {
    let mut headers: Vec<(&str, String)> = call
        .headers
        .iter()
        .map(|(name, value)| (*name, value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    headers.sort_unstable();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let request = format!("POST\n/\n\n{lines}\n{names}\n{}", hash(call.body));

    let day = date.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/{}/aws4_request", call.region, call.service);
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(request.as_bytes()));
    let secret = zeroize::Zeroizing::new(format!("AWS4{}", keys.secret.reveal()));
    let key = mac(secret.as_bytes(), day);
    let key = mac(key.as_ref(), call.region);
    let key = mac(key.as_ref(), call.service);
    let key = mac(key.as_ref(), "aws4_request");
    let signature = HEXLOWER.encode(mac(key.as_ref(), &text).as_ref());
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The signatures of AWS's own test suite for Signature Version 4 that are `POST /` without a query.
    #[test]
    fn signatures_are_those_of_the_published_suite() {
        let keys = AwsKeys {
            id: "AKIDEXAMPLE".into(),
            secret: api::Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into()),
            session: None,
            expires: None,
        };
        let date = "20150830T123600Z";
        let base = [("host", "example.amazonaws.com"), ("x-amz-date", date)];
        let form = ("content-type", "application/x-www-form-urlencoded");
        let cases = [
            (
                "post-vanilla",
                base.to_vec(),
                &b""[..],
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "post-header-key-sort",
                [&[("my-header1", "value1")], &base[..]].concat(),
                &b""[..],
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                "post-x-www-form-urlencoded",
                [&[form], &base[..]].concat(),
                &b"Param1=value1"[..],
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, headers, body, signature) in cases {
            let call = Call { region: "us-east-1", service: "service", headers: &headers, body };
            let value = authorization(&call, &keys, date);
            assert!(value.ends_with(&format!("Signature={signature}")), "{name}: {value}");
        }
    }
}
