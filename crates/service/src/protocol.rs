//! The service-worker protocol: JSON-RPC 2.0, one UTF-8 object a line, on descriptor 3.
//!
//! Both sides may call. The container calls a method with [`ToWorker::Call`]; while the worker
//! serves it, it may ask for things with [`Ask`]s that carry the call's token. Numbers name the
//! container's calls, strings the worker's.

use std::borrow::Cow;
use std::fmt;

use nesssi_rpc::Value;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::Token;
use crate::json::{self, Json, JsonError};
use crate::method::clean;

/// Longest line either side may write, its newline not counted.
pub const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest text of a fault that is passed on to a caller, in bytes.
pub const FAULT_TEXT_BYTES_MAX: usize = 8 * 1024;

/// Most words of a command, and most bytes of one: Linux's own limit of an argument.
const ARGV_WORDS_MAX: usize = 1024;
const ARGUMENT_BYTES_MAX: usize = 128 * 1024;

/// Error code of a worker whose method raised what it should not have.
const EXCEPTION_CODE: i64 = -32000;

/// A line that keeps to no part of the protocol, or a value that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The line is no message at all.
    #[error("no message of the service-worker protocol: {0}")]
    Malformed(String),
    /// A value cannot be written as JSON, or is too long for a line.
    #[error("{0}")]
    Value(#[from] JsonError),
    /// The message is longer than [`LINE_BYTES_MAX`].
    #[error("a message of more than {LINE_BYTES_MAX} bytes")]
    TooLong,
}

/// What a service sees of its caller as `req`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerFacts<'a> {
    /// The caller's subject in one line, empty for anonymous.
    #[serde(borrow)]
    pub clarens_dn: Cow<'a, str>,
    /// The account that the worker is.
    #[serde(borrow)]
    pub account: Cow<'a, str>,
    /// The level's name.
    #[serde(borrow)]
    pub level: Cow<'a, str>,
    /// CPU seconds that one job may ask for.
    pub cpu_limit: u64,
    /// The dialect the caller spoke.
    #[serde(borrow)]
    pub protocol: Cow<'a, str>,
    /// By which the logs know the call.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
}

/// What the container says to a worker.
#[derive(Debug, PartialEq)]
pub enum ToWorker<'a> {
    /// Run a method. Answered with the same id.
    Call {
        /// Counted up by the container.
        id: u64,
        /// By which the worker's requests are judged.
        token: Token,
        /// The method's full name.
        method: &'a str,
        /// Its name in the service.
        name: &'a str,
        /// The parameters.
        args: &'a [Value],
        /// Who calls.
        caller: &'a CallerFacts<'a>,
    },
    /// The answer to an [`Ask`].
    Answer {
        /// The ask's id.
        id: &'a str,
        /// The value, or the fault to be raised.
        outcome: Result<&'a Value, (i64, &'a str)>,
    },
    /// Finish and exit.
    Shutdown,
}

impl ToWorker<'_> {
    /// Appends the message as a line, its newline included.
    ///
    /// # Errors
    /// [`ProtocolError::Value`] and [`ProtocolError::TooLong`]; `out` is then as it was.
    pub fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let start = out.len();
        let written = self.write(out);
        if written.is_ok() && out.len() - start <= LINE_BYTES_MAX {
            out.push(b'\n');
            return Ok(());
        }
        out.truncate(start);
        // A Vec takes all that is written, so only a value's depth can fail.
        written.map_err(|_| ProtocolError::Value(JsonError::Depth))?;
        Err(ProtocolError::TooLong)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        match self {
            Self::Call { id, token, method, name, args, caller } => {
                let args = Args(args);
                let token = token.reveal();
                let params = CallParams { token: &token, method, name, args, req: caller };
                let id = Some(*id);
                serde_json::to_writer(out, &Outgoing { jsonrpc: "2.0", id, method: "call", params })
            }
            Self::Answer { id, outcome: Ok(value) } => serde_json::to_writer(
                out,
                &Success { jsonrpc: "2.0", id: *id, result: Json(value) },
            ),
            Self::Answer { id, outcome: Err((code, message)) } => serde_json::to_writer(
                out,
                &Failure {
                    jsonrpc: "2.0",
                    id: *id,
                    error: WrittenError { code: *code, message, data: None },
                },
            ),
            Self::Shutdown => serde_json::to_writer(
                out,
                &Notification { jsonrpc: "2.0", method: "shutdown", params: None },
            ),
        }
    }
}

#[derive(Serialize)]
struct Outgoing<P> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'static str,
    params: P,
}

