//! Uploads: no calls, since their bodies are files; but begun, counted and audited as calls are.

use std::sync::Arc;

use nesssi_rpc::{Fault, FaultCode, MethodName, Value};

use super::permission::denied_builtin;
use super::{Arrived, Decided, arrive, count, record};
use crate::builtin::Context;
use crate::{Answer, Caller, Inner, Put, PutFault, Upload};

/// What an upload is counted and audited as.
pub(crate) const COUNTED_AS: &str = "file.put";

pub(crate) async fn begin_upload(
    inner: &Arc<Inner>,
    caller: &Caller,
    put: &Put<'_>,
) -> Result<Upload, PutFault> {
    let internal = |_| Fault::new(FaultCode::Internal, "internal error");
    let method = MethodName::parse(COUNTED_AS).map_err(internal)?;
    let Arrived { caller, grant } = arrive(inner, caller, &method).await?;
    let mut rule = None;
    let open = count(inner, &caller, &grant).and_then(|()| {
        denied_builtin(inner, &caller, COUNTED_AS).map_err(|denied| {
            rule = denied.rule;
            denied.fault
        })
    });
    let begun = match open {
        Ok(()) => {
            let context = Context { inner, caller: &caller, grant: &grant, answer: None };
            Upload::begin(context, put).await
        }
        Err(refused) => Err(refused.into()),
    };
    let outcome = begun.as_ref().map(|_| Value::Nil).map_err(PutFault::as_fault);
    let decided = Decided { rule, ..Decided::of(Answer::of(outcome)) };
    record(inner, &caller, &grant, &method, &decided);
    begun
}
