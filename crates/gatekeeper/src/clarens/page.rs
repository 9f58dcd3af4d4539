//! The page that a browser sees at the API's address.

use std::collections::BTreeMap;
use std::fmt::Write;

use http::StatusCode;
use nesssi_rpc::{Call, MethodName, Reply, Value};

use super::wsdl::status_of;
use crate::html::{Escaped, STYLE};

/// The call whose answer the page shows.
pub(super) fn list_call() -> Option<Call> {
    let method = MethodName::parse("system.listMethods").ok()?;
    Some(Call { method, params: Vec::new() })
}

/// The page for the answer to [`list_call`].
pub(super) fn html(reply: &Reply) -> (StatusCode, String) {
    match reply {
        Ok(methods) => (StatusCode::OK, page(&services(methods))),
        Err(fault) => (status_of(fault), framed(&format!("<p>{}</p>\n", Escaped(&fault.text)))),
    }
}

/// The methods of each service.
fn services(methods: &Value) -> BTreeMap<&str, Vec<&str>> {
    let mut services: BTreeMap<_, Vec<_>> = BTreeMap::new();
    if let Value::Array(names) = methods {
        for name in names.iter().filter_map(Value::as_str) {
            let (service, method) = name.rsplit_once('.').unwrap_or((name, ""));
            services.entry(service).or_default().push(method);
        }
    }
    services
}

fn page(services: &BTreeMap<&str, Vec<&str>>) -> String {
    let methods: usize = services.values().map(Vec::len).sum();
    let mut main = format!(
        "<p>This is a job-service container. Programs call it with XML-RPC, JSON-RPC or SOAP: \
         <code>POST</code> to this address. <a href=\"?wsdl\">The WSDL</a> describes it for \
         SOAP, and each service has one of its own.</p>\n<p>{} services with {methods} \
         methods answer you here. <code>system.methodHelp</code> and \
         <code>system.methodSignature</code> explain one, <code>service.help</code> a service.</p>\n\
         <table>\n<caption>Services</caption>\n<thead><tr><th scope=\"col\">Service</th>\
         <th scope=\"col\">Methods</th></tr></thead>\n<tbody>\n",
        services.len()
    );
    for (service, methods) in services {
        let (service, methods) = (Escaped(service), methods.join(" "));
        // Writing to a String cannot fail.
        let _written = writeln!(
            main,
            "<tr><td><a href=\"./{service}?wsdl\">{service}</a></td><td>{}</td></tr>",
            Escaped(&methods)
        );
    }
    main.push_str(
        "</tbody>\n</table>\n<p>From a shell: <code>nesssi help echo.echo</code>. From Python: <code>import nesssi</code>, then \
         <code>nesssi.client(url).echo.echo(\"hello\")</code>.</p>\n",
    );
    framed(&main)
}

fn framed(main: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta \
         name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>NESSSI</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>NESSSI</h1>\n{main}</main>\n</body>\n\
         </html>\n"
    )
}
