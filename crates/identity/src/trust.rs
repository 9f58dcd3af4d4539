//! The trust directory.

/// How large a file of the trust directory may be, in bytes.
pub const CA_FILE_BYTES_MAX: usize = 1024 * 1024;

/// The CA certificates that a site has chosen to trust.
#[derive(Debug, Clone, Default)]
pub struct TrustDirectory {}

/// A file, or a certificate in it, that is not used. The others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What is wrong with it.
    pub text: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.file, self.text)
    }
}

impl TrustDirectory {
    /// Whether a file of this name holds CA certificates: `<8 hex digits>.<digits>`, `*.pem`, `*.crt`.
    #[must_use]
    pub fn is_ca_file(name: &str) -> bool {
        let _ = name;
        false
    }

    /// Takes the CA certificates out of files (name and content) in PEM or DER. Files of other
    /// names are left alone.
    #[must_use]
    pub fn from_files(files: Vec<(String, Vec<u8>)>) -> (Self, Vec<Problem>) {
        let _ = files;
        (Self::default(), Vec::new())
    }

    /// How many CA certificates it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        0
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
