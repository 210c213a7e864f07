//! The little of SMTP that handing a mail to a relay needs (RFC 5321, RFC 3207, RFC 4954).
//!
//! TLS is required unless the relay is on this machine: `smtps://` from the first byte, `smtp://` by STARTTLS before anything is
//! said. A password goes over TLS alone. Replies are bounded, and the whole talk has a minute.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::is_address;

/// How long handing over one mail may take.
const WHOLE_TALK: Duration = Duration::from_secs(60);
/// The longest line of a reply.
const LINE_BYTES: u64 = 2048;
/// How many lines a reply may have.
const REPLY_LINES: usize = 100;
/// Where Debian keeps the certificates that machines trust.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Why a relay cannot be used, or did not take a mail.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The address of the relay is none.
    #[error("`{url}` is no address of an SMTP server: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The sender's address is none.
    #[error("`{0}` is no address to send mail from")]
    From(String),
    /// The certificates to trust cannot be read.
    #[error("{path} holds no certificates to trust")]
    Roots {
        /// The file.
        path: PathBuf,
    },
    /// The connection failed.
    #[error("the SMTP server cannot be reached or does not answer")]
    Io(#[from] io::Error),
    /// It took too long.
    #[error("the SMTP server takes too long")]
    Slow,
    /// It does not offer what is needed.
    #[error("the SMTP server does not offer {0}")]
    Lacks(&'static str),
    /// It answers something that is no reply.
    #[error("the SMTP server answers something else than SMTP")]
    Form,
    /// It refuses.
    #[error("the SMTP server refuses {what} with {code}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its code: 4xx may pass, 5xx does not.
        code: u16,
    },
}

impl RelayError {
    /// Whether trying again is of no use: the relay refuses this very mail for good.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { what: "the recipient" | "the mail", code: 500.. })
    }

    /// The sentence and its cause, without what the relay said: that may bear an address.
    pub(crate) fn summary(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// From the first byte.
    Tls,
    /// By STARTTLS.
    StartTls,
    /// None: the relay is on this machine.
    Loopback,
}

/// An SMTP server that takes mail from this hub.
#[derive(Clone)]
pub struct Relay {
    host: String,
    port: u16,
    security: Security,
    login: Option<(String, Arc<Zeroizing<String>>)>,
    from: String,
    tls: Arc<ClientConfig>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({}:{})", self.host, self.port)
    }
}

impl Relay {
    /// The relay at `url`, `smtp[s]://[USER@]HOST[:PORT]`; `roots` is a file of certificates to trust instead of the system's.
    ///
    /// # Errors
    /// The address, the sender or the certificates are not usable.
    pub fn new(
        url: &str,
        from: &str,
        password: Option<Zeroizing<String>>,
        roots: Option<&Path>,
    ) -> Result<Self, RelayError> {
        let wrong = |why| RelayError::Url { url: url.to_owned(), why };
        let (tls, rest) = match url.split_once("://") {
            Some(("smtps", rest)) => (true, rest),
            Some(("smtp", rest)) => (false, rest),
            _ => return Err(wrong("it begins with neither smtp:// nor smtps://")),
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, rest),
        };
        if user.as_deref().is_some_and(|user| user.is_empty() || user.contains(':')) {
            return Err(wrong(
                "before the @ stands a user and no password: that has a file of its own",
            ));
        }
        let usual = if tls { 465 } else { 587 };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong("its port is no number"))?)
            }
            _ => (place, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if ServerName::try_from(host.as_str()).is_err() {
            return Err(wrong("its host is no name"));
        }
        let loopback = host == "localhost"
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        let security = match (tls, loopback) {
            (true, _) => Security::Tls,
            (false, true) => Security::Loopback,
            (false, false) => Security::StartTls,
        };
        if !is_address(from) {
            return Err(RelayError::From(from.to_owned()));
        }
        let login = match (user, password) {
            (Some(user), Some(password)) => Some((user, Arc::new(password))),
            (None, None) => None,
            _ => return Err(wrong("a user and a password file go together")),
        };
        if login.is_some() && security == Security::Loopback {
            return Err(wrong("a password goes over TLS alone: write smtps://"));
        }
        let tls = Arc::new(client_config(roots, security)?);
        Ok(Self { host, port, security, login, from: from.to_owned(), tls })
    }

    /// From whom mail comes.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    /// The host in that address.
    pub(crate) fn sender_host(&self) -> &str {
        self.from.rsplit('@').next().unwrap_or_default()
    }

    /// Hands over one mail.
    pub(crate) async fn send(&self, to: &str, text: &str) -> Result<(), RelayError> {
        tokio::time::timeout(WHOLE_TALK, self.talk(to, text)).await.map_err(|_| RelayError::Slow)?
    }

    async fn talk(&self, to: &str, text: &str) -> Result<(), RelayError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        match self.security {
            Security::Tls => {
                let mut talk = Talk(BufReader::new(self.secured(stream).await?));
                talk.expect("the connection", 220).await?;
                self.hand_over(&mut talk, to, text).await
            }
            Security::StartTls => {
                let mut talk = Talk(BufReader::new(stream));
                talk.expect("the connection", 220).await?;
                if !talk.hello(&self.from).await?.iter().any(|line| line == "STARTTLS") {
                    return Err(RelayError::Lacks("STARTTLS"));
                }
                talk.ask("STARTTLS", "STARTTLS", 220).await?;
                // Whatever was said before TLS began is not the relay's word.
                if !talk.0.buffer().is_empty() {
                    return Err(RelayError::Form);
                }
                let stream = self.secured(talk.0.into_inner()).await?;
                self.hand_over(&mut Talk(BufReader::new(stream)), to, text).await
            }
            Security::Loopback => {
                let mut talk = Talk(BufReader::new(stream));
                talk.expect("the connection", 220).await?;
                self.hand_over(&mut talk, to, text).await
            }
        }
    }

    async fn secured(
        &self,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, RelayError> {
        let name = ServerName::try_from(self.host.clone()).map_err(|_| RelayError::Form)?;
        Ok(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?)
    }

    async fn hand_over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        talk: &mut Talk<S>,
        to: &str,
        text: &str,
    ) -> Result<(), RelayError> {
        let offers = talk.hello(&self.from).await?;
        if let Some((user, password)) = &self.login {
            let plain = |line: &String| {
                line.strip_prefix("AUTH ").is_some_and(|ways| ways.split(' ').any(|w| w == "PLAIN"))
            };
            if !offers.iter().any(plain) {
                return Err(RelayError::Lacks("AUTH PLAIN"));
            }
            let both = Zeroizing::new(format!("\0{user}\0{}", password.as_str()));
            let said = Zeroizing::new(format!("AUTH PLAIN {}", BASE64.encode(both.as_bytes())));
            talk.ask("the password", &said, 235).await?;
        }
        talk.ask("the sender", &format!("MAIL FROM:<{}>", self.from), 250).await?;
        talk.ask("the recipient", &format!("RCPT TO:<{to}>"), 250).await?;
        talk.ask("the mail", "DATA", 354).await?;
        // A line that begins with a dot would end the mail; ours have none, and this keeps it so.
        talk.say(&format!("{}.", text.replace("\r\n.", "\r\n.."))).await?;
        talk.expect("the mail", 250).await?;
        // The mail is the relay's now, whatever comes of the farewell.
        talk.say("QUIT").await.ok();
        Ok(())
    }
}