#[derive(Serialize)]
struct CallParams<'a> {
    token: &'a str,
    method: &'a str,
    name: &'a str,
    args: Args<'a>,
    req: &'a CallerFacts<'a>,
}

struct Args<'a>(&'a [Value]);

impl Serialize for Args<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(Json))
    }
}

#[derive(Serialize)]
struct Success<I, V> {
    jsonrpc: &'static str,
    id: I,
    result: V,
}

#[derive(Serialize)]
struct Failure<'a, I> {
    jsonrpc: &'static str,
    id: I,
    error: WrittenError<'a>,
}

#[derive(Serialize)]
struct WrittenError<'a> {
    code: i64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<WrittenData<'a>>,
}

#[derive(Serialize)]
struct WrittenData<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    incident: Option<&'a str>,
}

#[derive(Serialize)]
struct Notification<'a> {
    jsonrpc: &'static str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<serde_json::Value>,
}

/// What a worker says to the container.
#[derive(Debug, Clone, PartialEq)]
pub enum FromWorker {
    /// The service is loaded and answers these methods.
    Ready {
        /// Their names in the service.
        methods: Vec<String>,
    },
    /// The service could not be loaded; the worker exits.
    Broken {
        /// Why, for the log.
        error: String,
    },
    /// The end of a call.
    Answer {
        /// The call.
        id: u64,
        /// What it came to.
        outcome: Outcome,
    },
    /// The worker wants something while it serves a call.
    Ask {
        /// To be repeated in the answer.
        id: String,
        /// What, or why it is no ask.
        ask: Result<Ask, AskError>,
    },
}

/// What a call came to, as the worker says.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A value.
    Value(Value),
    /// The method's own fault.
    Fault {
        /// Its code.
        code: i64,
        /// Its text, cut to [`FAULT_TEXT_BYTES_MAX`].
        text: String,
    },
    /// The method raised; the traceback is in the service's log.
    Exception {
        /// 8 hexadecimal digits, or empty where the worker gave none.
        incident: String,
    },
    /// The method returned what cannot be sent.
    BadValue(JsonError),
}

/// A worker's request that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody answers it.
    #[error("unknown request")]
    Unknown,
    /// Its parameters are wrong.
    #[error("bad parameters: {0}")]
    Params(String),
}

/// What a worker may ask for while it serves a call, and by whose right.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The token of the call; nothing else says who asks.
    pub token: Token,
    /// What.
    pub request: Request,
}

/// The requests there are.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Which account would run a job of so many CPU seconds. Answered with its name.
    SystemUser {
        /// CPU seconds.
        seconds: f64,
    },
    /// A session with its sandbox, for a job to come. Answered `[session, path]`.
    SessionInfo {
        /// The method that it is for.
        method: String,
        /// CPU seconds.
        seconds: f64,
    },
    /// The path of a session's sandbox.
    Sandbox {
        /// The session.
        session: String,
    },
    /// A session's state as text.
    Status {
        /// The session.
        session: String,
    },
    /// A session's state as a struct.
    StatusValue {
        /// The session.
        session: String,
    },
    /// The container's own `monitor`: the text of the status.
    Monitor {
        /// The session.
        session: String,
    },
    /// The address of a session's sandbox.
    Url {
        /// The session.
        session: String,
    },
    /// Start a job. Answered with its session.
    RunJob {
        /// The method that it is for.
        method: String,
        /// CPU seconds.
        seconds: f64,
        /// A prepared session, or none.
        session: Option<String>,
        /// What to run.
        command: Command,
        /// The batch system by name, or the default.
        batch: Option<String>,
    },
}

/// What a job is to run, as a service said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Program and arguments.
    Argv(Vec<Vec<u8>>),
    /// A string for a shell; refused unless the manifest allows it.
    Shell(String),
}

