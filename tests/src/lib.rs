//! Whole-system tests live in tests/system; this library is empty on purpose.
