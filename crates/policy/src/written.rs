//! Reading a TOML file as it was written: every mistake in one run, each with its line.
//!
//! A [`Document`] collects the mistakes. A [`Table`] hands out the keys of one table by kind; what
//! is of the wrong kind is a mistake and counts as absent, and what nobody asked for is an unknown
//! key when the table is [finished](Table::finish).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::{Datetime, Offset};

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub text: String,
}

/// A value and the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lined<T> {
    /// The line, from 1.
    pub line: usize,
    /// The value.
    pub value: T,
}

/// A file being read.
#[derive(Debug)]
pub struct Document<'i> {
    /// Where each line but the first begins.
    line_starts: Vec<usize>,
    root: Spanned<DeTable<'i>>,
    mistakes: RefCell<Vec<Mistake>>,
    /// Lines that are not TOML: what was made of them is guessed, and its mistakes are not told.
    broken: BTreeSet<usize>,
}

impl<'i> Document<'i> {
    /// Reads the syntax. What is not TOML is a mistake; the rest is still to be had.
    #[must_use]
    pub fn new(text: &'i str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let broken = BTreeSet::new();
        let mut document = Self { line_starts, root, mistakes: RefCell::default(), broken };
        for error in errors {
            let line = document.line(&error.span().unwrap_or_default());
            document.mistake(line, error.message().trim().replace('\n', ", "));
            document.broken.insert(line);
        }
        document
    }

    /// The table of the whole file.
    #[must_use]
    pub fn root(&self) -> Table<'_> {
        Table {
            document: self,
            name: String::new(),
            line: 1,
            map: self.root.get_ref(),
            asked: BTreeSet::new(),
        }
    }

    /// Adds a mistake, unless its line is not even TOML, which has been told.
    pub fn mistake(&self, line: usize, text: impl Into<String>) {
        if !self.broken.contains(&line) {
            self.mistakes.borrow_mut().push(Mistake { line, text: text.into() });
        }
    }

    /// All mistakes, in the order of lines.
    #[must_use]
    pub fn mistakes(self) -> Vec<Mistake> {
        let mut all = self.mistakes.into_inner();
        all.sort();
        all.dedup();
        all
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|&start| start <= span.start) + 1
    }
}

/// One table of the file.
#[derive(Debug)]
pub struct Table<'d> {
    document: &'d Document<'d>,
    name: String,
    line: usize,
    map: &'d DeTable<'d>,
    asked: BTreeSet<String>,
}

impl<'d> Table<'d> {
    /// Its name as its heading says it, without brackets; empty for the whole file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line of its heading.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Adds a mistake of this file.
    pub fn mistake(&self, line: usize, text: impl Into<String>) {
        self.document.mistake(line, text);
    }

