//! `system.*`: what can be called, and how.

use nesssi_rpc::wsdl::Operation;
use nesssi_rpc::{Fault, FaultCode, MethodName, Reply, Value, multicall, soap};
use nesssi_service::{Method, Signature};

use super::{Builtin, Context, Run, exactly, text};
use crate::Answer;
use crate::call::permission::{denied_builtin, permission};
use crate::registry::{self, MONITOR};

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "system.auth",
        help: "Not offered: it answers a fault that says why. Example: \
               system.auth() is fault 403.",
        // Whatever it is called with.
        signatures: &[],
        parameters: &[],
        run: Run::Now(|_, _| Err(Fault::refused(AUTH_REFUSED))),
    },
    Builtin {
        name: "system.auth2",
        help: "Makes a login of the certificate that the connection shows: called with HTTP Basic, \
               as user a token of the client's own, as password the word BROWSER, it answers \
               [server's certificate, user's certificate, new password]. No call needs a login. Example: \
               system.auth2()[2], which the original's clients send from then on.",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Now(|context, params| {
            let [] = exactly(params)?;
            let made = context.inner.logins.make(&context.inner.audit, context.caller)?;
            let parts = [made.server_certificate, made.user_certificate, made.secret];
            Ok(Value::Array(parts.map(Value::String).into()))
        }),
    },
    Builtin {
        name: "system.getCapabilities",
        help: "The protocols and extensions that this server speaks: for each a struct of specUrl \
               and specVersion. Example: \
               system.getCapabilities()[\"nil\"][\"specUrl\"].",
        signatures: &[&["struct"]],
        parameters: &[],
        run: Run::Now(|_, params| {
            let [] = exactly(params)?;
            Ok(multicall::capabilities())
        }),
    },
    Builtin {
        name: "system.listMethods",
        help: "The names of all methods that the caller may call, sorted. Example: \
               \"echo.echo\" is in system.listMethods().",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Later(|context, params| {
            Box::pin(async move {
                context.inner.services.all_found().await;
                Answer::of(list_methods(&context, params).await)
            })
        }),
    },
    Builtin {
        name: "system.logout",
        help: "Ends the login that the call is made with, if there is one. Answers true. Example: \
               system.logout().",
        signatures: &[&["boolean"]],
        parameters: &[],
        run: Run::Now(|context, params| {
            let [] = exactly(params)?;
            context.inner.logins.end(&context.inner.audit, context.caller);
            Ok(true.into())
        }),
    },
    Builtin {
        name: "system.methodHelp",
        help: "What a method does, in words: methodHelp(name). Example: \
               system.methodHelp(\"echo.echo\").",
        signatures: &[&["string", "string"]],
        parameters: &["name"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(method_help(&context, params).await) })
        }),
    },
    Builtin {
        name: "system.methodSignature",
        help: "The ways to call a method: methodSignature(name) answers a list of lists of type \
               names, the type of the result first in each; the string \"undef\" where they are \
               not known. Example: \
               system.methodSignature(\"job.cancel\") is [[\"string\", \"string\"]].",
        signatures: &[&["array", "string"], &["string", "string"]],
        parameters: &["name"],
        run: Run::Later(|context, params| {
            Box::pin(async move { Answer::of(method_signature(&context, params).await) })
        }),
    },
    Builtin {
        name: multicall::METHOD,
        help: "Several calls in one: multicall([{methodName, params}, ...]) answers an array that \
               holds in each call's place [value], or the struct {faultCode, faultString}. Each is \
               counted and decided as if it had come by itself; none is a multicall. Example: \
               system.multicall([{\"methodName\": \"echo.echo\", \"params\": [1]}]) is [[[1]]].",
        signatures: &[&["array", "array"]],
        parameters: &["calls"],
        run: Run::Many,
    },
    Builtin {
        name: "system.version",
        help: "The name and version of this server. Example: \
               system.version() is \"NESSSI 0.1.0\".",
        signatures: &[&["string"]],
        parameters: &[],
        run: Run::Now(|_, params| {
            let [] = exactly(params)?;
            Ok(concat!("NESSSI ", env!("CARGO_PKG_VERSION")).into())
        }),
    },
];

const AUTH_REFUSED: &str = "system.auth is not offered: its exchange of nonces leaves a password that \
    whoever reads along on plain HTTP can use again. Connect over HTTPS with your certificate, which \
    is sufficient by itself, or log in with system.auth2";

async fn list_methods(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let [] = exactly(params)?;
    let builtins = open_builtins(context).map(|builtin| builtin.name.to_owned());
    let mut names: Vec<String> = builtins.collect();
    let services = context.inner.services.current().clone();
    for service in services.iter().filter(|service| service.is_ok()) {
        for method in callable(context, service).await {
            names.push(format!("{}.{method}", service.name));
        }
    }
    names.sort_unstable();
    Ok(Value::Array(names.into_iter().map(Value::String).collect()))
}

