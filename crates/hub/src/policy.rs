//! Who may do what: one table, asked by every call before it acts.
//!
//! An actor is a person's key, an instrument's key or a vault for its task. What it is to the thing is its standing. The
//! answer is one of three: yes; no, and it may know that the thing is there; or that there is no such thing. A stranger
//! always gets the last, whatever the act, so that ids tell nothing. `spec/policy.txt` is this table as printed.

use api::{PermissionRow, PermissionTable, Right, Role};

/// What kind of caller acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person's key; whether its account runs this hub.
    Person {
        /// Invitations, the store, the whole audit list. It opens no project.
        operator: bool,
    },
    /// A person's key that is limited: no more than `scope` in any project, and nothing about the hub or the account.
    Limited {
        /// The most that it may do as a member.
        scope: Right,
    },
    /// An auditor of an organization: sees what was done there, and never data.
    Auditor {
        /// As of a person.
        operator: bool,
    },
    /// An instrument's key: sends runs and nothing else.
    Instrument,
    /// The receipt key of a vault, for one task.
    Vault,
}

/// What the caller is to the thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The act is about the hub or the caller itself.
    Hub,
    /// Nothing: it may not even know of it.
    Stranger,
    /// A member of the project that the thing belongs to.
    Member {
        /// Its right there.
        right: Right,
        /// Whether its account made the thing.
        maker: bool,
    },
    /// The thing is a case of a project of which the caller is a member.
    Case {
        /// Its right there.
        right: Right,
        /// Whether it treats patients: an administrator or clinician of the project's organization.
        treats: bool,
    },
    /// The act is about an organization that the caller belongs to, or that an operator cares for.
    Organization {
        /// As what the caller belongs to it; nothing for an operator from outside.
        role: Option<Role>,
    },
    /// The thing is an input of the vault's task.
    TaskInput,
    /// The thing is an output of the vault's task.
    TaskOutput,
    /// The thing is a project into which the vault's task may write.
    TaskTarget,
}

/// What the table says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Allow,
    /// No, and the caller may know of the thing.
    Forbid,
    /// There is no such thing, as far as this caller is concerned.
    Hide,
}

/// What a person needs.
#[derive(Debug, Clone, Copy)]
enum Need {
    /// An account.
    Account,
    /// An account that runs this hub.
    Operator,
    /// This right or a higher one.
    Right(Right),
    /// The first right for what the caller made itself, the second for what others made.
    Made(Right, Right),
    /// One of these roles in the organization, or besides, if the second is set, running this hub.
    Role(&'static [Role], bool),
    /// This right in a case's project or a higher one; what patients told, for those who treat them alone.
    Case(Right, Says),
    /// Only vaults do this.
    Never,
    /// Only instruments do this.
    Instrument,
}

/// What an act about a case comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// What stands in clear.
    Clear,
    /// What is said of a patient.
    Patient,
}

/// A row of the table.
struct Rule {
    act: &'static str,
    need: Need,
    data: bool,
    limited: bool,
    instrument: bool,
    input: bool,
    output: bool,
    target: bool,
}

impl Rule {
    /// A row for people alone.
    const fn people(act: &'static str, need: Need) -> Self {
        Self {
            act,
            need,
            data: false,
            limited: false,
            instrument: false,
            input: false,
            output: false,
            target: false,
        }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $action:ident = $act:literal, $need:expr $(, $also:ident)* ;)+) => {
        /// Everything that is asked of the table.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Action { $($(#[$doc])* $action,)+ }

        impl Action {
            /// All of them, in the order of the table.
            pub(crate) const ALL: &[Self] = &[$(Self::$action,)+];

            fn rule(self) -> Rule {
                match self {
                    $(Self::$action => {
                        Rule { $($also: true,)* ..Rule::people($act, $need) }
                    })+
                }
            }
        }
    };
}

use Need::{Account, Made, Never, Operator};
use Right::{Admin, Browse, Create, Owner, Read, Write};

