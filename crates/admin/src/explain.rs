//! `nesssi explain`: what a call would get, by the site's files, without a server.
//!
//! It asks the very functions that the server decides by (`policy::explain`), with the files as they lie
//! there now: a server takes them up within seconds, and a service's manifest when that is restarted.

mod caller;
mod pool;
mod service;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use nesssi_policy::{
    AccessEdits, AccountName, Ask, Explanation, LevelName, Outcome, PoolName, Question, Refused,
    Step, SubjectDn, Today, VoTree, Who, denied_by, explain, explain_caller,
};

use crate::cli::{Failure, say, tell};
use crate::clock;
use crate::site::Site;
use caller::Caller;
use service::Found;

const GRANTED: u8 = 0;
const REFUSED: u8 = 1;
const USAGE: u8 = 2;
const FILES: u8 = 3;

const AFTER_HELP: &str = "\
The answer is the list of rules that were asked, in their order, each with the line of its file, and
at the end what comes of it, as the caller would read it.

It goes by the files as they are now, and needs no server. What the files do not say is not in it:
what the caller has used up of his day, whether the service has such a method, whether the account is
fit (nesssid --check says that).

Examples:
  nesssi explain --dn '/O=Grid/OU=People/CN=Alice' --service sleepy --method burn --seconds 7200
  nesssi explain --cert /tmp/x509up_u1000 --service sleepy
  nesssi explain --guest --service sleepy --address 192.0.2.7

Exit codes: 0 granted, 1 refused, 2 wrong usage, 3 mistakes in the files (each told with its line).";

/// Who calls what.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(group = clap::ArgGroup::new("who").args(["dn", "cert", "guest"]).required(true))]
pub(crate) struct Words {
    /// The caller's subject DN: /O=Grid/CN=Alice, or as RFC 4514 writes it, CN=Alice,O=Grid
    #[arg(long, value_name = "DN")]
    dn: Option<String>,
    /// His certificate, or proxy with its chain (PEM): judged against the trust directory first
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// He has no certificate
    #[arg(long)]
    guest: bool,
    /// The CA that issued his certificate
    #[arg(long, value_name = "DN", conflicts_with_all = ["cert", "guest"])]
    issuer: Option<String>,
    /// The proxy certificate that he calls with
    #[arg(long, value_parser = caller::PROXIES, conflicts_with_all = ["cert", "guest"])]
    proxy: Option<String>,
    /// Where he calls from
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    address: IpAddr,
    /// The account that he asks for, in place of his first
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The service that he calls, by its dotted name; without it, what he is taken for
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Its method; without it, one that has no keys of its own in the access file
    #[arg(long, value_name = "NAME", requires = "service")]
    method: Option<String>,
    /// The CPU seconds of the job that he wants started
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seconds: Option<f64>,
    /// The configuration of the site
    #[arg(long, env = "NESSSI_CONFIG", value_name = "FILE")]
    #[arg(default_value = "/etc/nesssi/nesssi.toml")]
    config: PathBuf,
}

/// Why there is no explanation.
#[derive(Debug)]
enum Stop {
    /// Words that mean nothing.
    Usage(String),
    /// Mistakes in files.
    Files(Vec<String>),
    /// The call would be refused before any rule is asked.
    Refused(String),
}

/// Explains, and exits as its help says.
///
/// # Errors
/// None of its own: all it finds is told here.
pub(crate) fn run(words: &Words) -> Result<ExitCode, Failure> {
    let code = match explained(words) {
        Ok(granted) => granted,
        Err(Stop::Usage(text)) => {
            tell(&format!("nesssi explain: {text}"));
            USAGE
        }
        Err(Stop::Files(mistakes)) => {
            mistakes.iter().for_each(|mistake| tell(mistake));
            FILES
        }
        Err(Stop::Refused(text)) => {
            say(&format!("refused: {text}"));
            REFUSED
        }
    };
    Ok(ExitCode::from(code))
}

/// The exit code.
fn explained(words: &Words) -> Result<u8, Stop> {
    let account = words.account.as_deref().map(AccountName::parse).transpose();
    let account = account.map_err(|error| Stop::Usage(format!("--account: {error}")))?;
    let site = Site::read(&words.config).map_err(Stop::Files)?;
    let now_unix = clock::now_unix();
    let caller = Caller::of(words, &site, now_unix)?;
    let found = words.service.as_deref().map(|name| service::find(&site, name)).transpose()?;
    let found = found.flatten();
    let case = Case { words, site: &site, caller: &caller, found: found.as_ref() };
    case.head();
    let who = Who {
        subject: caller.subject.as_ref(),
        issuer: caller.issuer.as_ref(),
        proxy: caller.proxy,
        address: words.address,
        account: account.as_ref(),
        lowered: None,
    };
    let today = Today { now_unix, ..Today::default() };
    let explanation = case.ask(who, today);
    for (number, step) in explanation.steps.iter().enumerate() {
        say(&format!("{}. {step}", number + 1));
    }
    case.end(explanation.outcome)
}

/// One case: who calls what, and the files that decide.
struct Case<'a> {
    words: &'a Words,
    site: &'a Site,
    caller: &'a Caller,
    found: Option<&'a Found>,
}

