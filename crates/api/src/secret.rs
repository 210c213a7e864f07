//! A text that crosses the wire once and is shown nowhere: it does not print, and is wiped when it is dropped.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A secret text: a password.
#[derive(Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// Shows the text to whoever has to send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Gives the text.
    pub fn into_inner(self) -> Zeroizing<String> {
        self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_text_on_the_wire_and_nowhere_else() {
        let secret: Secret = serde_json::from_str("\"copper vein\"").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"copper vein\"");
        assert_eq!(secret.into_inner().as_str(), "copper vein");
    }
}