/// Every role of an organization.
const ROLES: &[Role] = &[Role::Administrator, Role::Clinician, Role::Lab, Role::Auditor];
/// Those who make projects.
const MAKERS: &[Role] = &[Role::Administrator, Role::Clinician, Role::Lab];

actions! {
    /// Asks who it is.
    Whoami = "account.whoami", Account, limited, instrument;
    /// Lists all accounts.
    AccountList = "account.list", Operator;
    /// Invites somebody.
    AccountInvite = "account.invite", Operator;
    /// Disables an account.
    AccountDisable = "account.disable", Operator;
    /// Makes an instrument and the code that enrols its key.
    InstrumentEnrol = "instrument.enrol", Operator;
    /// Lists instruments.
    InstrumentList = "instrument.list", Operator;
    /// Revokes an instrument.
    InstrumentRevoke = "instrument.revoke", Operator;
    /// Asks for a technician, says who is signed on, or signs them off.
    SignOn = "instrument.sign_on", Need::Instrument, instrument;
    /// Lists the instruments at which it is signed on.
    ShiftList = "sign_on.list", Account;
    /// Ends it, from elsewhere.
    ShiftEnd = "sign_on.end", Account;
    /// Answers a machine, an app or an instrument that showed a code.
    DeviceAnswer = "device.answer", Account;
    /// Makes an organization.
    OrganizationCreate = "organization.create", Operator;
    /// Lists organizations: an operator all, others their own.
    OrganizationList = "organization.list", Account;
    /// Sees an organization and its accounts.
    OrganizationSee = "organization.see", Need::Role(ROLES, true);
    /// Makes an account of an organization.
    OrganizationInvite = "organization.invite", Need::Role(&[Role::Administrator], true);
    /// Brings an account in that belongs nowhere.
    OrganizationAdd = "organization.add", Need::Role(&[], true);
    /// Gives an account of an organization another role.
    OrganizationRole = "organization.role", Need::Role(&[Role::Administrator], true);
    /// Disables an account of an organization.
    OrganizationDisable = "organization.disable", Need::Role(&[Role::Administrator], true);
    /// Sees what was done in the organization's projects.
    OrganizationEvents = "organization.events", Need::Role(&[Role::Administrator, Role::Auditor], false);
    /// Reads who belongs to the organization and when each was last there, keys, rights, how keys are held.
    OrganizationAudit = "organization.audit", Need::Role(&[Role::Administrator, Role::Auditor], false);
    /// Makes a project of the organization.
    OrganizationProject = "organization.project", Need::Role(MAKERS, false);
    /// Sets up, tests, changes and rotates the key that an organization holds itself.
    OrganizationKeySet = "organization.key.set", Need::Role(&[Role::Administrator], false);
    /// Sees how the organization's key stands.
    OrganizationKeySee = "organization.key.see", Need::Role(&[Role::Administrator, Role::Auditor], false);
    /// Changes what an organization has agreed on.
    OrganizationPlan = "organization.plan", Need::Role(&[], true);
    /// Takes an account out of an organization.
    OrganizationRemove = "organization.remove", Need::Role(&[Role::Administrator], true);
    /// Reads this table.
    PermissionSee = "permission.see", Account;
    /// Lists the keys of its own account.
    KeyList = "key.list", Account;
    /// Adds a key to its own account.
    KeyAdd = "key.add", Account;
    /// Revokes a key of its own account.
    KeyRevoke = "key.revoke", Account;
    /// Lists the notices of its own account.
    NoticeList = "notice.list", Account;
    /// Marks a notice of its own account as read.
    NoticeRead = "notice.read", Account;
    /// Says where mail about notices goes.
    NoticeMail = "notice.mail", Account;
    /// Sets by which name and password its account signs in with a browser.
    PasswordSet = "account.password", Account;
    /// Adds a passkey that signs its account in with a browser.
    PasskeyAdd = "account.passkey.add", Account;
    /// Removes one.
    PasskeyRemove = "account.passkey.remove", Account;
    /// Links somebody whom the institution knows to its account, by the one-time code of an invitation.
    InstitutionLink = "account.institution", Account;
    /// Lists events: an operator all, others those of what they own, of what was theirs then, and of what they did.
    EventList = "event.list", Account;
    /// Fetches checkpoints and tiles of the audit log, which name nobody.
    LogSee = "log.see", Account, limited;
    /// Brings a checkpoint that a witness cosigned.
    LogCosign = "log.cosign", Account;
    /// Asks why a call was refused.
    RefusalSee = "refusal.see", Account, instrument;
    /// Lists blocks.
    BlockList = "block.list", Operator;
    /// Blocks an address or a key.
    BlockAdd = "block.add", Operator;
    /// Lifts a block.
    BlockLift = "block.lift", Operator;
    /// Looks at the facilities.
    StoreSee = "store.see", Operator;
    /// Has everything checked and repaired.
    StoreScrub = "store.scrub", Operator;
    /// Adds a facility, or has one leave.
    StoreChange = "store.change", Operator;
    /// Lists what it may see: projects, datasets, sessions, tasks, offers.
    ListOwn = "list", Account, limited;
    /// Sees the apps of this hub.
    AppSee = "app.see", Account, limited;
    /// Makes a project.
    ProjectCreate = "project.create", Account, data;
    /// Sees a project: state, counts, name.
    ProjectSee = "project.see", Need::Right(Browse), instrument;
    /// Reads the card.
    ProjectCard = "project.card", Need::Right(Browse), instrument, target;
    /// Puts the next card of a project that its owner holds in force.
    CardPut = "project.card.put", Need::Right(Owner);
    /// Gets a key as it is wrapped to its owner, whose device alone opens it.
    OwnerKeyGet = "key.relay", Need::Right(Browse);
    /// Sees what the owner of a project is asked for.
    ApprovalSee = "approval.see", Need::Right(Owner);
    /// Approves or refuses it.
    ApprovalAnswer = "approval.answer", Need::Right(Owner);
    /// Gets the project's own key, which opens its name.
    ProjectRelease = "project.release", Need::Right(Browse);
    /// Lists members.
    MemberList = "member.list", Need::Right(Browse);
    /// Adds a member, changes or removes one.
    MemberSet = "member.set", Need::Right(Admin);
    /// Leaves a project that is somebody else's. A limited key takes nobody out, its own account neither.
    MemberLeave = "member.leave", Need::Right(Browse);
    /// Offers the project to another account, or takes the offer back.
    ProjectTransfer = "project.transfer", Need::Right(Owner);
    /// Accepts, refuses or withdraws an offer that it got or made.
    TransferEnd = "transfer.end", Account, data;
    /// Deletes the project.
    ProjectDelete = "project.delete", Need::Right(Owner);
    /// Makes a run.
    RunCreate = "run.create", Need::Right(Create), instrument;
    /// Makes the dataset of an app's package.
    AppPackageCreate = "app.package.create", Need::Right(Create);
    /// Registers an app whose package it may read.
    AppRegister = "app.register", Need::Right(Write);
    /// Makes a sample: a vault for a run, a person who brings files.
    SampleCreate = "sample.create", Need::Right(Create), target;
    /// Makes a result: a vault for a run, a person who brings files.
    ResultCreate = "result.create", Need::Right(Create), target;
    /// Sees a dataset: state, counts, name.
    DatasetSee = "dataset.see", Need::Right(Browse), instrument, input, output;
    /// Asks which objects arrived.
    ObjectHave = "object.have", Need::Right(Create), instrument, output;
    /// Puts sealed objects.
    ObjectPut = "object.put", Made(Create, Write), instrument, output;
    /// Gets sealed objects and the wrapped keys beside them.
    ObjectGet = "object.get", Need::Right(Read), input, output;
    /// Closes a dataset's content by a signed manifest.
    ManifestPut = "manifest.put", Made(Create, Write), instrument, output;
    /// Reads the signed manifest.
    ManifestGet = "manifest.get", Need::Right(Browse), instrument, input, output;
    /// Lists the names of files.
    FileList = "file.list", Need::Right(Browse);
    /// Reads the sealed settings.
    SettingsGet = "dataset.settings", Need::Right(Read), input, output;
    /// Gets the dataset key, wrapped to a recipient it names.
    DatasetRelease = "dataset.release", Need::Right(Read);
    /// Says that a run grows no more.
    RunAttention = "run.attention", Made(Create, Write), instrument;
    /// Says how far a run is that it sends.
    RunProgress = "run.progress", Made(Create, Write), instrument;
    /// Reads a run's metrics.
    RunMetrics = "run.metrics", Need::Right(Read);
    /// Takes a run as it is, or gives it up.
    RunClose = "run.close", Made(Create, Write);
    /// Has a run demultiplexed again.
    RunRequeue = "run.requeue", Made(Create, Write);
    /// Judges quality, or says that it was handed on.
    StateSet = "dataset.state", Need::Right(Write);
    /// Deletes a dataset.
    DatasetDelete = "dataset.delete", Need::Right(Write);
    /// Gives a dataset to an app as input.
    LaunchInput = "session.input", Need::Right(Read);
    /// Has an app write its result into a project.
    LaunchInto = "session.launch", Need::Right(Create);
    /// Reads what a session printed.
    LogRead = "session.log", Need::Right(Read);
    /// Lists cases and sees what stands about one in clear.
    CaseSee = "case.see", Need::Case(Browse, Says::Clear);
    /// Adds cases.
    CaseAdd = "case.add", Need::Case(Create, Says::Patient);
    /// Reads fields of a case.
    CaseRead = "case.read", Need::Case(Read, Says::Patient);
    /// Searches cases by a field.
    CaseSearch = "case.search", Need::Case(Read, Says::Patient);
    /// Changes what is said in a case.
    CaseUpdate = "case.update", Need::Case(Write, Says::Patient);
    /// Links a sample or result to a case, or takes the link away.
    CaseLink = "case.link", Need::Case(Write, Says::Clear);
    /// Writes the conclusion.
    CaseConclude = "case.conclude", Need::Case(Write, Says::Patient);
    /// Closes a case.
    CaseClose = "case.close", Need::Case(Write, Says::Patient);
    /// Deletes a case.
    CaseDelete = "case.delete", Need::Case(Write, Says::Patient);
    /// Sees which fields of cases are searchable, and what is wanted of cases.
    FieldSee = "field.see", Need::Role(ROLES, false);
    /// Turns a searchable field on or off, or rotates its index.
    FieldSet = "field.set", Need::Role(&[Role::Administrator], false);
    /// Says what an organization wants of its cases.
    CaseRulesSet = "case.rules", Need::Role(&[Role::Administrator], false);
    /// Sees an app session.
    SessionSee = "session.see", Need::Right(Browse);
    /// Stops an app session.
    SessionCancel = "session.cancel", Made(Create, Write);
    /// Sees a task and its receipt.
    TaskSee = "task.see", Need::Right(Browse);
    /// Tells how far the task is, and ends it: its vault only.
    TaskRun = "task.run", Never, input;
    /// Opens the next key epoch of a dataset that is written anew: its vault only.
    ResealBegin = "dataset.reseal", Never, input;
}

