//! WSDL 1.1 (<https://www.w3.org/TR/wsdl>): what services answer, for clients that generate code.
//!
//! A WSDL describes [`crate::soap`]'s literal style, over SOAP 1.1 and 1.2. Each service has a schema of
//! its own namespace, a portType `<service>`, two bindings and ports `<service>.soap11` and
//! `<service>.soap12`, and a `service` with its address; the WSDL of a container has those of all. What
//! is written depends on nothing but what is described.
//!
//! # Signatures
//!
//! A method is one operation, whatever the number of its signatures: a parameter that only some of them
//! have is optional (`minOccurs="0"`), and where they differ in its type it is `xsd:anyType`, as is a
//! result. Parameters that a signature gives no name are `arg0`, `arg1`, ... A method whose signatures
//! are not known takes any number of elements `arg` of any type. An `int` is an `xsd:long`, for it has
//! 64 bits.

use std::fmt::{self, Write as _};

use crate::soap::{
    APACHE, Merged, SCHEMA, Signature, TYPES, Type, escape_name, escaped, service_namespace,
    soap_action,
};

#[cfg(test)]
mod tests;

/// The namespace of a container's WSDL.
const CONTAINER: &str = "urn:nesssi-container:1";
const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const TRANSPORT: &str = "http://schemas.xmlsoap.org/soap/http";

/// The name, WSDL namespace and content of a binding's version.
const BINDINGS: [(&str, &str); 2] = [("soap11", "soap"), ("soap12", "soap12")];

/// A service as a WSDL describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its full name.
    pub name: String,
    /// What it is for; may be empty.
    pub documentation: String,
    /// The URL to which its calls are sent.
    pub address: String,
    /// Its methods.
    pub methods: Vec<Operation>,
}

/// A method as a WSDL describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name inside the service.
    pub name: String,
    /// Its help; may be empty.
    pub help: String,
    /// Its signatures; empty if they are not known.
    pub signatures: Vec<Signature>,
}

/// The WSDL of one service.
#[must_use]
pub fn service_wsdl(service: &Interface) -> String {
    let namespace = service_namespace(&service.name);
    render(&service.name, &namespace, std::slice::from_ref(service))
}

/// The WSDL of a container with all of its `services`, in the order given.
#[must_use]
pub fn container_wsdl(services: &[Interface]) -> String {
    render("nesssi", CONTAINER, services)
}

fn render(name: &str, namespace: &str, services: &[Interface]) -> String {
    let mut out = String::with_capacity(8192);
    // Writing to a String does not fail.
    write_definitions(&mut out, name, namespace, services).unwrap_or_default();
    out
}

fn write_definitions(
    out: &mut String,
    name: &str,
    namespace: &str,
    services: &[Interface],
) -> fmt::Result {
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        out,
        "<wsdl:definitions name=\"{}\" targetNamespace=\"{}\"",
        escape_name(name),
        escaped(namespace)
    )?;
    writeln!(out, "    xmlns:tns=\"{}\" xmlns:wsdl=\"{WSDL}\"", escaped(namespace))?;
    writeln!(out, "    xmlns:xsd=\"{SCHEMA}\" xmlns:n=\"{TYPES}\" xmlns:map=\"{APACHE}\"")?;
    writeln!(out, "    xmlns:soap=\"http://schemas.xmlsoap.org/wsdl/soap/\"")?;
    writeln!(out, "    xmlns:soap12=\"http://schemas.xmlsoap.org/wsdl/soap12/\">")?;
    out.push_str("<wsdl:types>\n");
    out.push_str(COMMON_SCHEMAS);
    for service in services {
        write_schema(out, service)?;
    }
    out.push_str("</wsdl:types>\n");
    out.push_str(
        "<wsdl:message name=\"fault\"><wsdl:part name=\"fault\" element=\"n:fault\"/></wsdl:message>\n",
    );
    for service in services {
        write_messages(out, service)?;
    }
    for service in services {
        write_port_type(out, service)?;
    }
    for service in services {
        for (version, prefix) in BINDINGS {
            write_binding(out, service, version, prefix)?;
        }
    }
    for service in services {
        write_service(out, service)?;
    }
    out.push_str("</wsdl:definitions>\n");
    Ok(())
}

