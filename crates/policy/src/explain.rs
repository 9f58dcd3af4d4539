//! Explaining: what a call would get, and which rules decide it, in words that a person can read.
//!
//! An explanation asks the very functions that a call is decided by ([`decide`], [`admit_job`],
//! [`admit_call`]); what is beside them only names the rules. [`explain()`] judges by rules that the
//! asker has read himself; [`explain_case`] takes the judgements of whoever has made them.

use std::fmt;

use crate::decision::{permit, serves};
use crate::{
    Ask, Graded, Groups, Judgement, Level, LevelName, Limits, Offer, ProxyWord, Refused, Rules,
    Terms, Today, Who, admit_call, admit_job, decide, refusal_of,
};

/// What is to be explained: one call, and perhaps the size of the job that it would start.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// Who calls.
    pub who: Who<'a>,
    /// The service that he calls.
    pub offer: Offer<'a>,
    /// The method's name inside it.
    pub method: &'a str,
    /// The CPU seconds that he would ask for; `None` is no job.
    pub seconds: Option<f64>,
    /// The VO groups there are.
    pub groups: &'a dyn Groups,
    /// What is used up of the day, and the time.
    pub today: Today,
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Question")
            .field("who", &self.who)
            .field("offer", &self.offer)
            .field("method", &self.method)
            .field("seconds", &self.seconds)
            .field("today", &self.today)
            .finish_non_exhaustive()
    }
}

/// A judged caller, as an explanation needs to know him.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The account, or the pool that one is leased from.
    pub account: String,
    /// The level.
    pub level: LevelName,
    /// What may be used.
    pub limits: Limits,
    /// Whether he may start nothing: his proxy is limited.
    pub reads_only: bool,
    /// Which rule decided.
    pub rule: String,
}

impl Graded for Granted {
    fn level(&self) -> &LevelName {
        &self.level
    }
}

impl From<Judgement> for Granted {
    fn from(judgement: Judgement) -> Self {
        Self {
            account: judgement.account.to_string(),
            level: judgement.level,
            limits: judgement.limits,
            reads_only: judgement.reads_only,
            rule: judgement.rule,
        }
    }
}

/// What a call would get, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The rules that were asked, in the order of asking.
    pub steps: Vec<Step>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// One rule, and what it says of this call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which kind of rule: "gridmap", "level strong", "access list".
    pub rule: String,
    /// Where it stands: a line of the gridmap, the condition of a level, the rule of an access list.
    pub place: String,
    /// What it says.
    pub verdict: String,
}

/// The end of an explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The call would be made.
    Granted {
        /// As this account, or one of this pool.
        account: String,
        /// At this level.
        level: LevelName,
        /// The CPU seconds that the job would be admitted for, if any were asked.
        cpu_seconds: Option<u64>,
        /// The limits that hold.
        limits: Limits,
    },
    /// The call, or the job that it starts, would be answered with this fault.
    Refused {
        /// The fault's code.
        code: i32,
        /// The fault's text.
        text: String,
    },
}

/// Explains a call by rules at hand: exactly what it would get.
#[must_use]
pub fn explain(rules: &Rules, question: &Question<'_>) -> Explanation {
    let mut steps = judging(rules, &question.who);
    let judge = |lowered: Option<&LevelName>| {
        let who = Who { lowered, ..question.who };
        rules.judge(&who).map(Granted::from).map_err(|error| Unjudged {
            why: Some(error.to_string()),
            refused: refusal_of(&error, who.subject.is_none()),
        })
    };
    let case = explain_case(question, judge);
    steps.extend(case.steps);
    Explanation { steps, outcome: case.outcome }
}

/// Explains what a caller is taken for by rules at hand, whatever he calls, and whether he may start a
/// job of so many CPU seconds.
#[must_use]
pub fn explain_caller(
    rules: &Rules,
    who: &Who<'_>,
    seconds: Option<f64>,
    today: &Today,
) -> Explanation {
    let mut steps = judging(rules, who);
    match rules.judge(who) {
        Ok(judgement) => {
            let granted = Granted::from(judgement);
            steps.push(Step::new("judged", &granted.rule, as_what(&granted)));
            size(seconds, today, granted, steps)
        }
        Err(error) => {
            steps.push(Step::new("judged", "no level", error.to_string()));
            refused(steps, refusal_of(&error, who.subject.is_none()))
        }
    }
}