impl FromWorker {
    /// Reads one line.
    ///
    /// # Errors
    /// [`ProtocolError::Malformed`]: the worker does not keep to the protocol.
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(malformed)?;
        match (line.id, line.method.as_deref()) {
            (Some(Id::Text(id)), Some(method)) => {
                let ask = parse_ask(method, line.params);
                Ok(Self::Ask { id: id.into_owned(), ask })
            }
            (Some(Id::Number(id)), None) => {
                Ok(Self::Answer { id, outcome: parse_outcome(line.result, line.error)? })
            }
            (None, Some("ready")) => {
                let Ready { methods } = params(line.params)?;
                Ok(Self::Ready { methods })
            }
            (None, Some("broken")) => {
                let Broken { error } = params(line.params)?;
                Ok(Self::Broken { error })
            }
            _ => Err(ProtocolError::Malformed("neither request, answer nor notice".into())),
        }
    }

    /// Appends the message as a line: what a worker written with this room says.
    ///
    /// # Errors
    /// [`ProtocolError`] where a value cannot be written, or for an ask or outcome that is an error
    /// of reading.
    pub fn write_line(&self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let start = out.len();
        self.write(out)?;
        if out.len() - start > LINE_BYTES_MAX {
            out.truncate(start);
            return Err(ProtocolError::TooLong);
        }
        out.push(b'\n');
        Ok(())
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
        let jsonrpc = "2.0";
        let notice = |method, params| Notification { jsonrpc, method, params: Some(params) };
        let written = match self {
            Self::Ready { methods } => serde_json::to_writer(
                out,
                &notice("ready", serde_json::json!({"methods": methods})),
            ),
            Self::Broken { error } => {
                serde_json::to_writer(out, &notice("broken", serde_json::json!({"error": error})))
            }
            Self::Answer { id, outcome } => return write_outcome(*id, outcome, out),
            Self::Ask { id, ask: Ok(ask) } => {
                let (method, params) = ask.written()?;
                let line = serde_json::json!({
                    "jsonrpc": jsonrpc, "id": id, "method": method, "params": params
                });
                serde_json::to_writer(out, &line)
            }
            Self::Ask { ask: Err(error), .. } => {
                return Err(ProtocolError::Malformed(error.to_string()));
            }
        };
        written.map_err(malformed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err, which gives the error away")]
fn malformed(error: serde_json::Error) -> ProtocolError {
    ProtocolError::Malformed(error.to_string())
}

fn write_outcome(id: u64, outcome: &Outcome, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let error = match outcome {
        Outcome::Value(value) => {
            let value = json::to_string(value)?;
            let result = RawValue::from_string(value).map_err(malformed)?;
            return serde_json::to_writer(out, &Success { jsonrpc: "2.0", id, result })
                .map_err(malformed);
        }
        Outcome::Fault { code, text } => WrittenError {
            code: *code,
            message: text,
            data: Some(WrittenData { kind: "fault", incident: None }),
        },
        Outcome::Exception { incident } => WrittenError {
            code: EXCEPTION_CODE,
            message: "internal error",
            data: Some(WrittenData { kind: "exception", incident: Some(incident) }),
        },
        Outcome::BadValue(error) => return Err(error.clone().into()),
    };
    serde_json::to_writer(out, &Failure { jsonrpc: "2.0", id, error }).map_err(malformed)
}

/// A line before it is known what it is. Values stay text, so that one that is nested too deep or
/// holds what cannot be sent spoils its call alone.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, default)]
    id: Option<Id<'a>>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<ReadError<'a>>,
}

/// A member that is there, be it null.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// The container's ids are numbers, a worker's are texts.
enum Id<'a> {
    Number(u64),
    Text(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Id<'de>;
            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a whole number or a text as id")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Id<'de>, E> {
                Ok(Id::Number(number))
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Id<'de>, E> {
                Ok(Id::Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Id<'de>, E> {
                Ok(Id::Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct ReadError<'a> {
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    data: Option<ReadData<'a>>,
}

#[derive(Deserialize)]
struct ReadData<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    incident: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Ready {
    methods: Vec<String>,
}

#[derive(Deserialize)]
struct Broken {
    error: String,
}

fn params<T: for<'de> Deserialize<'de>>(raw: Option<&RawValue>) -> Result<T, ProtocolError> {
    serde_json::from_str(raw.map_or("{}", RawValue::get)).map_err(malformed)
}

fn parse_outcome(
    result: Option<&RawValue>,
    error: Option<ReadError<'_>>,
) -> Result<Outcome, ProtocolError> {
    match (result, error) {
        (Some(result), None) => {
            Ok(json::from_str(result.get()).map_or_else(Outcome::BadValue, Outcome::Value))
        }
        (None, Some(error)) => Ok(outcome_of(&error)),
        // JSON-RPC 1 habits: a null result beside an error.
        (Some(result), Some(error)) if result.get() == "null" => Ok(outcome_of(&error)),
        _ => Err(ProtocolError::Malformed("an answer has a result or an error".into())),
    }
}

fn outcome_of(error: &ReadError<'_>) -> Outcome {
    let is_exception = error.data.as_ref().map_or(error.code == EXCEPTION_CODE, |data| {
        data.kind == "exception" || (data.kind != "fault" && error.code == EXCEPTION_CODE)
    });
    if !is_exception {
        let text = clean(error.message.to_string(), FAULT_TEXT_BYTES_MAX);
        return Outcome::Fault { code: error.code, text };
    }
    let said = error.data.as_ref().map_or("", |data| data.incident.as_ref());
    let is_incident = said.len() == 8 && said.bytes().all(|b| b.is_ascii_hexdigit());
    Outcome::Exception { incident: if is_incident { said.to_owned() } else { String::new() } }
}

#[derive(Deserialize)]
struct AskParams<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    seconds: Option<f64>,
    session: Option<String>,
    method: Option<String>,
    #[serde(borrow, default)]
    command: Option<&'a RawValue>,
    batch: Option<String>,
}

impl AskParams<'_> {
    fn seconds(&self) -> Result<f64, AskError> {
        self.seconds.ok_or_else(|| missing("seconds"))
    }
    fn session(&self) -> Result<String, AskError> {
        self.session.clone().ok_or_else(|| missing("session"))
    }
    fn method(&self) -> Result<String, AskError> {
        self.method.clone().ok_or_else(|| missing("method"))
    }
    fn command(&self) -> Result<Command, AskError> {
        let raw = self.command.ok_or_else(|| missing("command"))?;
        let value = json::from_str(raw.get()).map_err(|e| AskError::Params(e.to_string()))?;
        parse_command(value)
    }
}

fn missing(member: &str) -> AskError {
    AskError::Params(format!("'{member}' is missing"))
}

fn parse_ask(method: &str, raw: Option<&RawValue>) -> Result<Ask, AskError> {
    const KNOWN: [&str; 8] = [
        "system_user",
        "session_info",
        "sandbox",
        "status",
        "status_value",
        "monitor",
        "url",
        "run_job",
    ];
    if !KNOWN.contains(&method) {
        return Err(AskError::Unknown);
    }
    let params: AskParams<'_> = serde_json::from_str(raw.map_or("{}", RawValue::get))
        .map_err(|error| AskError::Params(error.to_string()))?;
    let token = Token::parse(&params.token).map_err(|e| AskError::Params(e.to_string()))?;
    let request = match method {
        "system_user" => Request::SystemUser { seconds: params.seconds()? },
        "session_info" => {
            Request::SessionInfo { method: params.method()?, seconds: params.seconds()? }
        }
        "sandbox" => Request::Sandbox { session: params.session()? },
        "status" => Request::Status { session: params.session()? },
        "status_value" => Request::StatusValue { session: params.session()? },
        "monitor" => Request::Monitor { session: params.session()? },
        "url" => Request::Url { session: params.session()? },
        _ => Request::RunJob {
            method: params.method()?,
            seconds: params.seconds()?,
            command: params.command()?,
            session: params.session,
            batch: params.batch,
        },
    };
    Ok(Ask { token, request })
}

fn parse_command(value: Value) -> Result<Command, AskError> {
    let wrong = || AskError::Params("'command' is {\"argv\":[...]} or {\"shell\":\"...\"}".into());
    let Value::Struct(mut members) = value else { return Err(wrong()) };
    match (members.remove("argv"), members.remove("shell")) {
        (Some(Value::Array(words)), None) if words.len() <= ARGV_WORDS_MAX => {
            let words = words.into_iter().map(|word| match word {
                Value::String(text) => Some(text.into_bytes()),
                Value::Binary(bytes) => Some(bytes),
                _ => None,
            });
            let good = |word: &Vec<u8>| word.len() < ARGUMENT_BYTES_MAX && !word.contains(&0);
            let words: Option<Vec<_>> = words.map(|word| word.filter(good)).collect();
            words.filter(|words| !words.is_empty()).map(Command::Argv).ok_or_else(|| {
                AskError::Params("'argv' is a list of strings, the program first".into())
            })
        }
        (None, Some(Value::String(text))) if text.len() < ARGUMENT_BYTES_MAX => {
            Ok(Command::Shell(text))
        }
        _ => Err(wrong()),
    }
}

impl Ask {
    /// The method's name and the parameters as JSON.
    fn written(&self) -> Result<(&'static str, serde_json::Value), ProtocolError> {
        let token = self.token.reveal();
        let of_session = |session: &String| serde_json::json!({"token": token, "session": session});
        Ok(match &self.request {
            Request::SystemUser { seconds } => {
                ("system_user", serde_json::json!({"token": token, "seconds": seconds}))
            }
            Request::SessionInfo { method, seconds } => (
                "session_info",
                serde_json::json!({"token": token, "method": method, "seconds": seconds}),
            ),
            Request::Sandbox { session } => ("sandbox", of_session(session)),
            Request::Status { session } => ("status", of_session(session)),
            Request::StatusValue { session } => ("status_value", of_session(session)),
            Request::Monitor { session } => ("monitor", of_session(session)),
            Request::Url { session } => ("url", of_session(session)),
            Request::RunJob { method, seconds, session, command, batch } => {
                let command: Box<RawValue> =
                    serde_json::from_str(&json::to_string(&command.to_value())?)
                        .map_err(malformed)?;
                let params = serde_json::json!({
                    "token": token, "method": method, "seconds": seconds,
                    "session": session, "command": command, "batch": batch
                });
                ("run_job", params)
            }
        })
    }
}

impl Command {
    fn to_value(&self) -> Value {
        let word = |bytes: &Vec<u8>| {
            String::from_utf8(bytes.clone())
                .ok()
                .filter(|text| json::is_xml_text(text))
                .map_or_else(|| Value::Binary(bytes.clone()), Value::String)
        };
        match self {
            Self::Argv(words) => {
                Value::record([("argv", Value::Array(words.iter().map(word).collect()))])
            }
            Self::Shell(text) => Value::record([("shell", text.clone().into())]),
        }
    }
}

/// A message to a worker as a worker written with this room reads it.
#[derive(Debug, Clone, PartialEq)]
pub enum AtWorker {
    /// [`ToWorker::Call`].
    Call {
        /// To be repeated in the answer.
        id: u64,
        /// To be sent with every ask.
        token: Token,
        /// The method's full name.
        method: String,
        /// Its name in the service.
        name: String,
        /// The parameters.
        args: Vec<Value>,
        /// Who calls.
        caller: CallerFacts<'static>,
    },
    /// [`ToWorker::Answer`].
    Answer {
        /// The ask's id.
        id: String,
        /// The value, or the fault to be raised.
        outcome: Result<Value, (i64, String)>,
    },
    /// [`ToWorker::Shutdown`].
    Shutdown,
}

#[derive(Deserialize)]
struct ReadCall<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
    method: String,
    name: String,
    #[serde(borrow)]
    args: &'a RawValue,
    #[serde(borrow)]
    req: CallerFacts<'a>,
}

