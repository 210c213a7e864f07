//! The hub as callers meet it: through the real router, and over real TLS on loopback.