impl Case<'_> {
    /// Says what is asked, and which files answer.
    fn head(&self) {
        let line = |what: &str, text: &str| say(&format!("{what:<14}{text}"));
        self.caller.describe(line);
        line("address", &self.words.address.to_string());
        line("configuration", &self.site.config_path.display().to_string());
        line("gridmap", &self.site.config.policy.gridmap.display().to_string());
        for (name, path) in self.found.map(Found::access_files).unwrap_or_default() {
            line("access list", &format!("{} ({name})", path.display()));
        }
        match (&self.site.groups, self.found.is_some_and(Found::names_groups)) {
            (Ok(tree), true) => line("VO groups", &format!("{}", tree.groups().count())),
            (Err(why), true) => {
                tell(&format!(
                    "warning: VO groups are not known, he is taken to be in none: {why}"
                ));
            }
            (_, false) => {}
        }
        match (&self.site.edits, &self.words.service) {
            (Ok(edits), Some(service)) => {
                for edit in edits.of_service(service) {
                    line("access edit", &edit.to_string());
                }
            }
            (Err(why), Some(_)) => {
                tell(&format!(
                    "warning: access edits of administrators are not known, it is explained as if \
                     there were none: {why}"
                ));
            }
            (_, None) => {}
        }
        let by_issuer = self.site.rules.levels.iter().any(|level| !level.issuers.is_empty());
        if by_issuer && self.caller.subject.is_some() && self.caller.issuer.is_none() {
            tell("warning: levels go by the issuer, and none is given (--issuer, --cert)");
        }
        if self.words.service.is_some() && self.found.is_none() {
            line("service", "the server's own: no access list is asked");
        }
        say("");
    }

    fn ask(&self, who: Who<'_>, today: Today) -> Explanation {
        let (nobody, none) = (VoTree::default(), AccessEdits::default());
        let groups = self.site.groups.as_ref().unwrap_or(&nobody);
        let edits = self.site.edits.as_ref().unwrap_or(&none);
        let Some(found) = self.found else {
            return self.denied_own(&who, groups, edits, &today).unwrap_or_else(|| {
                explain_caller(&self.site.rules, &who, self.words.seconds, &today)
            });
        };
        let access = found.access();
        let question = Question {
            who,
            offer: found.offer(&access, edits),
            method: self.words.method.as_deref().unwrap_or_default(),
            seconds: self.words.seconds,
            groups,
            today,
        };
        explain(&self.site.rules, &question)
    }

    /// The explanation of a service of the server's own that an edit denies him.
    fn denied_own(
        &self,
        who: &Who<'_>,
        groups: &VoTree,
        edits: &AccessEdits,
        today: &Today,
    ) -> Option<Explanation> {
        let ask = Ask {
            method: self.words.method.as_deref().unwrap_or_default(),
            subject: who.subject,
            level: None,
            groups,
            now_unix: today.now_unix,
        };
        let edit = edits.denial(self.words.service.as_deref()?, &ask)?;
        let step = Step {
            rule: "access edits".to_owned(),
            place: edit.to_string(),
            verdict: "does not admit the caller".to_owned(),
        };
        let Refused { code, text, .. } = denied_by(edit, &ask);
        Some(Explanation { steps: vec![step], outcome: Outcome::Refused { code, text } })
    }

    /// Says what comes of it; a pool is looked up in the gridmapdir.
    fn end(&self, mut outcome: Outcome) -> Result<u8, Stop> {
        let Outcome::Granted { account, level, limits, .. } = &mut outcome else {
            say(&outcome.to_string());
            return Ok(REFUSED);
        };
        if let (Some(pool), Some(subject)) = (pool_of(account), &self.caller.subject) {
            let directory = &self.site.config.policy.gridmapdir;
            let shown = directory.display();
            let lease = pool::look(directory, &pool, subject)
                .map_err(|why| Stop::Files(vec![format!("gridmapdir {shown}: {why}")]))?;
            say(&format!("   pool {pool} in {shown}: {lease}"));
            let Some(leased) = lease.account() else {
                say("refused: fault 403, no level takes this certificate");
                return Ok(REFUSED);
            };
            leased.as_str().clone_into(account);
        }
        let day = limits.cpu_seconds_per_day;
        let remark = (day != u64::MAX).then(|| per_day(level, day));
        say(&outcome.to_string());
        remark.iter().for_each(|remark| say(remark));
        Ok(GRANTED)
    }
}

fn per_day(level: &LevelName, seconds: u64) -> String {
    format!(
        "level {level} allows {seconds} CPU seconds a day: what is used of it is not known here"
    )
}

/// The pool that an outcome names in place of an account.
fn pool_of(account: &str) -> Option<PoolName> {
    account.strip_prefix('.').and_then(|prefix| PoolName::parse(prefix).ok())
}

/// A DN that was typed, in either form.
fn dn(option: &str, text: &str) -> Result<SubjectDn, Stop> {
    SubjectDn::parse_any(text).map_err(|error| Stop::Usage(format!("{option} {text:?}: {error}")))
}

#[cfg(test)]
mod tests;
