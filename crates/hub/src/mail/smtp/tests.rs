//! A relay of a few lines that speaks SMTP for real, over TLS that was begun in the middle.

use std::sync::Mutex;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a relay took.
pub(crate) type Taken = Arc<Mutex<Vec<String>>>;

/// How a relay behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Kind,
    /// Speaks no TLS.
    Bare,
    /// Says a line more before TLS begins, as somebody between would.
    Injects,
    /// Knows no such recipient.
    Unknown,
    /// Is busy.
    Busy,
}

/// A relay on this machine that speaks no TLS, and what it took.
pub(crate) async fn loopback(manner: Manner) -> (Relay, Taken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let taken = Taken::default();
    let kept = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 relay.test\r\n").await.unwrap();
            talk(&mut stream, manner, true, &kept).await;
        }
    });
    (Relay::new(&url, "hub@chorion.test", None, None).unwrap(), taken)
}

struct Server {
    port: u16,
    taken: Taken,
    roots: tempfile::NamedTempFile,
}

async fn server(manner: Manner) -> Server {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(vec!["relay.test".to_owned(), "localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), made.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.der().clone()],
            PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Taken::default();
    let kept = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut bare = BufReader::new(stream);
            if talk(&mut bare, manner, false, &kept).await.is_some() {
                let mut secured = BufReader::new(tls.accept(bare.into_inner()).await.unwrap());
                talk(&mut secured, manner, true, &kept).await;
            }
        }
    });
    Server { port, taken, roots }
}

/// Answers until the end, or until TLS is to begin.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut BufReader<S>,
    manner: Manner,
    secured: bool,
    taken: &Taken,
) -> Option<()> {
    if !secured {
        stream.write_all(b"220 relay.test\r\n").await.ok()?;
    }
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let answer = match line.split([' ', ':', '\r']).next().unwrap_or_default() {
            "EHLO" if secured => "250-relay.test\r\n250 AUTH PLAIN\r\n",
            "EHLO" if manner == Manner::Bare => "250 relay.test\r\n",
            "EHLO" => "250-relay.test\r\n250 STARTTLS\r\n",
            "STARTTLS" if manner == Manner::Injects => {
                stream.write_all(b"220 go\r\n250 hello\r\n").await.ok()?;
                return Some(());
            }
            "STARTTLS" => {
                stream.write_all(b"220 go\r\n").await.ok()?;
                return Some(());
            }
            "AUTH" if line.trim_end() == "AUTH PLAIN AGh1YgBHYXR0YWNh" => "235 ok\r\n",
            "AUTH" => "535 no\r\n",
            "MAIL" => "250 ok\r\n",
            "RCPT" if manner == Manner::Unknown => "550 nobody\r\n",
            "RCPT" if manner == Manner::Busy => "450 later\r\n",
            "RCPT" => "250 ok\r\n",
            "DATA" => {
                stream.write_all(b"354 go\r\n").await.ok()?;
                let mut text = String::new();
                loop {
                    let mut next = String::new();
                    stream.read_line(&mut next).await.ok()?;
                    if next == ".\r\n" {
                        break;
                    }
                    text += &next;
                }
                taken.lock().unwrap().push(text);
                "250 taken\r\n"
            }
            "QUIT" => return None,
            _ => "500 what\r\n",
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// A relay that is reached as a machine elsewhere would be: the name decides that TLS is needed.
fn relay(server: &Server, password: &str) -> Relay {
    let password = Some(Zeroizing::new(password.to_owned()));
    let roots = Some(server.roots.path());
    let relay = Relay::new("smtp://hub@relay.test", "hub@chorion.test", password, roots).unwrap();
    assert_eq!((relay.security, relay.port), (Security::StartTls, 587));
    Relay { host: "localhost".to_owned(), port: server.port, ..relay }
}

const TEXT: &str = "Subject: x\r\n\r\nwaits\r\n.dot\r\n";

#[tokio::test]
async fn a_mail_goes_over_tls_with_its_password_and_arrives_as_it_is() {
    let server = server(Manner::Kind).await;
    relay(&server, "Gattaca").send("ada@example.test", TEXT).await.unwrap();
    let taken = server.taken.lock().unwrap().clone();
    assert_eq!(taken, [TEXT.replace("\r\n.dot", "\r\n..dot")]);
}

#[tokio::test]
async fn a_relay_that_is_not_what_was_agreed_gets_no_mail() {
    let cases = [
        (Manner::Bare, "Gattaca", "the SMTP server does not offer STARTTLS", false),
        (Manner::Injects, "Gattaca", "the SMTP server answers something else than SMTP", false),
        (Manner::Kind, "wrong", "the SMTP server refuses the password with 535", false),
        (Manner::Unknown, "Gattaca", "the SMTP server refuses the recipient with 550", true),
        (Manner::Busy, "Gattaca", "the SMTP server refuses the recipient with 450", false),
    ];
    for (manner, password, said, is_final) in cases {
        let server = server(manner).await;
        let error = relay(&server, password).send("ada@example.test", TEXT).await.unwrap_err();
        assert_eq!((error.to_string().as_str(), error.is_final()), (said, is_final));
        assert!(server.taken.lock().unwrap().is_empty());
    }
    let (asked, other) = (server(Manner::Kind).await, server(Manner::Kind).await);
    let stranger = Relay { port: asked.port, ..relay(&other, "Gattaca") };
    assert!(matches!(stranger.send("a@b.test", TEXT).await, Err(RelayError::Io(_))));
}

#[test]
fn a_relay_without_tls_is_on_this_machine_and_gets_no_password() {
    let relay = |url: &str, password: Option<&str>| {
        let password = password.map(|p| Zeroizing::new(p.to_owned()));
        Relay::new(url, "hub@chorion.test", password, None).map_err(|e| e.to_string())
    };
    assert_eq!(relay("smtp://127.0.0.1:25", None).unwrap().security, Security::Loopback);
    assert_eq!(relay("smtp://[::1]:25", None).unwrap().security, Security::Loopback);
    for (url, password) in [
        ("smtp://ada@localhost", Some("x")),
        ("smtp://ada@relay.test", None),
        ("smtp://ada:secret@relay.test", Some("x")),
        ("http://relay.test", None),
        ("smtp://relay test", None),
        ("smtp://relay.test:mail", None),
    ] {
        assert!(relay(url, password).is_err(), "{url}");
    }
    assert!(Relay::new("smtp://127.0.0.1", "nobody", None, None).is_err());
    let printed = format!("{:?}", relay("smtp://127.0.0.1", None));
    assert!(!printed.contains("hub@"));
}

#[test]
fn an_address_bears_nothing_that_could_end_a_line_or_begin_another() {
    for good in ["ada@example.test", "a.b+c@d", "o'neill@x.test"] {
        assert!(is_address(good), "{good}");
    }
    for bad in
        ["ada", "@x", "a@", "a@b@c", "a b@c", "a@b>\r\nRCPT", "a@b\n", "<a@b>", "a,b@c", "ä@b"]
    {
        assert!(!is_address(bad), "{bad}");
    }
}
