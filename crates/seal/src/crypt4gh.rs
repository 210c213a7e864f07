//! Crypt4GH version 1, read: what partners send, on its way into sealed objects (samtools/hts-specs `crypt4gh.tex`).
//!
//! The format authenticates each block of 64 KiB by itself and nothing else: who made the file is not known, and blocks that
//! were taken away, doubled or exchanged are not noticed here. Whoever reads checks what comes out by its own format, or by
//! a hash that came another way. What can be refused is: a nonce used twice in a row under one key, a short block that is
//! not the last, headers larger than a file for a thousand readers has, and edit lists, which hide bytes from one of two readers.

use std::fmt;
use std::io::{self, Read};
use std::num::NonZeroU32;

use blake2::{Blake2b512, Digest};
use zeroize::Zeroizing;

use crate::primitives::{ChaCha20Poly1305, pbkdf2_sha256, x25519_public, x25519_shared};

/// How such a file begins.
pub const MAGIC: &[u8; 8] = b"crypt4gh";

const VERSION: u32 = 1;
/// Plaintext of a full block.
const BLOCK_BYTES: usize = 64 * 1024;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// Length, method, writer's key, nonce and tag of a packet.
const PACKET_BYTES: usize = 4 + 4 + 32 + NONCE_BYTES + TAG_BYTES;
const MOST_PACKETS: u32 = 1000;
const MOST_PACKET_BYTES: usize = 1024 * 1024;
/// What a key of a person is: rounds a hostile file may ask for at most.
const MOST_ROUNDS: u32 = 10_000_000;