impl Action {
    /// The act, as events name it.
    pub(crate) fn act(self) -> &'static str {
        self.rule().act
    }
}

/// What the table says.
pub(crate) fn allow(actor: Actor, action: Action, standing: Standing) -> Verdict {
    let rule = action.rule();
    let yes = |allowed| if allowed { Verdict::Allow } else { Verdict::Forbid };
    let person = |operator, standing| match (rule.need, standing) {
        (Account, Standing::Hub) => yes(true),
        (Operator, Standing::Hub) => yes(operator),
        (Need::Right(needed), Standing::Member { right, .. }) => yes(right >= needed),
        (Made(own, others), Standing::Member { right, maker }) => {
            yes(right >= if maker { own } else { others })
        }
        (Need::Role(roles, by_operators), Standing::Organization { role }) => {
            yes(role.is_some_and(|role| roles.contains(&role)) || (by_operators && operator))
        }
        (Need::Case(needed, says), Standing::Case { right, treats }) => {
            yes(right >= needed && (treats || says == Says::Clear))
        }
        (
            _,
            Standing::Member { .. }
            | Standing::Case { .. }
            | Standing::Organization { .. }
            | Standing::Hub,
        ) => Verdict::Forbid,
        _ => Verdict::Hide,
    };
    match (actor, standing) {
        (_, Standing::Stranger) => Verdict::Hide,
        (Actor::Vault, Standing::TaskInput) => yes(rule.input),
        (Actor::Vault, Standing::TaskOutput) => yes(rule.output),
        (Actor::Vault, Standing::TaskTarget) => yes(rule.target),
        (Actor::Vault, Standing::Hub) => Verdict::Forbid,
        (Actor::Vault, _) => Verdict::Hide,
        (Actor::Person { operator }, _) => person(operator, standing),
        (Actor::Limited { .. }, Standing::Hub) => yes(rule.limited),
        (Actor::Limited { scope }, Standing::Member { right, maker }) => {
            person(false, Standing::Member { right: right.min(scope), maker })
        }
        (Actor::Limited { scope }, Standing::Case { right, treats }) => {
            person(false, Standing::Case { right: right.min(scope), treats })
        }
        (Actor::Limited { .. }, Standing::Organization { .. }) => Verdict::Forbid,
        (Actor::Limited { .. }, _) => Verdict::Hide,
        (Actor::Auditor { .. }, Standing::Member { .. } | Standing::Case { .. }) => Verdict::Forbid,
        (Actor::Auditor { .. }, Standing::Hub) if rule.data => Verdict::Forbid,
        (Actor::Auditor { operator }, _) => person(operator, standing),
        (Actor::Instrument, Standing::Hub) if matches!(rule.need, Need::Instrument) => yes(true),
        (Actor::Instrument, _) if rule.instrument => person(false, standing),
        (Actor::Instrument, Standing::Hub | Standing::Member { .. } | Standing::Case { .. }) => {
            Verdict::Forbid
        }
        (Actor::Instrument, _) => Verdict::Hide,
    }
}

