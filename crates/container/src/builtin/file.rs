//! `file.*`: the files of sandboxes and trees, read, and those of one's own sandboxes changed.

use std::sync::Arc;

use nesssi_policy::SubjectDn;
use nesssi_privsep::messages::{Entry, FindEnd};
use nesssi_rpc::{Fault, FaultCode, Reply, Value};
use nesssi_session::SandboxPath;

use super::{Builtin, Context, Later, Run, exactly, text, whole};
use crate::clock::date_time;
use crate::files::change::{self, Act, Changer};
use crate::files::digest::{self, Kind};
use crate::files::path::{ApiPath, Place};
use crate::files::source::{self, Source};
use crate::files::{ENTRIES_MAX, no_such_file};
use crate::link::{Found, Opened, Stated};
use crate::{Answer, Inner, RawFile};

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "file.find",
        help: "The files and directories below a directory, at any depth, whose last name matches \
               a shell's pattern, as an array of structs: path, directory, size, modified. \
               Example: file.find(\"/data/2026\", \"*.root\").",
        signatures: &[&["array", "string", "string"]],
        parameters: &["path", "pattern"],
        run: Run::Later(|context, params| value(find(context, params))),
    },
    Builtin {
        name: "file.ls",
        help: "The names in a directory, as an array of structs: name, directory, size, modified. \
               A path is /<session>/a/b or /<tree>/a/b; of \"/\" the trees that the caller may \
               read and his own sessions. Example: file.ls(\"/data\").",
        signatures: &[&["array", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(ls(context, params))),
    },
    Builtin {
        name: "file.md5",
        help: "The MD5 of a file, 32 hexadecimal digits: it finds accidents, and no malice. \
               Example: file.md5(\"/data/2026/run1.root\").",
        signatures: &[&["string", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(digest(context, params, Kind::Md5))),
    },
    Builtin {
        name: "file.mkdir",
        help: "Makes a directory in a sandbox of the caller's own. Example: \
               file.mkdir(session + \"/results\") is true.",
        signatures: &[&["boolean", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(mkdir(context, params))),
    },
    Builtin {
        name: "file.read",
        help: "A part of a file: read(path, offset, length), a length of -1 is to its end. A \
               single call in XML-RPC is answered with the bytes as they are, every other with \
               base64 of at most 8 MiB. Example: file.read(session + \"/stdout\", 0, -1).",
        signatures: &[&["base64", "string", "int", "int"]],
        parameters: &["path", "offset", "length"],
        run: Run::Later(|context, params| {
            Box::pin(async move {
                read(context, params).await.unwrap_or_else(|fault| Answer::of(Err(fault)))
            })
        }),
    },
    Builtin {
        name: "file.remove",
        help: "Removes a file or an empty directory from a sandbox of the caller's own; with \
               `recursive` a directory with all in it. Example: \
               file.remove(session + \"/results\", true) is true.",
        signatures: &[&["boolean", "string"], &["boolean", "string", "boolean"]],
        parameters: &["path", "recursive"],
        run: Run::Later(|context, params| value(remove(context, params))),
    },
    Builtin {
        name: "file.rename",
        help: "Gives a file or directory another name in the same sandbox, of the caller's own: \
               rename(from, to). Nothing is replaced. Example: \
               file.rename(session + \"/a\", session + \"/b\") is true.",
        signatures: &[&["boolean", "string", "string"]],
        parameters: &["from", "to"],
        run: Run::Later(|context, params| value(rename(context, params))),
    },
    Builtin {
        name: "file.sha256",
        help: "The SHA-256 of a file, 64 hexadecimal digits. Example: \
               file.sha256(\"/data/2026/run1.root\").",
        signatures: &[&["string", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(digest(context, params, Kind::Sha256))),
    },
    Builtin {
        name: "file.size",
        help: "The bytes of a file. Example: file.size(session + \"/stdout\") is 4096.",
        signatures: &[&["int", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(size(context, params))),
    },
    Builtin {
        name: "file.stat",
        help: "What a file or directory is, as a struct: path, name, directory, size, modified. \
               Example: file.stat(session + \"/stdout\")[\"directory\"] is false.",
        signatures: &[&["struct", "string"]],
        parameters: &["path"],
        run: Run::Later(|context, params| value(stat(context, params))),
    },
];

fn value<'a>(reply: impl Future<Output = Reply> + Send + 'a) -> Later<'a> {
    Box::pin(async move { Answer::of(reply.await) })
}

async fn ls(context: Context<'_>, params: Vec<Value>) -> Reply {
    let [path] = exactly(params)?;
    let (place, path) = match ApiPath::parse(&bytes(path, "the path")?)? {
        ApiPath::Top => return Ok(Value::Array(top(context).await)),
        ApiPath::In(place, path) => (place, path),
    };
    let entries = Source::of(context, &place).await?.list(&path).await?;
    let shown = entries.iter().map(|Entry { name, directory, size, modified }| {
        listed("name", &name.0, *directory, *size, *modified)
    });
    Ok(Value::Array(shown.collect()))
}

/// The trees that the caller may read and that his account finds there, and his own sessions.
async fn top(context: Context<'_>) -> Vec<Value> {
    let names: Vec<String> = {
        let rules = context.inner.grants.rules().now();
        let may = rules.trees.iter().filter(|tree| source::may_read(context, &tree.name).is_ok());
        may.map(|tree| tree.name.clone()).collect()
    };
    let mut all = Vec::new();
    for name in names {
        let place = Place::Tree(name.clone());
        let found = async { Source::of(context, &place).await?.stat(&SandboxPath::root()).await };
        if let Ok(Stated { modified, .. }) = found.await {
            all.push(listed("name", name.as_bytes(), true, 0, modified));
        }
    }
    let sessions = context.subject().map(|subject| own_sessions(context.inner, subject));
    all.extend(sessions.unwrap_or_default());
    all
}

fn own_sessions(inner: &Inner, subject: &SubjectDn) -> Vec<Value> {
    let sessions = inner.jobs.own_sessions(subject).into_iter().map(|(id, created_ms)| {
        let created = i64::try_from(created_ms / 1000).unwrap_or(i64::MAX);
        listed("name", id.reveal().as_bytes(), true, 0, created)
    });
    sessions.collect()
}

async fn stat(context: Context<'_>, params: Vec<Value>) -> Reply {
    let [path] = exactly(params)?;
    let (place, path) = inside(path, "the path")?;
    let Stated { directory, size, modified, .. } =
        Source::of(context, &place).await?.stat(&path).await?;
    let whole = place.join(path.as_bytes());
    let name = whole.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let mut stat = listed("path", &whole, directory, size, modified);
    if let Value::Struct(members) = &mut stat {
        members.insert("name".to_owned(), shown(name));
    }
    Ok(stat)
}

async fn size(context: Context<'_>, params: Vec<Value>) -> Reply {
    let [path] = exactly(params)?;
    let (place, path) = inside(path, "the path")?;
    let Stated { size, .. } = Source::of(context, &place).await?.stat(&path).await?;
    Ok(whole(size))
}

async fn find(context: Context<'_>, params: Vec<Value>) -> Reply {
    let [path, pattern] = exactly(params)?;
    let (place, path) = inside(path, "the path")?;
    let pattern = bytes(pattern, "the pattern")?;
    let Found { entries, end } = Source::of(context, &place).await?.find(&path, &pattern).await?;
    let more = match end {
        FindEnd::Whole {} => {
            let found = entries.iter().map(|Entry { name, directory, size, modified }| {
                listed("path", &place.join(&name.0), *directory, *size, *modified)
            });
            return Ok(Value::Array(found.collect()));
        }
        FindEnd::Entries {} => {
            format!("there are more than {ENTRIES_MAX} matches, or 8 MiB of their paths")
        }
        FindEnd::Effort {} => "there are more names below it than one search looks at".to_owned(),
    };
    Err(Fault::new(FaultCode::OverLimit, format!("{more}: begin further down")))
}

async fn read(context: Context<'_>, params: Vec<Value>) -> Result<Answer, Fault> {
    let [path, offset, length] = exactly(params)?;
    let path = bytes(path, "the path")?;
    let asked = Part::of(&offset, &length)?;
    let (file, account, place, path) = open(context, &path).await?;
    let (offset, length) = asked.within(file.size);
    record_read(context, &place, &path, length);
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec();
    let file = Arc::new(file.file);
    Ok(Answer::raw(RawFile { file, offset, length, account, name }))
}

async fn digest(context: Context<'_>, params: Vec<Value>, kind: Kind) -> Reply {
    let [path] = exactly(params)?;
    let (file, account, place, path) = open(context, &bytes(path, "the path")?).await?;
    record_read(context, &place, &path, file.size);
    digest::digest(context, kind, file.file, &account).await.map(Value::String)
}

async fn open(
    context: Context<'_>,
    path: &[u8],
) -> Result<(Opened, String, Place, SandboxPath), Fault> {
    let ApiPath::In(place, path) = ApiPath::parse(path)? else {
        return Err(Fault::new(FaultCode::Conflict, "it is a directory"));
    };
    let mut source = Source::of(context, &place).await?;
    let file = source.open(&path).await?;
    Ok((file, source.account().to_owned(), place, path))
}

/// Which part of a file is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    offset: u64,
    /// `None` is to the end.
    length: Option<u64>,
}

impl Part {
    fn of(offset: &Value, length: &Value) -> Result<Self, Fault> {
        let offset = u64::try_from(number(offset, "the offset")?)
            .map_err(|_| Fault::invalid_params("the offset is below 0"))?;
        let length = match number(length, "the length")? {
            -1 => None,
            length => Some(u64::try_from(length).map_err(|_| {
                Fault::invalid_params("the length is a number of bytes, or -1 for all to the end")
            })?),
        };
        Ok(Self { offset, length })
    }

    /// Offset and length inside of a file of `size` bytes.
    fn within(self, size: u64) -> (u64, u64) {
        let offset = self.offset.min(size);
        let left = size - offset;
        (offset, self.length.map_or(left, |length| length.min(left)))
    }
}

async fn mkdir(context: Context<'_>, params: Vec<Value>) -> Reply {
    context.may_change()?;
    let [path] = exactly(params)?;
    let (session, path) = own(path, "the path")?;
    let mut changer = Changer::of(context, &session).await?;
    let (inner, caller) = (Arc::clone(context.inner), context.caller.clone());
    let change = async move {
        let done = changer.make_directory(&path).await;
        let act =
            Act { what: "mkdir", session: &changer.owned.id, path: &path, to: None, bytes: None };
        change::record(&inner, &caller, &act, &done);
        done
    };
    context.inner.jobs.to_its_end(change).await.map(|()| Value::Bool(true))
}

async fn rename(context: Context<'_>, params: Vec<Value>) -> Reply {
    context.may_change()?;
    let [from, to] = exactly(params)?;
    let ((session, from), (other, to)) = (own(from, "from")?, own(to, "to")?);
    if session != other {
        return Err(Fault::invalid_params("both names have to be in one sandbox"));
    }
    let mut changer = Changer::of(context, &session).await?;
    let (inner, caller) = (Arc::clone(context.inner), context.caller.clone());
    let change = async move {
        let done = changer.rename(&from, &to).await;
        let act = Act {
            what: "rename",
            session: &changer.owned.id,
            path: &from,
            to: Some(&to),
            bytes: None,
        };
        change::record(&inner, &caller, &act, &done);
        done
    };
    context.inner.jobs.to_its_end(change).await.map(|()| Value::Bool(true))
}

async fn remove(context: Context<'_>, mut params: Vec<Value>) -> Reply {
    context.may_change()?;
    let recursive = match params.len() {
        1 => false,
        _ => match params.pop() {
            Some(Value::Bool(recursive)) if params.len() == 1 => recursive,
            Some(other) if params.len() == 1 => {
                let kind = other.type_name();
                let text = format!("`recursive` must be a boolean, not {kind}");
                return Err(Fault::invalid_params(text));
            }
            other => {
                let count = params.len() + usize::from(other.is_some());
                let text = format!("1 or 2 parameters are expected, {count} were given");
                return Err(Fault::invalid_params(text));
            }
        },
    };
    let [path] = exactly(params)?;
    let (session, path) = own(path, "the path")?;
    let (inner, caller) = (Arc::clone(context.inner), context.caller.clone());
    let tended = change::clearing(context, &session).await?;
    let change = async move {
        let done = change::remove(&tended, &path, recursive).await;
        let act = Act { what: "remove", session: &tended.id, path: &path, to: None, bytes: None };
        change::record(&inner, &caller, &act, &done);
        done
    };
    context.inner.jobs.to_its_end(change).await.map(|()| Value::Bool(true))
}

/// Something inside of a sandbox, to be changed.
fn own(path: Value, what: &str) -> Result<(String, SandboxPath), Fault> {
    match inside(path, what)? {
        (Place::Session(session), path) => {
            change::inside(&path)?;
            Ok((session, path))
        }
        (Place::Tree(_), _) => {
            Err(Fault::refused("trees are for reading; and a session is 32 hexadecimal digits"))
        }
    }
}

fn inside(path: Value, what: &str) -> Result<(Place, SandboxPath), Fault> {
    match ApiPath::parse(&bytes(path, what)?)? {
        ApiPath::Top => Err(no_such_file()),
        ApiPath::In(place, path) => Ok((place, path)),
    }
}

/// A path or a pattern: text, or base64 where its bytes are none.
fn bytes(value: Value, what: &str) -> Result<Vec<u8>, Fault> {
    match value {
        Value::Binary(bytes) => Ok(bytes),
        other => text(other, what).map(String::into_bytes),
    }
}

fn number(value: &Value, what: &str) -> Result<i64, Fault> {
    match value {
        Value::Int(number) => Ok(*number),
        other => {
            let kind = other.type_name();
            Err(Fault::invalid_params(format!("{what} must be an int, not {kind}")))
        }
    }
}

fn listed(what: &str, name: &[u8], directory: bool, size: u64, modified: i64) -> Value {
    let modified = u64::try_from(modified).unwrap_or(0).saturating_mul(1000);
    Value::record([
        (what, shown(name)),
        ("directory", Value::Bool(directory)),
        ("size", whole(size)),
        ("modified", Value::DateTime(date_time(modified))),
    ])
}

/// A name: text, or base64 where no dialect can carry it as that. A user may name a file anything.
fn shown(name: &[u8]) -> Value {
    let carried = |c: char| !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}');
    match std::str::from_utf8(name) {
        Ok(text) if text.chars().all(carried) => text.into(),
        _ => Value::Binary(name.to_vec()),
    }
}

/// That a file is read, with whose and which.
fn record_read(context: Context<'_>, place: &Place, path: &SandboxPath, bytes: u64) {
    let (session, tree) = match place {
        Place::Session(id) => (id.get(..8), None),
        Place::Tree(name) => (None, Some(name)),
    };
    context
        .inner
        .audit
        .line("file")
        .text("request", &context.caller.request_id)
        .maybe("subject", context.subject())
        .maybe("session", session)
        .maybe("tree", tree)
        .text("path", String::from_utf8_lossy(path.as_bytes()))
        .text("address", context.caller.address)
        .count("bytes", bytes)
        .write();
}

#[cfg(test)]
mod tests;
