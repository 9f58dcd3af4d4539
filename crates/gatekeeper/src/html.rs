//! What our pages have in common.

use std::fmt;

/// Text as it may stand in an element or a quoted attribute: markup is written as references, and
/// characters that nobody sees as U+FFFD.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                control if control.is_control() => out.write_str("\u{fffd}")?,
                plain => write!(out, "{plain}")?,
            }
        }
        Ok(())
    }
}

/// The one style sheet: readable, narrow, light or dark as the reader's system is.
pub(crate) const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;margin:0}\
main{max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.4rem;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%}\
caption{text-align:left;padding:.3rem 0}\
th,td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid #8886;vertical-align:top}\
td:first-child{overflow-wrap:anywhere;min-width:9rem}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}";