/// What an act needs, as people are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needed {
    /// In one sentence.
    pub(crate) sentence: String,
    /// The right in the project that is always enough, where a right decides.
    pub(crate) right: Option<Right>,
}

/// What the act of that name needs; nothing for a name that is not in the table.
pub(crate) fn needed(act: &str) -> Option<Needed> {
    let rule = Action::ALL.iter().map(|action| action.rule()).find(|rule| rule.act == act)?;
    let name =
        |right: Right| MEMBERS.iter().find(|(_, of)| *of == right).map_or("", |(name, _)| *name);
    let (what, right) = match rule.need {
        Account => ("an account that is in force".to_owned(), None),
        Operator => ("an account that runs this hub".to_owned(), None),
        Need::Right(right) => {
            (format!("the right `{}` in the project, or a higher one", name(right)), Some(right))
        }
        Made(own, others) => (
            format!(
                "the right `{}` in the project for what one made oneself, `{}` for what others made",
                name(own),
                name(others)
            ),
            Some(others),
        ),
        Need::Instrument => ("to be an enrolled instrument".to_owned(), None),
        Need::Role(roles, operators) => {
            let mut who: Vec<&str> = roles.iter().map(|role| role.as_str()).collect();
            if operators {
                who.push("operator of this hub");
            }
            (format!("to be {} of the organization", who.join(" or ")), None)
        }
        Need::Case(right, says) => {
            let treats = match says {
                Says::Clear => "",
                Says::Patient => ", as an administrator or clinician of its organization",
            };
            (
                format!("the right `{}` in the project, or a higher one{treats}", name(right)),
                Some(right),
            )
        }
        Never => ("to be the vault of the task".to_owned(), None),
    };
    let keys = if rule.instrument { "" } else { ", and not an instrument's key" };
    Some(Needed { sentence: format!("it needs {what}{keys}"), right })
}

