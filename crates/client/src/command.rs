//! The command line: its words, and what each verb does.

mod access;
mod admin;
mod arguments;
mod groups;
mod json;
mod oneself;
mod show;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nesssi_client::{Client, Error, SetupError, Value};

use show::Screen;

/// The exit codes, as the program's heading promises them.
const FAULT: u8 = 1;
const USAGE: u8 = 2;
const TRANSPORT: u8 = 3;

#[derive(Debug, Parser)]
#[command(name = "nesssi", version, about = "Call a NESSSI server, and look after its jobs")]
#[command(after_help = "Exit codes: 0 done, 1 fault, 2 wrong usage, 3 server not reached.")]
struct Words {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Args)]
#[command(next_display_order = 100)]
struct Options {
    /// The server
    #[arg(long, global = true, env = "NESSSI_URL")]
    #[arg(default_value = "https://localhost:8443/clarens/")]
    url: String,
    /// Certificate, PEM [default: found as grid tools do]
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Its private key, PEM [default: in the certificate's file]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// CA certificates to trust: a PEM file or a directory [default: found as grid tools do]
    #[arg(long, global = true, env = "NESSSI_CA", value_name = "PATH")]
    ca: Option<PathBuf>,
    /// Call without a certificate
    #[arg(long, global = true)]
    guest: bool,
    /// The account to be, where the gridmap gives you several [default: the first]
    #[arg(long, global = true, value_name = "NAME")]
    account: Option<String>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    /// The longest that one call may take, in seconds
    #[arg(long, global = true, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Call a method and print its result
    Call {
        /// Its dotted name, such as echo.echo
        method: String,
        /// Numbers, true and false are taken as such; s:TEXT and all else is a string
        #[arg(allow_negative_numbers = true)]
        args: Vec<String>,
        /// Take every argument as JSON
        #[arg(long)]
        json_args: bool,
    },
    /// How a session's job is doing
    Status {
        /// The session id
        session: String,
    },
    /// List a session's files
    Ls {
        /// The session id
        session: String,
        /// A directory in the sandbox
        #[arg(default_value = "")]
        path: String,
    },
    /// Print a session's file
    Cat {
        /// The session id
        session: String,
        /// The file in the sandbox
        path: String,
        /// Go on as the file grows, until the job has ended
        #[arg(long)]
        follow: bool,
    },
    /// Cancel a session's job
    Cancel {
        /// The session id
        session: String,
    },
    /// Who you are to the server: DN, level, account, limits, and what you have used
    #[command(after_help = oneself::WHOAMI_HELP)]
    Whoami,
    /// What a call of a method would get you, and which rules decide it
    #[command(after_help = oneself::MAY_HELP)]
    May {
        /// Its dotted name, such as sleepy.burn
        method: String,
        /// The CPU seconds of the job that it would start
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        seconds: Option<f64>,
    },
    /// List and change VO groups
    #[command(subcommand, after_help = groups::HELP)]
    Vo(groups::Verb),
    /// Make, list and restart services
    #[command(disable_help_flag = true)]
    Service(Administration),
    /// Replace the gatekeeper; jobs and the listening ports stay
    #[command(disable_help_flag = true)]
    Restart(Administration),
    /// Whether the server is well
    #[command(disable_help_flag = true)]
    Health(Administration),
    /// What a call would get, and by which rules: offline, by this site's files
    #[command(disable_help_flag = true)]
    Explain(Administration),
    /// Who may call which service: edits on the server, and access files
    #[command(subcommand, after_help = access::HELP)]
    Access(access::Verb),
    /// Check a gridmap
    #[command(disable_help_flag = true)]
    Gridmap(Administration),
    /// Show the whole on this machine, with a throwaway grid
    #[command(disable_help_flag = true)]
    Demo(Administration),
}

/// The rest of the words, for `nesssi-admin`.
#[derive(Debug, Args)]
struct Administration {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    #[allow(dead_code, reason = "such a command is run before the words are parsed; see `run`")]
    words: Vec<OsString>,
}

/// Does what the words say.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    if let Some(code) = admin::run(&words) {
        return code;
    }
    let Words { options, verb } = Words::parse_from(words);
    let screen = Screen::of_process(options.json);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(perform(options, verb, &screen))),
        Err(error) => Err(Failure::Output(error)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&screen),
    }
}

