//! `vo.*`: the VO groups, for callers with a certificate.

use nesssi_dn::SubjectDn;
use nesssi_identity::ProxyKind;
use nesssi_policy::{Groups as _, VoChange, VoTree};
use nesssi_rpc::{Fault, FaultCode, Reply, Value};

use super::{Builtin, Context, Later, Run, exactly, text};
use crate::Answer;
use crate::jobs::{Asker, group_fault};

pub(crate) const METHODS: &[Builtin] = &[
    Builtin {
        name: "vo.groups",
        help: "The names of all VO groups, sorted. A group `a.b` is in the group `a`. Example: \
               vo.groups() is [\"atlas\", \"atlas.calo\"].",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Now(groups),
    },
    Builtin {
        name: "vo.mine",
        help: "The names of the VO groups that the caller is a member of, sorted. Example: \
               vo.mine() is [\"atlas\"].",
        signatures: &[&["array"]],
        parameters: &[],
        run: Run::Now(mine),
    },
    Builtin {
        name: "vo.members",
        help: "The entries among the members of a group, as DNs: members(group). An entry is a DN \
               or the beginning of DNs; members of a group are members of those in it. For its \
               members and administrators. Example: \
               vo.members(\"atlas\").",
        signatures: &[&["array", "string"]],
        parameters: &["group"],
        run: Run::Now(|context, params| entries(context, params, VoTree::members)),
    },
    Builtin {
        name: "vo.administrators",
        help: "The entries among the administrators of a group, as DNs: administrators(group). \
               For its members and administrators. Example: \
               vo.administrators(\"atlas\").",
        signatures: &[&["array", "string"]],
        parameters: &["group"],
        run: Run::Now(|context, params| entries(context, params, VoTree::administrators)),
    },
    Builtin {
        name: "vo.create",
        help: "Makes a group: create(group). For the administrators of the group around it; at \
               the top, for root administrators. Example: \
               vo.create(\"atlas.calo\").",
        signatures: &[&["boolean", "string"]],
        parameters: &["group"],
        run: Run::Later(|context, params| {
            change(context, params, |group| VoChange::Create { group })
        }),
    },
    Builtin {
        name: "vo.delete",
        help: "Deletes a group with all groups in it: delete(group). For the administrators of \
               the group around it. Example: \
               vo.delete(\"atlas.calo\").",
        signatures: &[&["boolean", "string"]],
        parameters: &["group"],
        run: Run::Later(|context, params| {
            change(context, params, |group| VoChange::Delete { group })
        }),
    },
    Builtin {
        name: "vo.addMember",
        help: "Adds a member to a group: addMember(group, dn). For its administrators. Example: \
               vo.addMember(\"atlas\", \"/O=Grid/CN=Alice\").",
        signatures: &[&["boolean", "string", "string"]],
        parameters: &["group", "dn"],
        run: Run::Later(|context, params| {
            change_of(context, params, |group, subject| VoChange::AddMember { group, subject })
        }),
    },
    Builtin {
        name: "vo.removeMember",
        help: "Takes a member out of a group: removeMember(group, dn). For its administrators. Example: \
               vo.removeMember(\"atlas\", \"/O=Grid/CN=Alice\").",
        signatures: &[&["boolean", "string", "string"]],
        parameters: &["group", "dn"],
        run: Run::Later(|context, params| {
            change_of(context, params, |group, subject| VoChange::RemoveMember { group, subject })
        }),
    },
    Builtin {
        name: "vo.addAdministrator",
        help: "Makes somebody an administrator of a group: addAdministrator(group, dn). For its \
               administrators. Example: \
               vo.addAdministrator(\"atlas\", \"/O=Grid/CN=Alice\").",
        signatures: &[&["boolean", "string", "string"]],
        parameters: &["group", "dn"],
        run: Run::Later(|context, params| {
            change_of(context, params, |group, subject| VoChange::AddAdministrator {
                group,
                subject,
            })
        }),
    },
    Builtin {
        name: "vo.removeAdministrator",
        help: "Takes an administrator from a group: removeAdministrator(group, dn). For its \
               administrators. Example: \
               vo.removeAdministrator(\"atlas\", \"/O=Grid/CN=Alice\").",
        signatures: &[&["boolean", "string", "string"]],
        parameters: &["group", "dn"],
        run: Run::Later(|context, params| {
            change_of(context, params, |group, subject| VoChange::RemoveAdministrator {
                group,
                subject,
            })
        }),
    },
];

fn certified<'a>(context: &Context<'a>) -> Result<&'a SubjectDn, Fault> {
    let text = "VO groups are for callers with a certificate";
    context.subject().ok_or_else(|| Fault::new(FaultCode::NoCredential, text))
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    Value::Array(names.map(Value::from).collect())
}

fn groups(context: &Context<'_>, params: Vec<Value>) -> Reply {
    certified(context)?;
    let [] = exactly(params)?;
    Ok(names(context.inner.groups.now().groups()))
}

fn mine(context: &Context<'_>, params: Vec<Value>) -> Reply {
    let subject = certified(context)?;
    let [] = exactly(params)?;
    let tree = context.inner.groups.now();
    Ok(names(tree.groups_of(subject).into_iter()))
}

type List = for<'a> fn(&'a VoTree, &str) -> Result<Vec<&'a SubjectDn>, nesssi_policy::VoError>;

fn entries(context: &Context<'_>, params: Vec<Value>, list: List) -> Reply {
    let subject = certified(context)?;
    let [group] = exactly(params)?;
    let group = text(group, "the group")?;
    let tree = context.inner.groups.now();
    let entries = list(&tree, &group).map_err(|error| group_fault(&error))?;
    if !tree.is_member(&group, subject) && !tree.administers(Some(&group), subject) {
        let text = "who is in a group is for its members and administrators to see";
        return Err(Fault::refused(text));
    }
    Ok(Value::Array(entries.iter().map(|entry| entry.to_string().into()).collect()))
}

fn change(context: Context<'_>, params: Vec<Value>, of: fn(String) -> VoChange) -> Later<'_> {
    Box::pin(async move {
        let asked = || {
            certified(&context)?;
            let [group] = exactly(params)?;
            Ok(of(text(group, "the group")?))
        };
        let asked = asked();
        Answer::of(make(&context, asked).await)
    })
}

fn change_of(
    context: Context<'_>,
    params: Vec<Value>,
    of: fn(String, SubjectDn) -> VoChange,
) -> Later<'_> {
    Box::pin(async move {
        let asked = || {
            certified(&context)?;
            let [group, dn] = exactly(params)?;
            let (group, dn) = (text(group, "the group")?, text(dn, "the DN")?);
            let subject = SubjectDn::parse_any(&dn)
                .map_err(|error| Fault::invalid_params(format!("{dn:?} is no DN: {error}")))?;
            Ok(of(group, subject))
        };
        let asked = asked();
        Answer::of(make(&context, asked).await)
    })
}

async fn make(context: &Context<'_>, asked: Result<VoChange, Fault>) -> Reply {
    let change = asked?;
    context.may_change()?;
    let subject = certified(context)?.clone();
    // Whatever begins his holder's name begins his, and he was given none of that one's rights.
    if context.caller.proxy() == Some(ProxyKind::Independent) {
        return Err(Fault::refused("an independent proxy administers no VO groups"));
    }
    let by = Asker { subject, request_id: context.caller.request_id.clone() };
    context.inner.jobs.change_groups(by, change).await?;
    Ok(Value::Bool(true))
}
