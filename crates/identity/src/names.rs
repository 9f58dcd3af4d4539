//! X.509 names as DNs.