impl AtWorker {
    /// Reads one line.
    ///
    /// # Errors
    /// [`ProtocolError`].
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let line: Line<'_> = serde_json::from_slice(line).map_err(malformed)?;
        match (line.id, line.method.as_deref()) {
            (Some(Id::Number(id)), Some("call")) => parse_call(id, line.params),
            (Some(Id::Text(id)), None) => {
                let outcome = match parse_outcome(line.result, line.error)? {
                    Outcome::Value(value) => Ok(value),
                    Outcome::Fault { code, text } => Err((code, text)),
                    Outcome::Exception { .. } => Err((EXCEPTION_CODE, "internal error".into())),
                    Outcome::BadValue(error) => return Err(error.into()),
                };
                Ok(Self::Answer { id: id.into_owned(), outcome })
            }
            (None, Some("shutdown")) => Ok(Self::Shutdown),
            _ => Err(ProtocolError::Malformed("neither call, answer nor notice".into())),
        }
    }
}

fn parse_call(id: u64, raw: Option<&RawValue>) -> Result<AtWorker, ProtocolError> {
    let text = raw.map_or("{}", RawValue::get);
    let ReadCall { token, method, name, args, req } =
        serde_json::from_str(text).map_err(malformed)?;
    let token =
        Token::parse(&token).map_err(|error| ProtocolError::Malformed(error.to_string()))?;
    // The list of parameters is no level of its own: each is a value.
    let raw: Vec<&RawValue> = serde_json::from_str(args.get()).map_err(malformed)?;
    let args = raw.into_iter().map(|arg| json::from_str(arg.get())).collect::<Result<_, _>>()?;
    Ok(AtWorker::Call { id, token, method, name, args, caller: req.into_owned() })
}

impl CallerFacts<'_> {
    /// The same, borrowing nothing.
    #[must_use]
    pub fn into_owned(self) -> CallerFacts<'static> {
        let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        CallerFacts {
            clarens_dn: own(self.clarens_dn),
            account: own(self.account),
            level: own(self.level),
            cpu_limit: self.cpu_limit,
            protocol: own(self.protocol),
            request_id: own(self.request_id),
        }
    }
}

#[cfg(test)]
mod tests;
