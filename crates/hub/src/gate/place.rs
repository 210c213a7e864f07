//! Where calls come from and who made them, as far as limits and blocks tell callers apart.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use api::KeyId;

/// An address as it is counted: one of IPv4, or the /64 of one of IPv6, because whoever has one of those has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    /// One address.
    V4(Ipv4Addr),
    /// The first 64 bits.
    V6([u8; 8]),
}

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        // An IPv4 caller on a socket for both is the same caller.
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// The network that a place lies in: what one site or provider has. A /24 of IPv4, a /48 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Network {
    /// The first 24 bits.
    V4([u8; 3]),
    /// The first 48 bits.
    V6([u8; 6]),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4([a, b, c]) => write!(f, "{}/24", Ipv4Addr::new(*a, *b, *c, 0)),
            Self::V6([a, b, c, d, e, f_]) => {
                let octets = [*a, *b, *c, *d, *e, *f_, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/48", Ipv6Addr::from(octets))
            }
        }
    }
}

impl Place {
    /// The network around it.
    pub(crate) fn network(self) -> Network {
        match self {
            Self::V4(address) => {
                let [a, b, c, _] = address.octets();
                Network::V4([a, b, c])
            }
            Self::V6([a, b, c, d, e, f, ..]) => Network::V6([a, b, c, d, e, f]),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6([a, b, c, d, e, f_, g, h]) => {
                let octets = [*a, *b, *c, *d, *e, *f_, *g, *h, 0, 0, 0, 0, 0, 0, 0, 0];
                write!(f, "{}/64", Ipv6Addr::from(octets))
            }
        }
    }
}

impl FromStr for Place {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let wrong = || NotASubject { text: text.chars().take(64).collect() };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let place = Self::from(address.parse::<IpAddr>().map_err(|_| wrong())?);
        match (place, prefix) {
            (_, None) | (Self::V6(_), Some("64")) | (Self::V4(_), Some("32")) => Ok(place),
            _ => Err(wrong()),
        }
    }
}

/// Who is limited or blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Subject {
    /// Whoever calls from there.
    Address(Place),
    /// Whoever signs with it.
    Key(KeyId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(place) => write!(f, "address:{place}"),
            Self::Key(key) => write!(f, "key:{key}"),
        }
    }
}

/// A text that names no caller.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is neither `address:` with an address nor `key:` with a key id")]
pub(crate) struct NotASubject {
    text: String,
}

impl FromStr for Subject {
    type Err = NotASubject;

    fn from_str(text: &str) -> Result<Self, NotASubject> {
        let wrong = || NotASubject { text: text.chars().take(64).collect() };
        match text.split_once(':') {
            Some(("address", place)) => place.parse().map(Self::Address).map_err(|_| wrong()),
            Some(("key", key)) => key.parse().map(Self::Key).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_itself_or_its_64() {
        for (text, counted) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7/32", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::/64", "2001:db8:1:2::/64"),
            ("::1", "::/64"),
        ] {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.to_string(), counted);
            let subject: Subject = format!("address:{text}").parse().unwrap();
            assert_eq!(subject.to_string(), format!("address:{counted}"));
            assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }
        for wrong in ["", "192.0.2", "192.0.2.0/24", "2001:db8::/32", "localhost", "::1/"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
            assert!(format!("address:{wrong}").parse::<Subject>().is_err(), "{wrong}");
            assert!(wrong.parse::<Subject>().is_err(), "{wrong}");
        }
    }
}
