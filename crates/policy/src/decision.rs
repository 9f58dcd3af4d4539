//! The decision: may this caller call this method, as what, and may he ask for so much?
//!
//! [`decide`] is the one place where access lists, levels and what a service serves come together:
//! a real call, a list of methods and [`crate::explain()`] all ask it. [`admit_job`] and
//! [`admit_call`] hold what is asked against the level and what was used today. The texts are the
//! ones that callers read, and the codes those of their faults.

use crate::{
    Access, AccessEdit, AccessEdits, AdmitError, Ask, Denied, LevelName, Limits, NotJudged,
    Permitted, SubjectDn, admit_seconds,
};

/// Fault 401: a certificate is needed.
pub const NO_CREDENTIAL: i32 = 401;
/// Fault 403: refused.
pub const REFUSED: i32 = 403;
/// Fault 413: over a limit.
pub const OVER_LIMIT: i32 = 413;
/// Fault 429: too much for now.
pub const TOO_MANY: i32 = 429;
/// Fault -32602: no number that could be a size.
pub(crate) const INVALID_PARAMS: i32 = -32602;

/// What a caller with a limited proxy reads who would start or change something.
pub const READS_ONLY: &str = "a limited proxy may read, and start nothing";

/// How many times one anonymous caller's CPU seconds of a day all of a level have together:
/// addresses are cheap.
pub const ANONYMOUS_TOTAL_TIMES: u64 = 8;

const DAY_SECONDS: i64 = 86_400;
const USEC_PER_SECOND: u64 = 1_000_000;

/// A service, as far as it decides whom it serves.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// Its dotted name.
    pub service: &'a str,
    /// The access lists of the folders around it, the outermost first, and its own last.
    pub access: &'a [&'a Access],
    /// What administrators say of services beside those lists.
    pub edits: &'a AccessEdits,
    /// The levels that its manifest names; empty is all.
    pub levels: &'a [String],
    /// The levels that its code is good for; `None` is all. Changed code that nobody has approved is
    /// good for levels alone whose callers have no account of their own.
    pub approved_for: Option<&'a [LevelName]>,
}

/// Why a caller does not get what he asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fault {code}: {text}")]
pub struct Refused {
    /// The fault's code.
    pub code: i32,
    /// The fault's text, fit for strangers.
    pub text: String,
    /// The rule of the access list that refuses, for audit; `None` where it is not that list.
    pub rule: Option<String>,
}

impl Refused {
    fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), rule: None }
    }
}

/// Whatever a judged caller is known by: it has a level.
pub trait Graded {
    /// The level.
    fn level(&self) -> &LevelName;
}

impl<G: Graded> Graded for std::sync::Arc<G> {
    fn level(&self) -> &LevelName {
        G::level(self)
    }
}

/// A caller may call a method. Only [`decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided<G> {
    granted: G,
    permitted: Permitted,
}

impl<G> Decided<G> {
    /// As what he calls: after lowering, if the service lowers him.
    pub fn granted(&self) -> &G {
        &self.granted
    }

    /// The same, for keeps.
    pub fn into_granted(self) -> G {
        self.granted
    }

    /// Which rule of the access lists let him through.
    pub fn rule(&self) -> &str {
        self.permitted.rule()
    }
}

/// Decides whether a caller may call a method. `natural` is what he is granted, `lower` what he is
/// granted at the lower level that the access list names; whoever judges never raises him by it.
///
/// # Errors
/// 401 and 403 of the access lists and of the edits; the error of `natural` or `lower`; 403 where the service does
/// not serve the level that he ends up with.
pub fn decide<G: Graded, E: From<Refused>>(
    offer: &Offer<'_>,
    ask: &Ask<'_>,
    natural: Result<G, E>,
    lower: impl FnOnce(&LevelName) -> Result<G, E>,
) -> Result<Decided<G>, E> {
    let permitted = permit(offer, ask)?;
    let natural = natural?;
    let granted = match lowered_from(&permitted, natural.level()) {
        Some(to) => lower(to)?,
        None => natural,
    };
    serves(offer, granted.level())?;
    Ok(Decided { granted, permitted })
}

/// What the access lists alone say, with the edits beside them.
///
/// # Errors
/// 401 and 403.
pub(crate) fn permit(offer: &Offer<'_>, ask: &Ask<'_>) -> Result<Permitted, Refused> {
    if let Some(edit) = offer.edits.denial(offer.service, ask) {
        return Err(denied_by(edit, ask));
    }
    let allowance = || offer.edits.allowance(offer.service, ask).map(ToString::to_string);
    Access::permits_with(offer.access, ask, allowance).map_err(|denied| {
        let text = denied.to_string();
        let (code, rule) = match denied {
            Denied::NoCredential { rule } => (NO_CREDENTIAL, rule),
            Denied::Refused { rule, .. } => (REFUSED, rule),
        };
        Refused { code, text, rule: Some(rule) }
    })
}

/// What a caller reads whom an administrator has denied what he calls.
#[must_use]
pub fn denied_by(edit: &AccessEdit, ask: &Ask<'_>) -> Refused {
    let subject = ask.subject.map_or_else(String::new, SubjectDn::to_oneline);
    let text = format!("an administrator of this server has denied this to {subject}");
    Refused { code: REFUSED, text, rule: Some(edit.to_string()) }
}

/// The level that the access list names, if it is another than the caller's.
pub(crate) fn lowered_from<'a>(
    permitted: &'a Permitted,
    level: &LevelName,
) -> Option<&'a LevelName> {
    permitted.lowered().filter(|to| *to != level)
}