/// Why a verb is not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] Error),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Refused(String),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

impl From<SetupError> for Failure {
    fn from(error: SetupError) -> Self {
        Self::Client(error.into())
    }
}

impl Failure {
    /// Says what went wrong on standard error, and how to exit.
    fn report(&self, screen: &Screen) -> ExitCode {
        let (code, name) = match self {
            // Whoever read the output wanted no more of it.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return ExitCode::SUCCESS;
            }
            Self::Client(Error::Fault(_)) | Self::Refused(_) => (FAULT, ""),
            Self::Client(Error::Transport(_)) => (TRANSPORT, "nesssi: "),
            Self::Client(Error::Setup(_)) | Self::Usage(_) | Self::Output(_) => (USAGE, "nesssi: "),
        };
        let mut text = format!("{name}{self}");
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        screen.complain(&text);
        ExitCode::from(code)
    }
}

async fn perform(options: Options, verb: Verb, screen: &Screen) -> Result<(), Failure> {
    if let Verb::Call { method, args, json_args } = verb {
        // Wrong arguments are told before a credential is looked for.
        let params = arguments::parse(&args, json_args).map_err(Failure::Usage)?;
        return call(&client(options)?, &method, params, screen).await;
    }
    match verb {
        Verb::Status { session } => {
            show_call(&client(options)?, "job.status", &session, screen).await
        }
        Verb::Cancel { session } => {
            show_call(&client(options)?, "job.cancel", &session, screen).await
        }
        Verb::Ls { session, path } => {
            screen.listing(&client(options)?.list(&session, &path).await?)?;
            Ok(())
        }
        Verb::Cat { session, path, follow } => {
            cat(&client(options)?, &session, &path, follow, screen).await
        }
        Verb::Whoami => oneself::whoami(&client(options)?, screen).await,
        Verb::May { method, seconds } => {
            oneself::may(&client(options)?, &method, seconds, screen).await
        }
        Verb::Access(verb) => access::run(&client(options)?, verb, screen).await,
        Verb::Vo(verb) => groups::run(&client(options)?, verb, screen).await,
        Verb::Call { .. }
        | Verb::Service(_)
        | Verb::Restart(_)
        | Verb::Health(_)
        | Verb::Explain(_)
        | Verb::Gridmap(_)
        | Verb::Demo(_) => {
            let text = "this command comes first, and its options after it: such as nesssi service list --guest";
            Err(Failure::Usage(text.to_owned()))
        }
    }
}

fn client(options: Options) -> Result<Client, SetupError> {
    let mut builder =
        Client::builder(options.url).guest(options.guest).call_seconds_max(options.timeout);
    if let Some(certificate) = options.cert {
        builder = builder.certificate(certificate);
    }
    if let Some(key) = options.key {
        builder = builder.key(key);
    }
    if let Some(ca) = options.ca {
        builder = builder.ca(ca);
    }
    if let Some(account) = options.account {
        builder = builder.account(account);
    }
    builder.build()
}

async fn call(
    client: &Client,
    method: &str,
    params: Vec<Value>,
    screen: &Screen,
) -> Result<(), Failure> {
    let answer = Box::pin(client.ask(method, params)).await?;
    screen.value(&answer.value)?;
    if let Some(url) = answer.session_url {
        screen.complain(&format!("sandbox: {url}"));
    }
    Ok(())
}

/// Calls a method whose only parameter is the session, and shows the members of its answer.
async fn show_call(
    client: &Client,
    method: &str,
    session: &str,
    screen: &Screen,
) -> Result<(), Failure> {
    let value = Box::pin(client.call(method, vec![Value::from(session)])).await?;
    screen.members(&value)?;
    Ok(())
}

async fn cat(
    client: &Client,
    session: &str,
    path: &str,
    follow: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let mut file = Box::pin(client.open(session, path, follow)).await?;
    let mut pour = screen.pour();
    while let Some(piece) = file.chunk().await? {
        pour.write(&piece)?;
    }
    pour.finish()?;
    Ok(())
}
