//! Under which names callers reach this hub. A call that was signed for another name is another hub's call.

use std::net::IpAddr;

use crate::StartError;

/// Names that are always the hub's own.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The hub's names with their ports.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    hosts: Vec<String>,
    authorities: Vec<String>,
}

impl Names {
    /// The local names and `names`, each `HOST` (at `port`) or `HOST:PORT`.
    pub(crate) fn new(names: &[String], port: u16) -> Result<Self, StartError> {
        let mut this = Self { hosts: Vec::new(), authorities: Vec::new() };
        for host in LOCAL {
            this.add(host.to_owned(), port);
        }
        for name in names {
            let (host, port) =
                split(name, port).ok_or_else(|| StartError::Name { name: name.clone() })?;
            this.add(host, port);
        }
        Ok(this)
    }

    fn add(&mut self, host: String, port: u16) {
        let written = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        self.authorities.push(format!("{written}:{port}"));
        if port == 443 {
            self.authorities.push(written);
        }
        if !self.hosts.contains(&host) {
            self.hosts.push(host);
        }
    }

    /// The authority of the first of the names that were `given`, or of this machine where there is none.
    pub(crate) fn first_given(&self, given: &[String]) -> &str {
        let local = LOCAL.len();
        let at = if given.is_empty() { 0 } else { local };
        // Port 443 has two spellings of each name, and the shorter comes second.
        let plain: Vec<&String> = self.authorities.iter().filter(|name| has_port(name)).collect();
        plain.get(at).or_else(|| plain.first()).map_or("localhost", |name| name.as_str())
    }

    /// Host names and addresses, for the certificate.
    pub(crate) fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Every spelling of the hub's own authority.
    pub(crate) fn authorities(&self) -> &[String] {
        &self.authorities
    }

    /// Whether `authority` is one of them.
    pub(crate) fn is_own(&self, authority: &str) -> bool {
        self.authorities.iter().any(|own| own.eq_ignore_ascii_case(authority))
    }
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
}

fn split(name: &str, port: u16) -> Option<(String, u16)> {
    if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some((address.to_string(), port));
    }
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.parse().ok()?),
        None => (name, port),
    };
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some((address.to_string(), port));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (host.len() <= 253 && host.split('.').all(label)).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_answers_to_its_names_at_its_port_and_to_no_other() {
        let given = ["Hub.Example".to_owned(), "pub.example:443".into(), "[2001:db8::1]".into()];
        let names = Names::new(&given, 8470).unwrap();
        for own in [
            "localhost:8470",
            "127.0.0.1:8470",
            "[::1]:8470",
            "hub.example:8470",
            "HUB.example:8470",
            "pub.example",
            "pub.example:443",
            "[2001:db8::1]:8470",
        ] {
            assert!(names.is_own(own), "{own}");
        }
        for other in ["localhost", "localhost:8471", "hub.example", "other.example:8470", ""] {
            assert!(!names.is_own(other), "{other}");
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for wrong in ["", "a b", "-a.example", "a..b", "a:port", "a/b", "x:99999"] {
            assert!(Names::new(&[wrong.to_owned()], 1).is_err(), "{wrong}");
        }
    }
}