/// Whether the service serves a level.
pub(crate) fn serves(offer: &Offer<'_>, level: &LevelName) -> Result<(), Refused> {
    let Offer { service, levels, approved_for, .. } = offer;
    if !levels.is_empty() && !levels.iter().any(|known| known == level.as_str()) {
        let text = format!("the service {service} does not serve level {level}");
        return Err(Refused::new(REFUSED, text));
    }
    if approved_for.is_some_and(|approved| !approved.contains(level)) {
        let text = format!(
            "the code of service {service} has changed and is not approved for level {level}"
        );
        return Err(Refused::new(REFUSED, text));
    }
    Ok(())
}

/// What is used up of a day's CPU seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Used {
    /// CPU microseconds that jobs which have ended, and calls, were charged.
    pub cpu_usec: u64,
    /// CPU seconds that jobs which have not ended may still be charged.
    pub reserved_seconds: u64,
}

/// A day's use, as it stands when something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Today {
    /// The caller's.
    pub own: Used,
    /// That of all anonymous callers of his level, if he is one.
    pub anonymous: Option<Used>,
    /// When: seconds since 1970 UTC.
    pub now_unix: i64,
}

impl Used {
    /// CPU seconds that are left of `limit`; a begun second is used.
    #[must_use]
    pub fn left_of(&self, limit: u64) -> u64 {
        let used = self.cpu_usec.div_ceil(USEC_PER_SECOND).saturating_add(self.reserved_seconds);
        limit.saturating_sub(used)
    }
}

/// What a job is held against.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// The level.
    pub level: &'a LevelName,
    /// Its limits.
    pub limits: &'a Limits,
    /// Whether the caller may start nothing.
    pub reads_only: bool,
}

/// The whole CPU seconds that a job of `seconds` is admitted for.
///
/// # Errors
/// 403 for a limited proxy, -32602 for no size, 413 over the level's limit or over what is left of
/// the day's.
pub fn admit_job(seconds: f64, terms: &Terms<'_>, today: &Today) -> Result<u64, Refused> {
    if terms.reads_only {
        return Err(Refused::new(REFUSED, READS_ONLY));
    }
    let asked = admit_size(seconds, terms)?;
    let Terms { level, limits, .. } = terms;
    for (limit, used, whose) in shares(limits, today) {
        let left = used.left_of(limit);
        if asked > left {
            let renews = next_midnight(today.now_unix);
            let text = format!(
                "asked for {asked} CPU seconds, level {level} allows {whose}{limit} a day: {left} \
                 are left until {renews}"
            );
            return Err(Refused::new(OVER_LIMIT, text));
        }
    }
    Ok(asked)
}

/// The same without regard to the day and to proxies: what `getSystemUser` asks.
///
/// # Errors
/// -32602 and 413.
pub fn admit_size(seconds: f64, terms: &Terms<'_>) -> Result<u64, Refused> {
    admit_seconds(seconds, terms.limits, terms.level).map_err(|error| {
        let code = match &error {
            AdmitError::OverLimit(_) => OVER_LIMIT,
            AdmitError::InvalidAsk { .. } => INVALID_PARAMS,
        };
        Refused::new(code, error.to_string())
    })
}

/// Whether a call into a service may use any CPU time today. What jobs may still use is no reason
/// against it.
///
/// # Errors
/// 429 with when the next day begins.
pub fn admit_call(level: &LevelName, limits: &Limits, today: &Today) -> Result<(), Refused> {
    for (limit, used, whose) in shares(limits, today) {
        if used.cpu_usec / USEC_PER_SECOND >= limit {
            let renews = next_midnight(today.now_unix);
            let text = format!(
                "level {level} allows {whose}{limit} CPU seconds a day, and none is left until {renews}"
            );
            return Err(Refused::new(TOO_MANY, text));
        }
    }
    Ok(())
}

/// Each limit of a day that there is, with what is used of it and whose it is.
fn shares<'a>(
    limits: &Limits,
    today: &Today,
) -> impl Iterator<Item = (u64, Used, &'a str)> + use<'a> {
    let limit = limits.cpu_seconds_per_day;
    let all = today.anonymous.map(|used| {
        let total = limit.saturating_mul(ANONYMOUS_TOTAL_TIMES);
        (total, used, "all its anonymous callers together ")
    });
    let both = std::iter::once((limit, today.own, "")).chain(all);
    both.filter(|(limit, ..)| *limit != u64::MAX)
}

/// What a caller reads whom nobody judged, and its code.
#[must_use]
pub fn refusal_of(error: &NotJudged, anonymous: bool) -> Refused {
    match error {
        NotJudged::NotHisAccount { account, .. } => not_his_account(account.as_str()),
        NotJudged::NoLevel { .. } | NotJudged::NoAccount { .. } | NotJudged::NoSuchLevel { .. } => {
            no_level(anonymous)
        }
    }
}

/// What a caller reads whom no level takes, or one without an account.
#[must_use]
pub fn no_level(anonymous: bool) -> Refused {
    if anonymous {
        Refused::new(NO_CREDENTIAL, "no level takes a caller without a certificate")
    } else {
        Refused::new(REFUSED, "no level takes this certificate")
    }
}

/// What a caller reads who asks for an account that he has not. It says nothing of whether there is
/// such an account.
#[must_use]
pub fn not_his_account(account: &str) -> Refused {
    Refused::new(REFUSED, format!("the account {account} is not one of this caller's"))
}

/// When the next day begins (UTC), as RFC 3339 writes it.
#[must_use]
pub fn next_midnight(now_unix: i64) -> String {
    let (year, month, day) = civil(now_unix.max(0) / DAY_SECONDS + 1);
    format!("{year:04}-{month:02}-{day:02}T00:00:00Z")
}

/// Year, month and day of a day counted from 1970-01-01 (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests;
