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

/// How many methods each service has.
fn services(methods: &Value) -> BTreeMap<&str, usize> {
    let mut services = BTreeMap::new();
    if let Value::Array(names) = methods {
        for name in names.iter().filter_map(Value::as_str) {
            let service = name.rsplit_once('.').map_or(name, |(service, _)| service);
            *services.entry(service).or_insert(0) += 1;
        }
    }
    services
}

fn page(services: &BTreeMap<&str, usize>) -> String {
    let methods: usize = services.values().sum();
    let mut main = format!(
        "<p>This is a job-service container. Programs call it with XML-RPC, JSON-RPC or SOAP: \
         <code>POST</code> to this address. <a href=\"?wsdl\">The WSDL</a> describes it for \
         SOAP.</p>\n<p>{} services with {methods} \
         methods answer here. <code>system.listMethods</code> names them; \
         <code>system.methodHelp</code> and <code>system.methodSignature</code> explain one.</p>\n\
         <table>\n<caption>Services</caption>\n<thead><tr><th scope=\"col\">Service</th>\
         <th scope=\"col\" class=\"n\">Methods</th></tr></thead>\n<tbody>\n",
        services.len()
    );
    for (service, count) in services {
        // Writing to a String cannot fail.
        let _written =
            writeln!(main, "<tr><td>{}</td><td class=\"n\">{count}</td></tr>", Escaped(service));
    }
    main.push_str(
        "</tbody>\n</table>\n<p>From a shell: <code>nesssi call system.methodHelp \
         echo.echo</code>. From Python: <code>import nesssi</code>, then \
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