/// The built-ins that no administrator's edit denies to the caller.
pub(crate) fn open_builtins(context: &Context<'_>) -> impl Iterator<Item = &'static Builtin> {
    let Context { inner, caller, .. } = context;
    super::all().filter(|builtin| denied_builtin(inner, caller, builtin.name).is_ok())
}

/// The methods of a sound service that the caller may call.
pub(crate) async fn callable<'a>(
    context: &Context<'_>,
    service: &'a registry::Service,
) -> Vec<&'a str> {
    let own = service.methods.keys().map(String::as_str);
    let monitor = (!service.methods.contains_key(MONITOR)).then_some(MONITOR);
    let mut callable = Vec::new();
    for method in own.chain(monitor) {
        if may_call(context, service, method).await {
            callable.push(method);
        }
    }
    callable
}

async fn may_call(context: &Context<'_>, service: &registry::Service, method: &str) -> bool {
    let Context { inner, caller, grant, .. } = context;
    permission(inner, caller, grant, service, method).await.is_ok()
}

/// A built-in, a service's method, or the container's `monitor` of a service.
pub(crate) enum Found {
    Builtin(&'static Builtin),
    Method(Method),
    Monitor,
}

const MONITOR_HELP: &str = "The state of a job and its files, as text: monitor(session_id).";
pub(crate) const MONITOR_SIGNATURE: [&str; 2] = ["string", "string"];
pub(crate) const MONITOR_PARAMETERS: [&str; 1] = ["session"];

impl Found {
    /// The description of what was found as `name`.
    pub(crate) fn operation(&self, name: &MethodName) -> Operation {
        let (_, name) = name.split();
        match self {
            Self::Builtin(builtin) => builtin.operation(name),
            Self::Method(method) => operation_of(method),
            Self::Monitor => monitor_operation(),
        }
    }
}

/// The description of the method `name` of a service; one that it has not is the container's `monitor`.
pub(crate) fn operation(service: &registry::Service, name: &str) -> Operation {
    service.methods.get(name).map_or_else(monitor_operation, operation_of)
}

fn operation_of(method: &Method) -> Operation {
    let signed = |words: &Signature| soap::Signature::named(words, &method.parameters);
    Operation {
        name: method.name.clone(),
        help: method.help.clone(),
        signatures: method.signatures.iter().map(signed).collect(),
    }
}

fn monitor_operation() -> Operation {
    Operation {
        name: MONITOR.to_owned(),
        help: MONITOR_HELP.to_owned(),
        signatures: vec![soap::Signature::named(&MONITOR_SIGNATURE, &MONITOR_PARAMETERS)],
    }
}

/// # Errors
/// As [`look_up`], and -32602.
async fn look_up_param(context: &Context<'_>, params: Vec<Value>) -> Result<Found, Fault> {
    let [name] = exactly(params)?;
    let name = text(name, "the method's name")?;
    let name = MethodName::parse(&name).map_err(|_| unknown())?;
    look_up(context, &name).await
}

fn unknown() -> Fault {
    Fault::new(FaultCode::NoSuchMethod, "no such method")
}

/// A method that the caller may call.
///
/// # Errors
/// -32601 alike for what does not exist and what the caller may not call; 503 while it may still be
/// found.
pub(crate) async fn look_up(context: &Context<'_>, name: &MethodName) -> Result<Found, Fault> {
    if let Some(builtin) = super::find(name.as_str()) {
        let open = denied_builtin(context.inner, context.caller, builtin.name).is_ok();
        return if open { Ok(Found::Builtin(builtin)) } else { Err(unknown()) };
    }
    let service = context.inner.services.find(name).await.map_err(|fault| match fault.code {
        FaultCode::NoSuchMethod => unknown(),
        _ => fault,
    })?;
    let (_, method) = name.split();
    if !service.is_ok() || !may_call(context, &service, method).await {
        return Err(unknown());
    }
    match service.methods.get(method) {
        Some(method) => Ok(Found::Method(method.clone())),
        None if method == MONITOR => Ok(Found::Monitor),
        None => Err(unknown()),
    }
}

async fn method_help(context: &Context<'_>, params: Vec<Value>) -> Reply {
    Ok(match look_up_param(context, params).await? {
        Found::Builtin(builtin) => builtin.help.into(),
        Found::Method(method) => method.help.into(),
        Found::Monitor => MONITOR_HELP.into(),
    })
}

async fn method_signature(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let words = |words: &[&str]| words.iter().map(|word| Value::from(*word)).collect();
    let owned = |words: &Signature| {
        Value::Array(words.iter().map(|word| Value::from(word.as_str())).collect())
    };
    let signatures: Vec<Value> = match look_up_param(context, params).await? {
        Found::Builtin(builtin) => {
            builtin.signatures.iter().map(|one| Value::Array(words(one))).collect()
        }
        Found::Method(method) => method.signatures.iter().map(owned).collect(),
        Found::Monitor => vec![Value::Array(words(&MONITOR_SIGNATURE))],
    };
    if signatures.is_empty() { Ok("undef".into()) } else { Ok(Value::Array(signatures)) }
}