/// Every right of a member, lowest first.
const MEMBERS: [(&str, Right); 6] = [
    ("browse", Browse),
    ("read", Read),
    ("create", Create),
    ("write", Write),
    ("admin", Admin),
    ("owner", Owner),
];

/// The whole table: `yes`, `no` (403), `-` (404: there is no such thing for this caller).
pub(crate) fn table() -> PermissionTable {
    let made = Standing::Member { right: Create, maker: true };
    let mut columns: Vec<(&str, Actor, Standing)> = vec![
        ("account", Actor::Person { operator: false }, Standing::Hub),
        ("operator", Actor::Person { operator: true }, Standing::Hub),
        ("stranger", Actor::Person { operator: true }, Standing::Stranger),
    ];
    for (name, right) in MEMBERS {
        let standing = Standing::Member { right, maker: false };
        columns.push((name, Actor::Person { operator: false }, standing));
    }
    columns.push(("maker", Actor::Person { operator: false }, made));
    columns.push(("k-hub", Actor::Limited { scope: Write }, Standing::Hub));
    // A limited key of the project's owner.
    let held = Standing::Member { right: Owner, maker: false };
    for (name, scope) in
        [("k-browse", Browse), ("k-read", Read), ("k-create", Create), ("k-write", Write)]
    {
        columns.push((name, Actor::Limited { scope }, held));
    }
    for (name, role) in
        [("o-admin", Role::Administrator), ("o-clinic", Role::Clinician), ("o-lab", Role::Lab)]
    {
        let standing = Standing::Organization { role: Some(role) };
        columns.push((name, Actor::Person { operator: false }, standing));
    }
    let outside = Standing::Organization { role: None };
    columns.push(("o-oper", Actor::Person { operator: true }, outside));
    let auditor = Actor::Auditor { operator: false };
    columns.push(("o-audit", auditor, Standing::Organization { role: Some(Role::Auditor) }));
    columns.push(("audit-hub", auditor, Standing::Hub));
    columns.push(("audit-own", auditor, held));
    columns.push(("instr-hub", Actor::Instrument, Standing::Hub));
    columns.push(("instr-own", Actor::Instrument, made));
    let case = |right, treats| Standing::Case { right, treats };
    for (name, right) in
        [("c-browse", Browse), ("c-read", Read), ("c-create", Create), ("c-write", Write)]
    {
        columns.push((name, Actor::Person { operator: false }, case(right, true)));
    }
    columns.push(("c-lab", Actor::Person { operator: false }, case(Owner, false)));
    columns.push(("c-audit", auditor, case(Owner, false)));
    columns.push(("vault-in", Actor::Vault, Standing::TaskInput));
    columns.push(("vault-out", Actor::Vault, Standing::TaskOutput));
    columns.push(("vault-to", Actor::Vault, Standing::TaskTarget));
    let acts = Action::ALL.iter().map(|action| {
        let cell = |(_, actor, standing): &(&str, Actor, Standing)| {
            match allow(*actor, *action, *standing) {
                Verdict::Allow => "yes",
                Verdict::Forbid => "no",
                Verdict::Hide => "-",
            }
            .to_owned()
        };
        PermissionRow { act: action.act().to_owned(), cells: columns.iter().map(cell).collect() }
    });
    let acts = acts.collect();
    PermissionTable { columns: columns.iter().map(|(name, ..)| (*name).to_owned()).collect(), acts }
}

