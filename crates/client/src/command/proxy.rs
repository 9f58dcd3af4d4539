//! `proxy`: a short-lived certificate of one's own, in the place of one's key.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};
use nesssi_client::{
    Credential, CredentialSearch, ProxyInfo, ProxyKey, ProxyOptions, SetupError, Value,
    destroy_proxy,
};

use super::show::Screen;
use super::{Failure, Options, terminal};

pub(super) const HELP: &str = "\
A proxy is a certificate with a key of its own that stands for you for some hours. Its key has no passphrase:
its file is readable by you alone, and lies where grid programs look for it (X509_USER_PROXY, else
/tmp/x509up_u<uid>).";

pub(super) const INFO_HELP: &str = "\
Exit codes: 0 there is a proxy and it is valid (for as long as --valid says), 1 there is none or it has
expired, 2 wrong usage.";

pub(super) const DESTROY_HELP: &str = "\
Its bytes are overwritten before it is removed. On file systems that write changes elsewhere (btrfs, ZFS,
flash) the old ones may still be there; what protects them is that the proxy expires. Destroying an absent
proxy is exit code 1.";

/// What is done with proxies.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a proxy
    Init {
        /// How long it is valid
        #[arg(long, value_name = "N", default_value_t = 12)]
        hours: u64,
        /// A limited one: servers start nothing for it
        #[arg(long)]
        limited: bool,
        /// Its key pair
        #[arg(long, value_enum, default_value_t = Bits::Rsa2048)]
        bits: Bits,
        /// How many proxies may be made below it [default: any number]
        #[arg(long, value_name = "N")]
        path_length: Option<u32>,
        /// The certificate and key in PKCS#12, as browsers export them
        #[arg(long, value_name = "FILE", conflicts_with_all = ["cert", "key"])]
        pkcs12: Option<PathBuf>,
        /// Where to write it [default: where grid programs look]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the proxy, and whether it is still valid
    #[command(after_help = INFO_HELP)]
    Info {
        /// The proxy [default: where grid programs look]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print nothing; the exit code tells
        #[arg(long)]
        exists: bool,
        /// It must be valid for so many hours more
        #[arg(long, value_name = "HOURS", default_value_t = 0)]
        valid: u32,
    },
    /// Remove the proxy
    #[command(after_help = DESTROY_HELP)]
    Destroy {
        /// The proxy [default: where grid programs look]
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// The key pair of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Bits {
    /// RSA, 2048 bits
    #[value(name = "2048")]
    Rsa2048,
    /// RSA, 3072 bits
    #[value(name = "3072")]
    Rsa3072,
    /// RSA, 4096 bits
    #[value(name = "4096")]
    Rsa4096,
    /// The elliptic curve P-256
    #[value(name = "p256")]
    P256,
}

pub(super) fn run(options: Options, verb: Verb, screen: &Screen) -> Result<(), Failure> {
    match verb {
        Verb::Init { hours, limited, bits, path_length, pkcs12, out } => {
            let key = match bits {
                Bits::Rsa2048 => ProxyKey::Rsa2048,
                Bits::Rsa3072 => ProxyKey::Rsa3072,
                Bits::Rsa4096 => ProxyKey::Rsa4096,
                Bits::P256 => ProxyKey::P256,
            };
            let seconds = hours.saturating_mul(3600);
            let wanted = ProxyOptions { seconds, limited, key, path_length };
            let credential = credential(options, pkcs12)?;
            let place = out.unwrap_or_else(place);
            let proxy = credential.make_proxy(&wanted)?;
            proxy.write(&place)?;
            show(&place, &proxy.info, screen)
        }
        Verb::Info { file, exists, valid } => {
            let place = file.unwrap_or_else(place);
            let info = ProxyInfo::read(&place).map_err(|error| missing(&place, error, exists))?;
            if !exists {
                show(&place, &info, screen)?;
            }
            let wanted = i64::from(valid) * 3600;
            match (info.is_proxy, info.seconds_left()) {
                (true, left) if left > 0 && left >= wanted => Ok(()),
                _ if exists => Err(Failure::Silent),
                (false, _) => Err(Failure::Refused("it is no proxy".to_owned())),
                (true, 1..) => Err(Failure::Refused("it is not valid for that long".to_owned())),
                (true, _) => Err(Failure::Refused("it has expired".to_owned())),
            }
        }
        Verb::Destroy { file } => {
            let place = file.unwrap_or_else(place);
            let wrong = |error| Failure::Refused(format!("{}: {error}", place.display()));
            destroy_proxy(&place).map_err(wrong)
        }
    }
}

/// What a proxy is made of: never a proxy that happens to be there, unless it is named.
fn credential(options: Options, pkcs12: Option<PathBuf>) -> Result<Credential, SetupError> {
    let ask = terminal::passphrase(options.passphrase_file);
    let mut search = CredentialSearch::of_process();
    (search.certificate, search.key) = (pkcs12.or(options.cert), options.key);
    (search.user_proxy, search.proxies) = (None, PathBuf::from("/nonexistent"));
    search.find_with(&ask)
}

/// Where grid programs look for it.
fn place() -> PathBuf {
    let named = std::env::var_os("X509_USER_PROXY").filter(|value| !value.is_empty());
    named.map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(format!("/tmp/x509up_u{}", rustix::process::getuid().as_raw()))
    })
}

fn missing(place: &Path, error: SetupError, quiet: bool) -> Failure {
    match error {
        _ if quiet => Failure::Silent,
        SetupError::File { source, .. } => {
            Failure::Refused(format!("no proxy: {}: {source}", place.display()))
        }
        other => Failure::Refused(format!("no proxy: {other}")),
    }
}

fn show(place: &Path, info: &ProxyInfo, screen: &Screen) -> Result<(), Failure> {
    let left = info.seconds_left().max(0);
    let facts = [
        ("subject", Value::from(info.subject.as_str())),
        ("issuer", Value::from(info.issuer.as_str())),
        ("identity", Value::from(info.identity.as_str())),
        ("type", Value::from(info.kind.as_str())),
        ("strength", Value::from(info.strength.as_str())),
        ("path", Value::String(place.display().to_string())),
        ("timeleft", Value::String(clock(left))),
    ];
    let rows: Vec<_> =
        facts.iter().map(|(name, value)| ((*name).to_owned(), super::show::plain(value))).collect();
    let mut all = Value::record(facts);
    if let Value::Struct(members) = &mut all {
        members.insert("timeleft".to_owned(), Value::Int(left));
        members.insert("not_after".to_owned(), Value::Int(info.not_after));
        members.insert("proxy".to_owned(), Value::Bool(info.is_proxy));
    }
    Ok(screen.table(&rows, &all)?)
}

/// Hours, minutes and seconds, as grid programs print them.
fn clock(seconds: i64) -> String {
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
