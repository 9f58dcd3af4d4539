//! The command line: its words, and what each verb does.

mod access;
mod admin;
mod arguments;
mod files;
mod groups;
mod help;
mod jobs;
mod json;
mod oneself;
mod proxy;
mod show;
mod terminal;
mod times;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nesssi_client::{CallOptions, Client, Error, SetupError, State, Tag, Value};

use show::Screen;

/// The exit codes, as the program's heading promises them.
const FAULT: u8 = 1;
const USAGE: u8 = 2;
const TRANSPORT: u8 = 3;
const JOB: u8 = 4;
const NOT_ENDED: u8 = 5;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; of a job that was waited for: it ended well
  1  a fault: the server refused, or something is not there
  2  wrong usage, or nothing to call with (certificate, CA, file)
  3  the server was not reached, or did not answer
  4  the job that was waited for failed, was cancelled, went over a limit or was lost
  5  the job had not ended when the time to wait was over

With --json standard output is one JSON value and nothing else; docs/clients.md says which.";

#[derive(Debug, Parser)]
#[command(name = "nesssi", version, about = "Call a NESSSI server, and look after its jobs")]
#[command(after_help = EXIT_CODES, disable_help_subcommand = true)]
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
    /// A file with the passphrase of the private key; - is standard input [default: asked for]
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
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
        /// Carry this tag: a call with the same one and the same arguments gets the first answer again
        #[arg(long, value_name = "TAG")]
        tag: Option<String>,
        /// The call answers a session: wait until its job has ended, and exit as it did
        #[arg(long)]
        wait: bool,
    },
    /// What a method or a service is for; without a name, the methods there are
    Help {
        /// A method's or a service's dotted name
        #[arg(value_name = "METHOD|SERVICE")]
        name: Option<String>,
    },
    /// The services, their state and what they are for
    Services,
    /// Run a command on the server, where it lets callers do that
    Submit(jobs::Submit),
    /// Your jobs, the newest first
    Jobs(jobs::Filter),
    /// How a session's job is doing
    Status {
        /// The session id
        session: String,
    },
    /// Wait until a session's job has ended, and exit as it did
    Wait {
        /// The session id
        session: String,
        /// Wait no longer than this [default: as long as it takes]
        #[arg(long, value_name = "N")]
        seconds: Option<u64>,
    },
    /// Print the end of a session's file
    Tail {
        /// The session id
        session: String,
        /// The file in the sandbox
        #[arg(default_value = "stdout")]
        path: String,
        /// Go on as the file grows, until the job has ended
        #[arg(short, long)]
        follow: bool,
        /// How much of it
        #[arg(short = 'n', long, value_name = "BYTES", default_value_t = 4096)]
        bytes: u64,
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
    /// Fetch a file or a directory; what an earlier attempt has left is not fetched again
    Get {
        /// The session id
        session: String,
        /// In the sandbox [default: all that is in it]
        #[arg(default_value = "", hide_default_value = true)]
        path: String,
        /// Where to write it [default: here, under its own name]
        #[arg(short, long, value_name = "FILE|DIRECTORY")]
        output: Option<PathBuf>,
    },
    /// Send a file into a session's sandbox
    Put {
        /// The file
        file: PathBuf,
        /// SESSION, SESSION/PATH, or SESSION/DIRECTORY/
        #[arg(value_name = "SESSION[/PATH]")]
        to: String,
    },
    /// Cancel a session's job
    Cancel {
        /// The session id
        session: String,
    },
    /// Keep a session for longer
    Extend {
        /// The session id
        session: String,
        /// For so many seconds from now
        seconds: i64,
    },
    /// Remove a session with its files
    Destroy {
        /// The session id
        session: String,
    },
    /// Make, show and remove proxy certificates
    #[command(subcommand, after_help = proxy::HELP)]
    Proxy(proxy::Verb),
    /// Print a shell's completions
    Completions {
        /// Such as bash, zsh or fish
        shell: clap_complete::Shell,
    },
    /// Write the man pages
    Man {
        /// Into this directory
        directory: PathBuf,
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
    /// Make, check, list and restart services, and read their logs
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
    /// Check the audit log
    #[command(disable_help_flag = true)]
    Audit(Administration),
    /// Copy the journal, while the server runs or not
    #[command(disable_help_flag = true)]
    Backup(Administration),
    /// Put a backup in the journal's place; the server must be stopped
    #[command(disable_help_flag = true)]
    Restore(Administration),
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
    #[error("{0}")]
    Job(String),
    #[error("the job has not ended: it is {0}")]
    NotEnded(State),
    /// As [`Self::Refused`], where nothing is to be said.
    #[error("refused")]
    Silent,
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
            Self::Silent => return ExitCode::from(FAULT),
            Self::Job(_) => (JOB, ""),
            Self::NotEnded(_) => (NOT_ENDED, ""),
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
    match verb {
        Verb::Completions { shell } => return help::completions(shell),
        Verb::Man { directory } => return help::man(&directory),
        Verb::Proxy(verb) => return proxy::run(options, verb, screen),
        Verb::Call { method, args, json_args, tag, wait } => {
            // Wrong arguments are told before a credential is looked for.
            let params = arguments::parse(&args, json_args).map_err(Failure::Usage)?;
            let tag = tag.as_deref().map(Tag::parse).transpose()?;
            return call(&client(options)?, &method, params, tag, wait, screen).await;
        }
        Verb::Service(_)
        | Verb::Restart(_)
        | Verb::Health(_)
        | Verb::Explain(_)
        | Verb::Gridmap(_)
        | Verb::Audit(_)
        | Verb::Backup(_)
        | Verb::Restore(_)
        | Verb::Demo(_) => {
            let text = "this command comes first, and its options after it: such as nesssi service list --guest";
            return Err(Failure::Usage(text.to_owned()));
        }
        _ => {}
    }
    Box::pin(with_server(&client(options)?, verb, screen)).await
}

async fn with_server(client: &Client, verb: Verb, screen: &Screen) -> Result<(), Failure> {
    match verb {
        Verb::Help { name } => help::on(client, name.as_deref(), screen).await,
        Verb::Services => help::services(client, screen).await,
        Verb::Submit(asked) => jobs::submit(client, asked, screen).await,
        Verb::Jobs(filter) => jobs::list(client, filter, screen).await,
        Verb::Status { session } => {
            Ok(screen.members(&client.session(&session).status_value().await?)?)
        }
        Verb::Wait { session, seconds } => {
            jobs::finish(&client.session(&session), seconds, screen).await
        }
        Verb::Tail { session, path, follow, bytes } => {
            files::tail(&client.session(&session), &path, Some(bytes), follow, screen).await
        }
        Verb::Ls { session, path } => {
            Ok(screen.listing(&client.session(&session).files(&path).await?)?)
        }
        Verb::Cat { session, path, follow: true } => {
            files::tail(&client.session(&session), &path, None, true, screen).await
        }
        Verb::Cat { session, path, follow: false } => {
            files::cat(&client.session(&session), &path, screen).await
        }
        Verb::Get { session, path, output } => {
            files::get(client, &session, &path, output, screen).await
        }
        Verb::Put { file, to } => files::put(client, &file, &to, screen).await,
        Verb::Cancel { session } => {
            let state = client.session(&session).cancel().await?;
            Ok(screen.value(&Value::String(state))?)
        }
        Verb::Extend { session, seconds } => {
            jobs::extend(&client.session(&session), seconds, screen).await
        }
        Verb::Destroy { session } => {
            client.session(&session).destroy().await?;
            Ok(screen.quietly(&Value::Bool(true))?)
        }
        Verb::Whoami => oneself::whoami(client, screen).await,
        Verb::May { method, seconds } => oneself::may(client, &method, seconds, screen).await,
        Verb::Access(verb) => access::run(client, verb, screen).await,
        Verb::Vo(verb) => groups::run(client, verb, screen).await,
        Verb::Call { .. }
        | Verb::Completions { .. }
        | Verb::Man { .. }
        | Verb::Proxy(_)
        | Verb::Service(_)
        | Verb::Restart(_)
        | Verb::Health(_)
        | Verb::Explain(_)
        | Verb::Gridmap(_)
        | Verb::Audit(_)
        | Verb::Backup(_)
        | Verb::Restore(_)
        | Verb::Demo(_) => Ok(()),
    }
}

fn client(options: Options) -> Result<Client, SetupError> {
    let mut builder =
        Client::builder(options.url).guest(options.guest).call_seconds_max(options.timeout);
    builder = builder.ask_passphrase(terminal::passphrase(options.passphrase_file));
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
    tag: Option<Tag>,
    wait: bool,
    screen: &Screen,
) -> Result<(), Failure> {
    let options = CallOptions { tag, ..CallOptions::default() };
    let answer = Box::pin(client.ask_with(method, params, options)).await?;
    if wait {
        return jobs::wait_for_answer(client, &answer.value, screen).await;
    }
    screen.value(&answer.value)?;
    if let Some(url) = answer.session_url {
        screen.complain(&format!("sandbox: {url}"));
    }
    Ok(())
}