/// What every service's schema refers to. `Map` is Apache SOAP's. The elements named like types are
/// never sent: for the types that are named, gSOAP makes classes that can stand for `xsd:anyType`.
const COMMON_SCHEMAS: &str = "\
<xsd:schema targetNamespace=\"http://xml.apache.org/xml-soap\" xmlns=\"http://xml.apache.org/xml-soap\">
  <xsd:complexType name=\"mapItem\"><xsd:sequence>
    <xsd:element name=\"key\" type=\"xsd:string\"/>
    <xsd:element name=\"value\" type=\"xsd:anyType\" nillable=\"true\"/>
  </xsd:sequence></xsd:complexType>
  <xsd:complexType name=\"Map\"><xsd:sequence>
    <xsd:element name=\"item\" type=\"map:mapItem\" minOccurs=\"0\" maxOccurs=\"unbounded\"/>
  </xsd:sequence></xsd:complexType>
</xsd:schema>
<xsd:schema targetNamespace=\"urn:nesssi-types:1\">
  <xsd:complexType name=\"Array\"><xsd:sequence>
    <xsd:element name=\"item\" type=\"xsd:anyType\" nillable=\"true\" minOccurs=\"0\" maxOccurs=\"unbounded\"/>
  </xsd:sequence></xsd:complexType>
  <xsd:complexType name=\"Fault\"><xsd:sequence>
    <xsd:element name=\"code\" type=\"xsd:long\"/>
    <xsd:element name=\"text\" type=\"xsd:string\"/>
  </xsd:sequence></xsd:complexType>
  <xsd:element name=\"fault\" type=\"n:Fault\"/>
  <xsd:element name=\"boolean\" type=\"xsd:boolean\"/>
  <xsd:element name=\"int\" type=\"xsd:long\"/>
  <xsd:element name=\"double\" type=\"xsd:double\"/>
  <xsd:element name=\"string\" type=\"xsd:string\"/>
  <xsd:element name=\"dateTime\" type=\"xsd:dateTime\"/>
  <xsd:element name=\"base64\" type=\"xsd:base64Binary\"/>
</xsd:schema>
";

fn write_schema(out: &mut String, service: &Interface) -> fmt::Result {
    let namespace = escaped(&service_namespace(&service.name));
    writeln!(
        out,
        "<xsd:schema targetNamespace=\"{namespace}\" elementFormDefault=\"qualified\">\n  \
         <xsd:import namespace=\"{APACHE}\"/>\n  <xsd:import namespace=\"{TYPES}\"/>"
    )?;
    for method in &service.methods {
        let name = escape_name(&method.name);
        open_wrapper(out, &name)?;
        write_params(out, &method.signatures)?;
        close_wrapper(out);
        open_wrapper(out, &format!("{name}Response"))?;
        let returns = Merged::returns(&method.signatures);
        write_element(out, "return", returns, "")?;
        close_wrapper(out);
    }
    out.push_str("</xsd:schema>\n");
    Ok(())
}

fn open_wrapper(out: &mut String, name: &str) -> fmt::Result {
    writeln!(out, "  <xsd:element name=\"{name}\"><xsd:complexType><xsd:sequence>")
}

fn close_wrapper(out: &mut String) {
    out.push_str("  </xsd:sequence></xsd:complexType></xsd:element>\n");
}

fn write_params(out: &mut String, signatures: &[Signature]) -> fmt::Result {
    if signatures.is_empty() {
        let any = Merged { kind: Type::Any, nillable: true };
        return write_element(out, "arg", any, " minOccurs=\"0\" maxOccurs=\"unbounded\"");
    }
    let counts = signatures.iter().map(|signature| signature.params.len());
    let fewest = counts.clone().min().unwrap_or_default();
    let most = counts.max().unwrap_or_default();
    for place in 0..most {
        let mut names = signatures.iter().filter_map(|signature| signature.params.get(place));
        let name = names.find_map(|param| param.name.as_deref());
        let name = name.map_or_else(|| format!("arg{place}"), escape_name);
        let occurs = if place < fewest { "" } else { " minOccurs=\"0\"" };
        write_element(out, &name, Merged::param(signatures, place), occurs)?;
    }
    Ok(())
}

