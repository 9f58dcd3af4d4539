//! Uploads: no calls, since their bodies are files; but begun, counted and audited as calls are.

use std::sync::Arc;

use nesssi_rpc::{Fault, FaultCode, MethodName, Value};

use super::{Arrived, Decided, arrive, count, record};
use crate::builtin::Context;
use crate::{Answer, Caller, Inner, Put, PutFault, Upload};

/// What an upload is counted and audited as.
const COUNTED_AS: &str = "file.put";

pub(crate) async fn begin_upload(
    inner: &Arc<Inner>,
    caller: &Caller,
    put: &Put<'_>,
) -> Result<Upload, PutFault> {
    let internal = |_| Fault::new(FaultCode::Internal, "internal error");
    let method = MethodName::parse(COUNTED_AS).map_err(internal)?;
    let Arrived { caller, grant } = arrive(inner, caller, &method).await?;
    let begun = match count(inner, &caller, &grant) {
        Ok(()) => {
            let context = Context { inner, caller: &caller, grant: &grant };
            Upload::begin(context, put).await
        }
        Err(many) => Err(many.into()),
    };
    let outcome = begun.as_ref().map(|_| Value::Nil).map_err(PutFault::as_fault);
    record(inner, &caller, &grant, &method, &Decided::of(Answer::of(outcome)));
    begun
}