/// Why a caller was not judged: what the caller reads, and what those who keep the rules do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// For the caller.
    pub refused: Refused,
    /// For who keeps the rules, if the asker is one.
    pub why: Option<String>,
}

impl From<Refused> for Unjudged {
    fn from(refused: Refused) -> Self {
        Self { refused, why: None }
    }
}

/// Explains a call by judgements that others make: `judge` is asked for what the caller is granted,
/// and for what he is granted at the level that the service lowers him to.
pub fn explain_case(
    question: &Question<'_>,
    mut judge: impl FnMut(Option<&LevelName>) -> Result<Granted, Unjudged>,
) -> Explanation {
    let Question { offer, today, .. } = question;
    let natural = judge(None);
    let ask = Ask {
        method: question.method,
        subject: question.who.subject,
        level: natural.as_ref().ok().map(|granted| &granted.level),
        groups: question.groups,
        now_unix: today.now_unix,
    };
    let mut steps = Vec::new();
    match &natural {
        Ok(granted) => steps.push(Step::new("judged", &granted.rule, as_what(granted))),
        Err(error) => {
            let why = error.why.clone().unwrap_or_else(|| error.refused.text.clone());
            steps.push(Step::new("judged", "no level", why));
        }
    }
    steps.extend(access_step(offer, &ask));
    let level = ask.level.cloned();
    let mut lowering = None;
    let decided = decide(offer, &ask, natural.clone(), |to| {
        let lowered = judge(Some(to));
        lowering = Some((to.clone(), lowered.clone()));
        lowered
    });
    if let (Some(level), Some((to, lowered))) = (&level, &lowering) {
        steps.push(lowering_step(level, to, lowered));
    }
    let granted = match decided {
        Ok(decided) => decided.into_granted(),
        Err(error) => {
            let of_level = lowering.and_then(|(_, lowered)| lowered.ok()).or(natural.ok());
            steps.extend(of_level.and_then(|granted| service_step(offer, &granted.level)));
            return refused(steps, error.refused);
        }
    };
    steps.extend(service_step(offer, &granted.level));
    size(question.seconds, today, granted, steps)
}

/// The steps about what is used and asked, and the outcome.
fn size(
    seconds: Option<f64>,
    today: &Today,
    granted: Granted,
    mut steps: Vec<Step>,
) -> Explanation {
    let Granted { account, level, limits, reads_only, .. } = granted;
    if let Err(error) = admit_call(&level, &limits, today) {
        steps.push(Step::new("budget of the day", format!("level {level}"), "used up"));
        return refused(steps, error);
    }
    let Some(seconds) = seconds else {
        let outcome = Outcome::Granted { account, level, cpu_seconds: None, limits };
        return Explanation { steps, outcome };
    };
    let terms = Terms { level: &level, limits: &limits, reads_only };
    let admitted = admit_job(seconds, &terms, today);
    let place = format!("level {level}, at most {} CPU seconds{}", limits.cpu_seconds, {
        let left = today.own.left_of(limits.cpu_seconds_per_day);
        match limits.cpu_seconds_per_day {
            u64::MAX => String::new(),
            day => format!(", {left} left of {day} today"),
        }
    });
    match admitted {
        Ok(cpu_seconds) => {
            steps.push(Step::new("size", place, format!("{cpu_seconds} CPU seconds are within")));
            let cpu_seconds = Some(cpu_seconds);
            let outcome = Outcome::Granted { account, level, cpu_seconds, limits };
            Explanation { steps, outcome }
        }
        Err(error) => {
            steps.push(Step::new("size", place, format!("{seconds} CPU seconds are refused")));
            refused(steps, error)
        }
    }
}

fn refused(steps: Vec<Step>, refused: Refused) -> Explanation {
    let Refused { code, text, .. } = refused;
    Explanation { steps, outcome: Outcome::Refused { code, text } }
}

fn as_what(granted: &Granted) -> String {
    let Granted { account, level, reads_only, .. } = granted;
    let proxy = if *reads_only { ", with a limited proxy: starts nothing" } else { "" };
    format!("level {level}, account {account}{proxy}")
}

/// `None` is a caller about whom the list has not been asked.
fn access_step(offer: &Offer<'_>, ask: &Ask<'_>) -> Option<Step> {
    let about = format!("access list of {}", offer.service);
    Some(match permit(offer, ask) {
        Ok(permitted) => Step::new(about, permitted.rule(), "admits the caller"),
        Err(refused) => Step::new(about, refused.rule?, "does not admit the caller"),
    })
}