fn write_element(out: &mut String, name: &str, merged: Merged, occurs: &str) -> fmt::Result {
    let nillable = if merged.nillable { " nillable=\"true\"" } else { "" };
    let kind = schema_type(merged.kind);
    writeln!(out, "    <xsd:element name=\"{name}\" type=\"{kind}\"{nillable}{occurs}/>")
}

fn schema_type(kind: Type) -> &'static str {
    match kind {
        Type::Any | Type::Nil => "xsd:anyType",
        Type::Boolean => "xsd:boolean",
        Type::Int => "xsd:long",
        Type::Double => "xsd:double",
        Type::String => "xsd:string",
        Type::DateTime => "xsd:dateTime",
        Type::Base64 => "xsd:base64Binary",
        Type::Array => "n:Array",
        Type::Struct => "map:Map",
    }
}

fn write_messages(out: &mut String, service: &Interface) -> fmt::Result {
    let namespace = escaped(&service_namespace(&service.name));
    let scope = escape_name(&service.name);
    for method in &service.methods {
        let name = escape_name(&method.name);
        for suffix in ["", "Response"] {
            writeln!(
                out,
                "<wsdl:message name=\"{scope}.{name}{suffix}\"><wsdl:part name=\"parameters\" \
                 xmlns:s=\"{namespace}\" element=\"s:{name}{suffix}\"/></wsdl:message>"
            )?;
        }
    }
    Ok(())
}

fn write_port_type(out: &mut String, service: &Interface) -> fmt::Result {
    let scope = escape_name(&service.name);
    writeln!(out, "<wsdl:portType name=\"{scope}\">")?;
    for method in &service.methods {
        let name = escape_name(&method.name);
        writeln!(out, "  <wsdl:operation name=\"{name}\">")?;
        write_documentation(out, &method.help)?;
        writeln!(out, "    <wsdl:input message=\"tns:{scope}.{name}\"/>")?;
        writeln!(out, "    <wsdl:output message=\"tns:{scope}.{name}Response\"/>")?;
        writeln!(out, "    <wsdl:fault name=\"fault\" message=\"tns:fault\"/>")?;
        writeln!(out, "  </wsdl:operation>")?;
    }
    writeln!(out, "</wsdl:portType>")
}

fn write_documentation(out: &mut String, text: &str) -> fmt::Result {
    if text.is_empty() {
        return Ok(());
    }
    writeln!(out, "    <wsdl:documentation>{}</wsdl:documentation>", escaped(text))
}

fn write_binding(
    out: &mut String,
    service: &Interface,
    version: &str,
    prefix: &str,
) -> fmt::Result {
    let scope = escape_name(&service.name);
    writeln!(out, "<wsdl:binding name=\"{scope}.{version}\" type=\"tns:{scope}\">")?;
    writeln!(out, "  <{prefix}:binding style=\"document\" transport=\"{TRANSPORT}\"/>")?;
    for method in &service.methods {
        let name = escape_name(&method.name);
        let action = escaped(&soap_action(&service.name, &method.name));
        writeln!(out, "  <wsdl:operation name=\"{name}\">")?;
        writeln!(out, "    <{prefix}:operation soapAction=\"{action}\" style=\"document\"/>")?;
        writeln!(out, "    <wsdl:input><{prefix}:body use=\"literal\"/></wsdl:input>")?;
        writeln!(out, "    <wsdl:output><{prefix}:body use=\"literal\"/></wsdl:output>")?;
        writeln!(
            out,
            "    <wsdl:fault name=\"fault\"><{prefix}:fault name=\"fault\" use=\"literal\"/></wsdl:fault>"
        )?;
        writeln!(out, "  </wsdl:operation>")?;
    }
    writeln!(out, "</wsdl:binding>")
}

fn write_service(out: &mut String, service: &Interface) -> fmt::Result {
    let scope = escape_name(&service.name);
    let address = escaped(&service.address);
    writeln!(out, "<wsdl:service name=\"{scope}\">")?;
    write_documentation(out, &service.documentation)?;
    for (version, prefix) in BINDINGS {
        writeln!(
            out,
            "  <wsdl:port name=\"{scope}.{version}\" binding=\"tns:{scope}.{version}\">"
        )?;
        writeln!(out, "    <{prefix}:address location=\"{address}\"/>")?;
        writeln!(out, "  </wsdl:port>")?;
    }
    writeln!(out, "</wsdl:service>")
}
