//! The token that ties a worker's requests to the call it is serving.

use std::fmt;

/// A call's token: 128 random bits, known to the container and to the one worker that got the call.
///
/// Whoever presents it is judged as the caller of that call, while the call lasts. It is compared
/// in constant time and never printed by `Debug`.
#[derive(Clone, Copy)]
pub struct Token([u8; 16]);

/// The text is no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a token: 32 lowercase hexadecimal digits are expected")]
pub struct TokenError;

impl Token {
    /// A token of these bytes, which must be random.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the 32 hexadecimal digits that [`Token::reveal`] writes.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| TokenError)?;
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let &[high, low] = pair else { return Err(TokenError) };
            *byte = (digit(high)? << 4) | digit(low)?;
        }
        Ok(Self(bytes))
    }

    /// The 32 digits, for the worker alone.
    #[must_use]
    pub fn reveal(&self) -> String {
        self.0.iter().fold(String::with_capacity(32), |mut text, byte| {
            text.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            text.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            text
        })
    }
}

fn digit(byte: u8) -> Result<u8, TokenError> {
    match byte {
        b'0'..=b'9' => Ok(byte - b'0'),
        b'a'..=b'f' => Ok(byte - b'a' + 10),
        _ => Err(TokenError),
    }
}

impl PartialEq for Token {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
        std::hint::black_box(difference) == 0
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(..)")
    }
}