/// Why a Crypt4GH file or key does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Crypt4ghError {
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is none.
    #[error("it does not begin as Crypt4GH files do")]
    NotCrypt4gh,
    /// A version that is not read.
    #[error("it is of Crypt4GH version {0}; version 1 is read")]
    Version(u32),
    /// Its header is not as the format has it.
    #[error("its header is not right: {0}")]
    Header(&'static str),
    /// No packet of it opens with the key.
    #[error("none of its {packets} header packets is for this key")]
    NotForThisKey {
        /// How many there are.
        packets: u32,
    },
    /// It has an edit list.
    #[error("it has an edit list, which is not read here")]
    EditList,
    /// The key file is none.
    #[error("it is no Crypt4GH secret key: {0}")]
    Key(&'static str),
    /// The key file is locked in a way that is not read.
    #[error("the key is locked with {0}, which is not read here")]
    Lock(String),
    /// The passphrase is another one.
    #[error("the passphrase does not open it")]
    Passphrase,
}

/// A reader's secret key.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// A secret key file as `crypt4gh-keygen` writes it.
#[derive(Debug)]
pub enum KeyFile {
    /// Bare.
    Bare(SecretKey),
    /// Under a passphrase.
    Locked(Locked),
}

/// A key that wants a passphrase.
#[derive(Debug)]
pub struct Locked {
    lock: Lock,
    salt: Vec<u8>,
    sealed: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Lock {
    Scrypt,
    Pbkdf2(NonZeroU32),
}

impl KeyFile {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// It is no secret key of format `c4gh-v1`, or locked with something else than scrypt and PBKDF2.
    pub fn read(text: &str) -> Result<Self, Crypt4ghError> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let begins = lines.next().is_some_and(|line| {
            line.starts_with("-----BEGIN CRYPT4GH") && line.ends_with("PRIVATE KEY-----")
        });
        if !begins {
            return Err(Crypt4ghError::Key("it does not begin with BEGIN CRYPT4GH PRIVATE KEY"));
        }
        let body: Zeroizing<String> =
            Zeroizing::new(lines.take_while(|line| !line.starts_with("-----")).collect());
        let bytes = data_encoding::BASE64
            .decode(body.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| Crypt4ghError::Key("it is not base 64"))?;
        let mut rest =
            bytes.strip_prefix(b"c4gh-v1").ok_or(Crypt4ghError::Key("it is not of c4gh-v1"))?;
        let function = text_of(&mut rest)?;
        let options = if function == b"none" { &[][..] } else { text_of(&mut rest)? };
        let cipher = text_of(&mut rest)?;
        let data = text_of(&mut rest)?;
        if cipher == b"none" {
            let secret = data.try_into().map_err(|_| Crypt4ghError::Key("it has not 32 bytes"))?;
            return Ok(Self::Bare(SecretKey(Zeroizing::new(secret))));
        }
        if cipher != b"chacha20_poly1305" {
            return Err(Crypt4ghError::Lock(String::from_utf8_lossy(cipher).into_owned()));
        }
        let (rounds, salt) =
            options.split_first_chunk().ok_or(Crypt4ghError::Key("it has no salt"))?;
        let lock = match function {
            b"scrypt" => Lock::Scrypt,
            b"pbkdf2_hmac_sha256" => NonZeroU32::new(u32::from_be_bytes(*rounds))
                .filter(|rounds| rounds.get() <= MOST_ROUNDS)
                .map(Lock::Pbkdf2)
                .ok_or(Crypt4ghError::Key("its rounds cannot be"))?,
            other => return Err(Crypt4ghError::Lock(String::from_utf8_lossy(other).into_owned())),
        };
        Ok(Self::Locked(Locked { lock, salt: salt.to_vec(), sealed: data.to_vec() }))
    }
}

/// The next text of a key file, which stands behind its length.
fn text_of<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Crypt4ghError> {
    let short = Crypt4ghError::Key("it ends early");
    let Some((length, after)) = rest.split_first_chunk() else { return Err(short) };
    let Some((text, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    else {
        return Err(short);
    };
    *rest = after;
    Ok(text)
}

impl Locked {
    /// Opens the key.
    ///
    /// # Errors
    /// The passphrase is another one.
    pub fn unlock(&self, passphrase: &[u8]) -> Result<SecretKey, Crypt4ghError> {
        let mut key = Zeroizing::new([0; 32]);
        match self.lock {
            Lock::Scrypt => {
                // The format fixes N = 2^14, r = 8, p = 1.
                let params = scrypt::Params::new(14, 8, 1)
                    .expect("the costs are accepted because they are a constant in range");
                scrypt::scrypt(passphrase, &self.salt, &params, key.as_mut_slice())
                    .expect("32 bytes come out because scrypt gives any length");
            }
            Lock::Pbkdf2(rounds) => pbkdf2_sha256(rounds, &self.salt, passphrase, &mut key),
        }
        let (nonce, sealed) =
            self.sealed.split_first_chunk().ok_or(Crypt4ghError::Key("it ends early"))?;
        let mut secret = Zeroizing::new(sealed.to_vec());
        let bytes = ChaCha20Poly1305::new(&key)
            .open_in_place(*nonce, &mut secret)
            .map_err(|_| Crypt4ghError::Passphrase)?;
        let secret =
            secret[..bytes].try_into().map_err(|_| Crypt4ghError::Key("it has not 32 bytes"))?;
        Ok(SecretKey(Zeroizing::new(secret)))
    }
}

/// The plaintext of a Crypt4GH file, block after block. No byte of a block is given before its tag has verified.
pub struct Reader<R> {
    from: R,
    keys: Vec<ChaCha20Poly1305>,
    block: Zeroizing<Vec<u8>>,
    filled: usize,
    at: usize,
    nonce: Option<[u8; NONCE_BYTES]>,
    ended: bool,
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader(..)")
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header and finds the data keys that are for `key`.
    ///
    /// # Errors
    /// It is no Crypt4GH file, is for somebody else, or has what is not read here.
    pub fn new(mut from: R, key: &SecretKey) -> Result<Self, Crypt4ghError> {
        let mut start = [0; 16];
        from.read_exact(&mut start).map_err(|_| Crypt4ghError::NotCrypt4gh)?;
        let word = |at: usize| {
            u32::from_le_bytes([start[at], start[at + 1], start[at + 2], start[at + 3]])
        };
        if start[..8] != *MAGIC {
            return Err(Crypt4ghError::NotCrypt4gh);
        }
        let (version, packets) = (word(8), word(12));
        if version != VERSION {
            return Err(Crypt4ghError::Version(version));
        }
        if packets > MOST_PACKETS {
            return Err(Crypt4ghError::Header("it has more than 1000 packets"));
        }
        let public = x25519_public(&key.0);
        let mut keys = Vec::new();
        for _ in 0..packets {
            let packet = packet(&mut from)?;
            match open_packet(key, &public, packet).as_deref().map(Vec::as_slice) {
                None => {}
                Some([0, 0, 0, 0, 0, 0, 0, 0, data @ ..]) => {
                    let data: &[u8; 32] = data
                        .try_into()
                        .map_err(|_| Crypt4ghError::Header("a data key has not 32 bytes"))?;
                    keys.push(ChaCha20Poly1305::new(data));
                }
                Some([0, 0, 0, 0, ..]) => {
                    return Err(Crypt4ghError::Header("its data method is not 0"));
                }
                Some([1, 0, 0, 0, ..]) => return Err(Crypt4ghError::EditList),
                Some(_) => return Err(Crypt4ghError::Header("a packet is of an unknown type")),
            }
        }
        if keys.is_empty() {
            return Err(Crypt4ghError::NotForThisKey { packets });
        }
        let block = Zeroizing::new(vec![0; NONCE_BYTES + BLOCK_BYTES + TAG_BYTES]);
        Ok(Self { from, keys, block, filled: 0, at: 0, nonce: None, ended: false })
    }

    /// Opens the next block; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut read = 0;
        while read < self.block.len() {
            match self.from.read(&mut self.block[read..]) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if read == 0 {
            return Ok(false);
        }
        if self.ended {
            return Err(damaged("a block is short and not the last"));
        }
        let Some((nonce, sealed)) = self.block[..read].split_first_chunk_mut::<NONCE_BYTES>()
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if sealed.len() < TAG_BYTES {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.nonce == Some(*nonce) {
            return Err(damaged("a nonce is used twice, so its writer protects nothing"));
        }
        self.nonce = Some(*nonce);
        self.ended = sealed.len() < BLOCK_BYTES + TAG_BYTES;
        let mut sealed_again = Zeroizing::new(Vec::new());
        if self.keys.len() > 1 {
            sealed_again.extend_from_slice(sealed);
        }
        for key in &self.keys {
            if let Ok(bytes) = key.open_in_place(*nonce, sealed) {
                (self.at, self.filled) = (NONCE_BYTES, NONCE_BYTES + bytes);
                return Ok(true);
            }
            if self.keys.len() > 1 {
                sealed.copy_from_slice(&sealed_again);
            }
        }
        Err(damaged("a block does not open: it was changed or cut"))
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.filled {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let take = buffer.len().min(self.filled - self.at);
        buffer[..take].copy_from_slice(&self.block[self.at..self.at + take]);
        self.at += take;
        Ok(take)
    }
}

fn packet(from: &mut impl Read) -> Result<Vec<u8>, Crypt4ghError> {
    let cut = |_| Crypt4ghError::Header("it ends early");
    let mut length = [0; 4];
    from.read_exact(&mut length).map_err(cut)?;
    let bytes = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if !(PACKET_BYTES..=MOST_PACKET_BYTES).contains(&bytes) {
        return Err(Crypt4ghError::Header("a packet has a length that cannot be"));
    }
    let mut packet = vec![0; bytes - length.len()];
    from.read_exact(&mut packet).map_err(cut)?;
    Ok(packet)
}

/// What a packet says, if it is for this key. Packets for others look like any that does not open.
fn open_packet(
    key: &SecretKey,
    public: &[u8; 32],
    mut packet: Vec<u8>,
) -> Option<Zeroizing<Vec<u8>>> {
    let (method, rest) = packet.split_first_chunk_mut::<4>()?;
    if *method != [0; 4] {
        return None;
    }
    let (writer, rest) = rest.split_first_chunk_mut::<32>()?;
    let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_BYTES>()?;
    let shared = x25519_shared(&key.0, writer)?;
    let mut hash = Blake2b512::new();
    hash.update(shared.as_slice());
    hash.update(public);
    hash.update(*writer);
    let hash = Zeroizing::new(<[u8; 64]>::from(hash.finalize()));
    let key: &[u8; 32] = hash.first_chunk()?;
    let bytes = ChaCha20Poly1305::new(key).open_in_place(*nonce, sealed).ok()?;
    Some(Zeroizing::new(sealed[..bytes].to_vec()))
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
