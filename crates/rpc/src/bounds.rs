//! What one body may hold.

/// What one body may hold at most; checked while reading, in every dialect.
///
/// None of these is the length of the body, which whoever collects it bounds.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Nested arrays and structs; never more than [`DEPTH_CEILING`], whatever is said here.
    pub depth_max: usize,
    /// Elements in the whole body; in JSON, values and names of members.
    pub elements_max: usize,
    /// Bytes of one element or member name.
    pub name_bytes_max: usize,
    /// Bytes of one text: a string as it is read, a base64 as it is written.
    pub text_bytes_max: usize,
    /// Calls in one body: a batch of JSON-RPC, the calls in a `system.multicall`, and those of
    /// several in one batch together.
    pub calls_max: usize,
}

impl Default for Bounds {
    /// `calls_max` has room for the help and the signatures of every method of a large server.
    fn default() -> Self {
        Self {
            depth_max: 64,
            elements_max: 1_000_000,
            name_bytes_max: 255,
            text_bytes_max: 64 * 1024 * 1024,
            calls_max: 512,
        }
    }
}

impl Bounds {
    /// The depth that is held to.
    pub(crate) fn depth(&self) -> usize {
        self.depth_max.min(DEPTH_CEILING)
    }
}

/// The deepest nesting that is ever read: a value is dropped and compared by recursion, and a
/// thread's stack must hold that.
pub const DEPTH_CEILING: usize = 512;
