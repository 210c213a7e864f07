//! Signed statements, and how anyone checks them.
//!
//! A statement is one canonical text (`spec/statements.md`): the kind on the first line, then JSON with sorted keys and
//! no spare space. What was signed is those bytes, and they are kept as they were signed: whoever checks parses them,
//! writes them again, and refuses what does not come out the same. So every statement has one spelling, an unknown,
//! missing or extra field is an error, and a digest names a meaning.
//!
//! Only public keys and signatures here: [`SigningKey`] is the one secret, and it never leaves as bytes by itself.

mod approval;
mod call;
mod card;
mod digest;
mod ethereum;
mod evidence;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod key;
pub mod log;
mod manifest;
mod phrase;
mod receipt;
mod release;
mod request;
mod statement;
mod typed_data;

pub use approval::{
    APPROVAL_SECONDS, Act, Approval, ApprovalError, Boot, CodeUpdate, CustodianChange, Delete,
    Export, Input, KeyChange, MOST_APPROVAL_SECONDS, MOST_GRANT_SECONDS, MOST_GRANT_USES, Mode,
    Output, Private, Program, RunApp, RunQuery, Share, StandingGrant, Transfer, VaultKeys,
    Verified, Writer, commitment,
};
pub use call::{
    Call, CallError, CallSignature, MAX_SKEW_SECONDS, ParsedCall, UnsignedCall, content_digest,
    content_digest_of, parse_content_digest,
};
pub use card::{Card, CardDevice, CardError, OwnerCard, ProjectCard};
pub use digest::{Hasher, sha256};
pub use ethereum::{
    BadAddress, BadEthereumSignature, EthereumAddress, EthereumSignature, keccak256, message_digest,
};
pub use evidence::{AnyEvidence, EvidenceKind, SnpEvidence, UnattestedEvidence, boot_nonce};
pub use key::{BadKey, PublicKey, Signature, SigningKey, key_id};
pub use manifest::{Extent, FileEntry, Index, IndexError, IndexText, Manifest, ObjectSet};
pub use phrase::phrase;
pub use receipt::{
    AnyReceipt, OwnerReceipt, Receipt, ReceiptFacts, ReceiptOutput, Released, receipt_log,
    released_by,
};
pub use release::ReleaseList;
pub use request::{Asked, AskedInput};
pub use statement::{
    Statement, StatementError, digest_of, open_statement, sign_statement, unsigned_statement,
};
pub use typed_data::{BadTypedData, TypedData};