/// The whole table as text, an act a line. It is what `cargo xtask permissions` prints and `spec/policy.txt` keeps.
pub fn permissions() -> String {
    let row = |act: &str, cells: &[String]| {
        let mut row = format!("{act:<24}");
        cells.iter().for_each(|cell| row.push_str(&format!("{cell:<10}")));
        row.trim_end().to_owned() + "\n"
    };
    let table = table();
    let mut text = row("act", &table.columns);
    table.acts.iter().for_each(|act| text.push_str(&row(&act.act, &act.cells)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_one_that_was_agreed() {
        crate::testing::compare_snapshot("../../spec/policy.txt", &permissions());
    }

    #[test]
    fn a_stranger_never_learns_that_a_thing_exists() {
        let actors = [
            Actor::Person { operator: false },
            Actor::Person { operator: true },
            Actor::Limited { scope: Write },
            Actor::Auditor { operator: true },
            Actor::Instrument,
            Actor::Vault,
        ];
        for actor in actors {
            for action in Action::ALL {
                assert_eq!(allow(actor, *action, Standing::Stranger), Verdict::Hide);
            }
        }
    }

    #[test]
    fn a_higher_right_allows_all_that_a_lower_one_does() {
        for action in Action::ALL {
            for maker in [false, true] {
                let verdicts = MEMBERS.map(|(_, right)| {
                    let standing = Standing::Member { right, maker };
                    allow(Actor::Person { operator: false }, *action, standing) == Verdict::Allow
                });
                assert!(verdicts.is_sorted(), "{}", action.act());
            }
        }
    }

    #[test]
    fn a_limited_key_never_may_what_its_account_may_not_nor_more_than_its_scope() {
        let account = Actor::Person { operator: false };
        for action in Action::ALL {
            for scope in [Browse, Read, Create, Write] {
                let key = Actor::Limited { scope };
                assert!(
                    allow(key, *action, Standing::Hub) != Verdict::Allow
                        || allow(account, *action, Standing::Hub) == Verdict::Allow,
                );
                for (right, maker) in MEMBERS.into_iter().flat_map(|(_, r)| [(r, false), (r, true)])
                {
                    let held = Standing::Member { right, maker };
                    let lesser = Standing::Member { right: right.min(scope), maker };
                    assert_eq!(allow(key, *action, held), allow(account, *action, lesser));
                }
            }
        }
    }

    #[test]
    fn a_limited_key_neither_makes_keys_and_accounts_nor_gives_projects_away() {
        use Action::{
            AccountDisable, AccountInvite, KeyAdd, KeyRevoke, MemberSet, ProjectCreate,
            ProjectDelete, ProjectTransfer, TransferEnd,
        };
        let key = Actor::Limited { scope: Write };
        for action in [
            AccountDisable,
            AccountInvite,
            KeyAdd,
            KeyRevoke,
            MemberSet,
            ProjectCreate,
            ProjectDelete,
            ProjectTransfer,
            TransferEnd,
        ] {
            for standing in [Standing::Hub, Standing::Member { right: Owner, maker: true }] {
                assert_eq!(allow(key, action, standing), Verdict::Forbid, "{}", action.act());
            }
        }
    }

    #[test]
    fn an_auditor_may_nothing_as_a_member_of_a_project() {
        for action in Action::ALL {
            for (_, right) in MEMBERS {
                let standing = Standing::Member { right, maker: true };
                let verdict = allow(Actor::Auditor { operator: true }, *action, standing);
                assert_eq!(verdict, Verdict::Forbid, "{}", action.act());
            }
        }
    }

    #[test]
    fn what_patients_told_is_for_those_who_treat_them_and_never_for_an_auditor() {
        use Action::{
            CaseAdd, CaseClose, CaseConclude, CaseDelete, CaseLink, CaseRead, CaseSearch, CaseSee,
            CaseUpdate,
        };
        let patients =
            [CaseAdd, CaseRead, CaseSearch, CaseUpdate, CaseConclude, CaseClose, CaseDelete];
        let lab = Standing::Case { right: Owner, treats: false };
        for action in patients.into_iter().chain([CaseLink, CaseSee]) {
            let verdict = allow(Actor::Person { operator: true }, action, lab);
            assert_eq!(verdict == Verdict::Allow, !patients.contains(&action), "{}", action.act());
            for treats in [false, true] {
                let standing = Standing::Case { right: Owner, treats };
                let auditor = Actor::Auditor { operator: true };
                assert_eq!(allow(auditor, action, standing), Verdict::Forbid, "{}", action.act());
            }
        }
    }

    #[test]
    fn running_the_hub_opens_no_project() {
        for action in Action::ALL {
            for (_, right) in MEMBERS {
                let standing = Standing::Member { right, maker: false };
                assert_eq!(
                    allow(Actor::Person { operator: true }, *action, standing),
                    allow(Actor::Person { operator: false }, *action, standing),
                );
            }
        }
    }
}
