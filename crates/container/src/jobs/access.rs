//! Changes of access edits: held against what there is, durable in the journal, then in force, and
//! audited.

use std::sync::Arc;

use nesssi_journal::Change;
use nesssi_policy::{AccessEdit, AccessEdits, EditError, Whom};
use nesssi_rpc::{Fault, FaultCode};

use super::{Asker, Core, not_recorded};
use crate::clock::now_ms;

/// A change that somebody who may has asked for.
#[derive(Debug, Clone)]
pub(crate) enum AccessChange {
    /// A new edit.
    Add {
        service: String,
        method: Option<String>,
        allow: bool,
        whom: Whom,
        start_unix: Option<i64>,
        end_unix: Option<i64>,
    },
    /// The end of the edit of this number.
    Remove(u64),
}

/// The number of the edit.
pub(super) async fn change(
    core: &Arc<Core>,
    by: Asker,
    change: AccessChange,
) -> Result<u64, Fault> {
    let edits = &core.needs.edits;
    let mut next = edits.turn().await;
    let mut all = AccessEdits::clone(&edits.now());
    let (what, edit, durable) = match change {
        AccessChange::Add { service, method, allow, whom, start_unix, end_unix } => {
            let edit = AccessEdit {
                number: *next,
                service,
                method,
                allow,
                whom,
                start_unix,
                end_unix,
                by: by.subject.clone(),
                at_ms: now_ms(),
            };
            all.check(&edit).map_err(|error| fault(&error))?;
            all.add(edit.clone());
            let what = if allow { "allow" } else { "deny" };
            let edit = Arc::new(edit);
            (what, Arc::clone(&edit), Change::AddAccessEdit(Box::new(AccessEdit::clone(&edit))))
        }
        AccessChange::Remove(number) => {
            let edit = all.remove(number).map_err(|error| fault(&error))?;
            ("remove", edit, Change::RemoveAccessEdit { number })
        }
    };
    let written = core.write(vec![durable]).await;
    written.map_err(|error| not_recorded(&error, "access edits"))?;
    *next = (*next).max(edit.number.saturating_add(1));
    edits.put(all);
    audit(core, &by, what, &edit);
    Ok(edit.number)
}

fn audit(core: &Core, by: &Asker, what: &str, edit: &AccessEdit) {
    core.needs
        .audit
        .line("access_changed")
        .text("request", &by.request_id)
        .text("subject", &by.subject)
        .text("what", what)
        .count("number", edit.number)
        .text("edit", if edit.allow { "allow" } else { "deny" })
        .text("service", &edit.service)
        .maybe("method", edit.method.as_ref())
        .text("who", &edit.whom)
        .maybe("start", edit.start_unix)
        .maybe("end", edit.end_unix)
        .write();
}

fn fault(error: &EditError) -> Fault {
    let code = match error {
        EditError::NoSuchEdit { .. } => FaultCode::NotFound,
        EditError::Exists { .. } => FaultCode::Conflict,
        EditError::Never => FaultCode::InvalidParams,
        EditError::TooMany => FaultCode::OverLimit,
    };
    Fault::new(code, error.to_string())
}