fn client_config(roots: Option<&Path>, security: Security) -> Result<ClientConfig, RelayError> {
    let mut store = RootCertStore::empty();
    if security != Security::Loopback {
        let path = roots.unwrap_or_else(|| Path::new(SYSTEM_ROOTS));
        let none = || RelayError::Roots { path: path.to_owned() };
        let found = CertificateDer::pem_file_iter(path).map_err(|_| none())?;
        let (added, _) = store.add_parsable_certificates(found.filter_map(Result::ok));
        if added == 0 {
            return Err(none());
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| RelayError::Lacks("TLS"))?;
    Ok(config.with_root_certificates(store).with_no_client_auth())
}

/// A talk with a relay: one line, one reply.
struct Talk<S: AsyncRead + AsyncWrite>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    async fn say(&mut self, line: &str) -> Result<(), RelayError> {
        self.0.write_all(line.as_bytes()).await?;
        self.0.write_all(b"\r\n").await?;
        Ok(self.0.flush().await?)
    }

    /// The next reply: its code and the text of its lines.
    async fn reply(&mut self) -> Result<(u16, Vec<String>), RelayError> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            (&mut self.0).take(LINE_BYTES).read_line(&mut line).await?;
            let text = line.strip_suffix('\n').ok_or(RelayError::Form)?.trim_end();
            let (code, rest) = text.split_at_checked(3).ok_or(RelayError::Form)?;
            let code = code.parse().map_err(|_| RelayError::Form)?;
            lines.push(rest.get(1..).unwrap_or_default().to_owned());
            if !rest.starts_with('-') {
                return Ok((code, lines));
            }
            if lines.len() == REPLY_LINES {
                return Err(RelayError::Form);
            }
        }
    }

    async fn expect(&mut self, what: &'static str, wanted: u16) -> Result<Vec<String>, RelayError> {
        let (code, lines) = self.reply().await?;
        // 251 takes a mail too, and says that it goes on elsewhere.
        if code == wanted || (wanted == 250 && code == 251) {
            Ok(lines)
        } else {
            Err(RelayError::Refused { what, code })
        }
    }

    async fn ask(
        &mut self,
        what: &'static str,
        line: &str,
        wanted: u16,
    ) -> Result<Vec<String>, RelayError> {
        self.say(line).await?;
        self.expect(what, wanted).await
    }

    /// Greets, and gives what the relay offers.
    async fn hello(&mut self, from: &str) -> Result<Vec<String>, RelayError> {
        let host = from.rsplit('@').next().unwrap_or("localhost");
        self.ask("the greeting", &format!("EHLO {host}"), 250).await
    }
}

#[cfg(test)]
pub(crate) mod tests;