    /// Every key that is there.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.map.keys().map(|key| key.get_ref().to_string()).collect()
    }

    /// The keys of the tables inside that have one heading each.
    #[must_use]
    pub fn table_keys(&self) -> Vec<String> {
        let tables = self.map.iter().filter(|(_, value)| value.get_ref().is_table());
        tables.map(|(key, _)| key.get_ref().to_string()).collect()
    }

    /// The line of a key that is there.
    #[must_use]
    pub fn line_of(&self, key: &str) -> Option<usize> {
        self.map.get_key_value(key).map(|(found, _)| self.document.line(&found.span()))
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Option<Lined<String>> {
        self.get(key, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// `true` or `false`.
    pub fn truth(&mut self, key: &str) -> Option<Lined<bool>> {
        self.get(key, "true or false", |value| value.as_bool())
    }

    /// A whole number in `range`.
    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<Lined<u64>> {
        let number = self.get(key, "a whole number", |value| {
            let integer = value.as_integer()?;
            i128::from_str_radix(integer.as_str(), integer.radix()).ok()
        })?;
        let fits = u64::try_from(number.value).ok().filter(|value| range.contains(value));
        if fits.is_none() {
            let (low, high) = (range.start(), range.end());
            let text = format!("`{key}` is {}, and may be {low} to {high}", number.value);
            self.mistake(number.line, text);
        }
        Some(Lined { line: number.line, value: fits? })
    }

    /// An instant, in seconds since 1970 UTC, a fraction rounded up. A time without an offset is a
    /// mistake: it would be another instant on every machine.
    pub fn moment(&mut self, key: &str) -> Option<Lined<i64>> {
        let wanted = "a date and time such as 2026-03-01T00:00:00Z";
        let written = self.get(key, wanted, |value| value.as_datetime().copied())?;
        let moment = instant(&written.value);
        if moment.is_none() {
            let text = format!(
                "`{key}` is a date and time with its offset, such as 2026-03-01T00:00:00Z or 2026-03-01T00:00:00+01:00, not {}",
                written.value
            );
            self.mistake(written.line, text);
        }
        Some(Lined { line: written.line, value: moment? })
    }

    /// A list of texts.
    pub fn texts(&mut self, key: &str) -> Option<Lined<Vec<Lined<String>>>> {
        let document = self.document;
        self.get(key, "a list of texts", |value| {
            let one = |item: &Spanned<DeValue<'_>>| {
                let line = document.line(&item.span());
                Some(Lined { line, value: item.get_ref().as_str()?.to_owned() })
            };
            value.as_array()?.iter().map(one).collect()
        })
    }

    /// A list of lists of texts; the line of each is where it begins.
    pub fn text_lists(&mut self, key: &str) -> Option<Lined<Vec<Lined<Vec<String>>>>> {
        let document = self.document;
        self.get(key, "a list of lists of texts", |value| {
            let text = |item: &Spanned<DeValue<'_>>| item.get_ref().as_str().map(str::to_owned);
            let one = |item: &Spanned<DeValue<'_>>| {
                let value = item.get_ref().as_array()?.iter().map(text).collect::<Option<_>>()?;
                Some(Lined { line: document.line(&item.span()), value })
            };
            value.as_array()?.iter().map(one).collect()
        })
    }

    /// A table inside, `[key]`.
    pub fn table(&mut self, key: &str) -> Option<Table<'d>> {
        let name = self.name_of(key);
        let (line, value) = self.find(key)?;
        match value {
            DeValue::Table(map) => Some(self.inner(name, line, map)),
            other => self.wrong_kind(key, line, other, "a table"),
        }
    }

    /// A list of tables inside, `[[key]]`; empty where there is none.
    pub fn tables(&mut self, key: &str) -> Vec<Table<'d>> {
        let name = self.name_of(key);
        let Some((line, value)) = self.find(key) else { return Vec::new() };
        let DeValue::Array(array) = value else {
            return self.wrong_kind(key, line, value, "a list of tables").unwrap_or_default();
        };
        let mut tables = Vec::new();
        for item in array.iter() {
            let line = self.document.line(&item.span());
            match item.get_ref() {
                DeValue::Table(map) => tables.push(self.inner(name.clone(), line, map)),
                other => {
                    let _: Option<()> = self.wrong_kind(key, line, other, "a list of tables");
                }
            }
        }
        tables
    }

    /// Reports every key that was not asked for; `advice` may add a sentence for a key.
    pub fn finish(self, advice: impl Fn(&str) -> Option<String>) {
        for key in self.map.keys() {
            let word: &str = key.get_ref();
            if self.asked.contains(word) {
                continue;
            }
            let place =
                if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let near = self.asked.iter().find(|known| is_near(known, word));
            let advice =
                near.map(|known| format!("did you mean `{known}`?")).or_else(|| advice(word));
            let advice = advice.map(|advice| format!(": {advice}")).unwrap_or_default();
            let line = self.document.line(&key.span());
            self.mistake(line, format!("unknown key `{word}`{place}{advice}"));
        }
    }

    fn inner(&self, name: String, line: usize, map: &'d DeTable<'d>) -> Table<'d> {
        Table { document: self.document, name, line, map, asked: BTreeSet::new() }
    }

    fn name_of(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn find(&mut self, key: &str) -> Option<(usize, &'d DeValue<'d>)> {
        self.asked.insert(key.to_owned());
        let (found, value) = self.map.get_key_value(key)?;
        Some((self.document.line(&found.span()), value.get_ref()))
    }

    fn get<T>(
        &mut self,
        key: &str,
        wanted: &str,
        read: impl Fn(&DeValue<'_>) -> Option<T>,
    ) -> Option<Lined<T>> {
        let (line, value) = self.find(key)?;
        match read(value) {
            Some(value) => Some(Lined { line, value }),
            None => self.wrong_kind(key, line, value, wanted),
        }
    }

    fn wrong_kind<T>(
        &self,
        key: &str,
        line: usize,
        value: &DeValue<'_>,
        wanted: &str,
    ) -> Option<T> {
        self.mistake(line, format!("`{key}` is {wanted}, not {}", kind(value)));
        None
    }
}

const DAY_SECONDS: i64 = 86_400;
/// The last second of the year 9999, from 1970 UTC: what TOML can write.
pub(crate) const SECONDS_MAX: i64 = 253_402_300_799;

/// The seconds from 1970 UTC to a date and time with an offset, rounded up.
fn instant(written: &Datetime) -> Option<i64> {
    let (date, time, offset) = (written.date?, written.time?, written.offset?);
    let days = days_to(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let clock = (i64::from(time.hour) * 60 + i64::from(time.minute) - minutes) * 60;
    let up = i64::from(time.nanosecond.unwrap_or(0) > 0);
    Some(days * DAY_SECONDS + clock + i64::from(time.second.unwrap_or(0)) + up)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years are counted from March, so that
/// the day a leap year adds is the last of its year.
fn days_to(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The reverse of [`Table::moment`], for instants from 1970 to the year 9999.
pub(crate) fn utc_text(seconds: i64) -> String {
    let (days, clock) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    // The greatest year that begins not after that day, guessed from the mean length of a year.
    let guess = 1970 + days * 400 / 146_097;
    let starts = |year: &i64| days_to(*year, 1, 1) <= days;
    let year = [guess + 1, guess].into_iter().find(starts).unwrap_or(guess - 1);
    let starts = |month: &i64| days_to(year, *month, 1) <= days;
    let month = (1..=12).rev().find(starts).unwrap_or(1);
    let day = days - days_to(year, month, 1) + 1;
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A number of seconds with a fraction, rounded up to a whole one; `None` beyond what TOML can
/// write.
pub(crate) fn seconds_up(seconds: f64) -> Option<i64> {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "whole, and within what a float holds exactly"
    )]
    (0.0..=SECONDS_MAX as f64).contains(&seconds).then(|| seconds.ceil() as i64)
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "such a list",
        DeValue::Table(_) => "a table",
    }
}

/// Whether two words differ by one letter left out, added, changed or swapped with its neighbour.
fn is_near(known: &str, written: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (known.chars().collect(), written.chars().collect());
    let head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let tail = |skip_a: usize, skip_b: usize| a.get(head + skip_a..) == b.get(head + skip_b..);
    let swapped = a.get(head) == b.get(head + 1) && a.get(head + 1) == b.get(head);
    let in_both = a.len() > head + 1 && b.len() > head + 1;
    tail(1, 0) && a.len() > head
        || tail(0, 1) && b.len() > head
        || tail(1, 1) && a.len() > head && b.len() > head
        || swapped && in_both && tail(2, 2)
}

#[cfg(test)]
mod tests;
