//! Changes of VO groups: judged, durable in the journal, then in force, and audited.

use std::sync::Arc;

use nesssi_dn::SubjectDn;
use nesssi_journal::Change;
use nesssi_policy::{VoChange, VoError};
use nesssi_rpc::{Fault, FaultCode};

use super::{Core, not_recorded};
use crate::clock::now_ms;

/// Who asks for a change, for the audit.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) subject: SubjectDn,
    pub(crate) request_id: String,
}

pub(super) async fn change(core: &Arc<Core>, by: Asker, change: VoChange) -> Result<(), Fault> {
    let groups = &core.needs.groups;
    let _turn = groups.turn().await;
    let checked = groups.now().check(&by.subject, &change);
    if let Err(error) = checked {
        audit(core, &by, &change, Some(&error));
        return Err(fault(&error));
    }
    let durable = Change::Vo { change: change.clone(), by: by.subject.clone(), at_ms: now_ms() };
    let written = core.write(vec![durable]).await;
    written.map_err(|error| not_recorded(&error, "VO groups"))?;
    groups.apply(&change);
    audit(core, &by, &change, None);
    Ok(())
}

fn audit(core: &Core, by: &Asker, change: &VoChange, refused: Option<&VoError>) {
    let (what, entry) = match change {
        VoChange::Create { .. } => ("create", None),
        VoChange::Delete { .. } => ("delete", None),
        VoChange::AddMember { subject, .. } => ("add_member", Some(subject)),
        VoChange::RemoveMember { subject, .. } => ("remove_member", Some(subject)),
        VoChange::AddAdministrator { subject, .. } => ("add_administrator", Some(subject)),
        VoChange::RemoveAdministrator { subject, .. } => ("remove_administrator", Some(subject)),
    };
    core.needs
        .audit
        .line("vo_change")
        .text("request", &by.request_id)
        .text("subject", &by.subject)
        .text("what", what)
        .text("group", change.group())
        .maybe("entry", entry)
        .maybe("refused", refused)
        .write();
}

/// Why a group cannot be had or changed, as its asker reads it.
pub(crate) fn fault(error: &VoError) -> Fault {
    let code = match error {
        VoError::NoSuchGroup { .. } | VoError::NotMember { .. } => FaultCode::NotFound,
        VoError::Exists { .. } => FaultCode::Conflict,
        VoError::NotAdministrator { .. } => FaultCode::Refused,
        VoError::BadName => FaultCode::InvalidParams,
        VoError::TooMany { .. } => FaultCode::OverLimit,
    };
    Fault::new(code, error.to_string())
}