fn lowering_step(level: &LevelName, to: &LevelName, lowered: &Result<Granted, Unjudged>) -> Step {
    let rule = format!("the access list lowers him to level {to}");
    match lowered {
        Ok(granted) if granted.level == *level => {
            Step::new(rule, &granted.rule, format!("not lower than level {level}: no change"))
        }
        Ok(granted) => Step::new(rule, &granted.rule, as_what(granted)),
        Err(error) => {
            let why = error.why.clone().unwrap_or_else(|| error.refused.text.clone());
            Step::new(rule, "none", why)
        }
    }
}

/// What the service itself says of a level, if it says anything.
fn service_step(offer: &Offer<'_>, level: &LevelName) -> Option<Step> {
    let named = (!offer.levels.is_empty()).then(|| offer.levels.join(", "));
    let changed = offer.approved_for.map(|_| "its code has changed since it was approved");
    let place = match (named, changed) {
        (None, None) => return None,
        (Some(named), None) => format!("serves {named}"),
        (None, Some(changed)) => changed.to_owned(),
        (Some(named), Some(changed)) => format!("serves {named}; {changed}"),
    };
    let verdict = match serves(offer, level) {
        Ok(()) => format!("level {level} is served"),
        Err(_) => format!("level {level} is not served"),
    };
    Some(Step::new(format!("service {}", offer.service), place, verdict))
}

/// What gridmap and levels say of a caller, up to the level that takes him.
fn judging(rules: &Rules, who: &Who<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mapped = who.subject.and_then(|subject| rules.gridmap.lookup(subject));
    if let Some(subject) = who.subject {
        steps.push(match mapped {
            Some(entry) => {
                let accounts: Vec<_> = entry.accounts.iter().map(ToString::to_string).collect();
                let line = format!("line {}", entry.line);
                let verdict = format!("{subject} has {}", accounts.join(", "));
                Step::new("gridmap", line, verdict)
            }
            None => Step::new("gridmap", "no line", format!("{subject} is not in it")),
        });
    }
    for level in &rules.levels {
        let place = conditions(level);
        let rule = format!("level {}", level.name);
        if level.takes(who, mapped.is_some()) {
            steps.push(Step::new(rule, place, "takes this caller"));
            break;
        }
        steps.push(Step::new(rule, place, "does not take this caller"));
    }
    steps
}

/// Whom a level takes, in the words of the configuration.
fn conditions(level: &Level) -> String {
    let mut told = vec![format!("from = {}", level.from.word())];
    if let Some(gridmapped) = level.gridmapped {
        told.push(format!("gridmapped = {gridmapped}"));
    }
    let mut list = |key: &str, items: Vec<String>| {
        if !items.is_empty() {
            told.push(format!("{key} = {}", items.join(" or ")));
        }
    };
    list("subjects", level.subjects.iter().map(ToString::to_string).collect());
    list("issuers", level.issuers.iter().map(ToString::to_string).collect());
    list("proxies", level.proxies.iter().map(|word| proxy_word(*word).to_owned()).collect());
    list("addresses", level.addresses.iter().map(ToString::to_string).collect());
    told.join(", ")
}

fn proxy_word(meant: ProxyWord) -> &'static str {
    let known = ProxyWord::WORDS.into_iter().find(|(_, word)| *word == meant);
    known.map_or("none", |(word, _)| word)
}

impl Step {
    fn new(rule: impl Into<String>, place: impl Into<String>, verdict: impl Into<String>) -> Self {
        Self { rule: rule.into(), place: place.into(), verdict: verdict.into() }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}): {}", self.rule, self.place, self.verdict)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted { account, level, cpu_seconds, limits } => {
                write!(out, "granted: account {account}, level {level}")?;
                match cpu_seconds {
                    Some(seconds) => write!(out, ", {seconds} CPU seconds"),
                    None => write!(out, ", jobs of at most {} CPU seconds", limits.cpu_seconds),
                }
            }
            Self::Refused { code, text } => write!(out, "refused: fault {code}, {text}"),
        }
    }
}

/// One line a step, the outcome last.
impl fmt::Display for Explanation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(out, "{}. {step}", number + 1)?;
        }
        writeln!(out, "{}", self.outcome)
    }
}

#[cfg(test)]
mod tests;
